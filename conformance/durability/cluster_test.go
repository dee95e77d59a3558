package durability

import (
	"flag"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/internal/process"
	"weir/internal/weirbin"
)

var clusterFor = flag.Duration("cluster-for", 15*time.Second, "how long the brokers of a cluster are killed and stopped")

// TestACluster: three brokers in three racks with one directory for their logs are killed and stopped, one at a time.
func TestACluster(t *testing.T) { disturbCluster(t, nil) }

// TestAClusterOfObjectLogs: the same, with logs in the object store.
func TestAClusterOfObjectLogs(t *testing.T) {
	disturbCluster(t, map[string]string{"weir.wal.kind": "object"})
}

func disturbCluster(t *testing.T, config map[string]string) {
	cluster := newCluster(t, config)
	o := options(t, cluster.Addresses(), nil)
	o.Partitions, o.RecordsPerSecond = 12, 1000
	report, err := RunCluster(t.Context(), ClusterOptions{
		Options: o, Launch: launchOf(cluster), Brokers: cluster.Brokers(), For: *clusterFor, Down: 3 * time.Second, Calm: 2 * time.Second,
	})
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
	cluster, err := weirbin.NewCluster(path, keptIfFailed(t), 3, all)
	require.NoError(t, err)
	return cluster
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
