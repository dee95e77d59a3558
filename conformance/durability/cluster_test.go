package durability

import (
	"flag"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/internal/process"
	"weir/internal/versitygw"
	"weir/internal/weirbin"
)

var (
	clusterFor = flag.Duration("cluster-for", 15*time.Second, "how long the brokers of a cluster are killed and stopped")
	storeFlag  = flag.String("cluster-store", "file", "where a cluster keeps its objects: file, gofakes3 (in the memory of the test), or the path of the versitygw program")
	roundsFlag = flag.Int("rolling-rounds", 1, "how often all brokers of a cluster are restarted, one after the other")
)

// TestACluster: three brokers in three racks with one directory for their logs are killed and stopped, one at a time.
func TestACluster(t *testing.T) { disturbCluster(t, nil) }

// TestAClusterOfObjectLogs: the same, with logs in the object store.
func TestAClusterOfObjectLogs(t *testing.T) {
	disturbCluster(t, map[string]string{"weir.wal.kind": "object"})
}

// TestARollingRestart: each broker of three is stopped and started again while applications with franz-go's defaults produce and consume
// in a group; no error reaches them.
func TestARollingRestart(t *testing.T) {
	o := clusterOptions(t, newCluster(t, nil))
	o.Calm = 500 * time.Millisecond
	report, err := RunRolling(t.Context(), o, *roundsFlag)
	t.Logf("%d restarts, %v at most until a broker ended; %d records acknowledged, %d read; a partition went without an acknowledgement for %v at most",
		report.Restarts, report.StopMax.Round(time.Millisecond), report.Acked, report.Read, report.SilenceMax.Round(time.Millisecond))
	require.NoError(t, err)
}

func disturbCluster(t *testing.T, config map[string]string) {
	o := clusterOptions(t, newCluster(t, config))
	o.For, o.Down, o.Calm = *clusterFor, 3*time.Second, 2*time.Second
	report, err := RunCluster(t.Context(), o)
	require.NoError(t, err)
	t.Logf("%d kills and %d stops; %d records acknowledged, %d refused, %d read; a partition went without an acknowledgement for %v at most",
		report.Kills, report.Stops, report.Acked, report.Refused, report.Read, report.SilenceMax.Round(time.Millisecond))
	require.Positive(t, report.Kills+report.Stops)
}

// newCluster is three brokers that keep little in memory and upload often.
func newCluster(t *testing.T, config map[string]string) *weirbin.Cluster {
	path := *weirFlag
	if path == "" {
		var err error
		path, err = weirbin.Build(t.TempDir())
		require.NoError(t, err)
	}
	all := map[string]string{
		"weir.wal.size.bytes": "67108864", "weir.cache.bytes": "67108864", "weir.block.cache.bytes": "16777216", "socket.request.max.bytes": "8388608",
		"weir.upload.interval.ms": "1000",
	}
	maps.Copy(all, config)
	maps.Copy(all, storeConfig(t))
	cluster, err := weirbin.NewCluster(path, keptIfFailed(t), 3, all)
	require.NoError(t, err)
	cluster.Env = weirbin.S3Env(accessKey, secretKey)
	return cluster
}

// storeConfig starts the store that -cluster-store names, and returns the keys with which brokers find it.
func storeConfig(t *testing.T) map[string]string {
	switch *storeFlag {
	case "file":
		return nil
	case "gofakes3":
		_, config := newBadStore(t) // it behaves until it is told otherwise
		return config
	}
	program, err := filepath.Abs(*storeFlag)
	require.NoError(t, err)
	p, endpoint, err := versitygw.Start(versitygw.Options{Path: program, Dir: t.TempDir(), Bucket: bucket, AccessKey: accessKey, SecretKey: secretKey})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return weirbin.S3Config(endpoint, bucket)
}

func clusterOptions(t *testing.T, cluster *weirbin.Cluster) ClusterOptions {
	o := options(t, strings.Join(cluster.Addresses(), ","), nil)
	o.Partitions, o.RecordsPerSecond = 12, 1000
	return ClusterOptions{Options: o, Launch: launchOf(cluster), Addresses: cluster.Addresses(), Brokers: cluster.Brokers()}
}

func launchOf(cluster *weirbin.Cluster) func(broker int) (*process.Process, error) {
	return func(broker int) (*process.Process, error) {
		b, err := cluster.Launch(broker)
		if err != nil {
			return nil, err
		}
		return b.Process, nil
	}
}
