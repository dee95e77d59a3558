package durability

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/internal/process"
	"weir/internal/weirbin"
)

var clusterFor = flag.Duration("cluster-for", 15*time.Second, "how long the brokers of a cluster are killed and stopped")

// TestACluster: three brokers in three racks with one directory for their logs are killed and stopped, one at a time.
func TestACluster(t *testing.T) {
	disturbCluster(t, func(dir string) map[string]string {
		return map[string]string{"weir.wal.shared": "true", "weir.wal.path": filepath.Join(dir, "wal")}
	})
}

// TestAClusterOfObjectLogs: the same, with logs in the object store.
func TestAClusterOfObjectLogs(t *testing.T) {
	disturbCluster(t, func(string) map[string]string { return map[string]string{"weir.wal.kind": "object"} })
}

func disturbCluster(t *testing.T, logs func(dir string) map[string]string) {
	const brokers = 3
	path := *weirFlag
	if path == "" {
		var err error
		path, err = weirbin.Build(t.TempDir())
		require.NoError(t, err)
	}
	dir := keptIfFailed(t)
	var ports, peers [brokers]int
	var addresses, voters []string
	for i := range brokers {
		var err error
		ports[i], err = process.FreePort()
		require.NoError(t, err)
		peers[i], err = process.FreePort()
		require.NoError(t, err)
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", ports[i]))
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, peers[i]))
	}
	launch := func(i int) (*process.Process, error) {
		own := filepath.Join(dir, fmt.Sprintf("broker-%d", i+1))
		if err := os.MkdirAll(own, 0o755); err != nil {
			return nil, err
		}
		config := map[string]string{
			"node.id": fmt.Sprint(i + 1), "broker.rack": fmt.Sprintf("zone-%d", i+1),
			"listeners":                 fmt.Sprintf("PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", ports[i], peers[i]),
			"controller.listener.names": "CONTROLLER", "controller.quorum.voters": strings.Join(voters, ","), "broker.session.timeout.ms": "2000",
			"weir.object.store":   "file:" + filepath.Join(dir, "objects"),
			"weir.wal.size.bytes": "67108864", "weir.cache.bytes": "67108864", "weir.block.cache.bytes": "16777216", "socket.request.max.bytes": "8388608",
			"weir.upload.interval.ms": "1000",
		}
		maps.Copy(config, logs(dir))
		b, err := weirbin.Launch(weirbin.Options{Path: path, Dir: own, Port: ports[i], Config: config})
		if err != nil {
			return nil, err
		}
		return b.Process, nil
	}
	o := options(t, strings.Join(addresses, ","), nil)
	o.Partitions, o.RecordsPerSecond = 12, 1000
	report, err := RunCluster(t.Context(), ClusterOptions{
		Options: o, Launch: launch, Brokers: brokers, For: *clusterFor, Down: 3 * time.Second, Calm: 2 * time.Second,
	})
	require.NoError(t, err)
	t.Logf("%d kills and %d stops; %d records acknowledged, %d refused, %d read; a partition went without an acknowledgement for %v at most",
		report.Kills, report.Stops, report.Acked, report.Refused, report.Read, report.SilenceMax.Round(time.Millisecond))
	require.Positive(t, report.Kills+report.Stops)
}
