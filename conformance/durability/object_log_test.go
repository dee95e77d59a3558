package durability

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"weir/internal/process"
	"weir/internal/weirbin"
)

// objectLog puts the write-ahead log into the object store, with small slots.
func objectLog(config map[string]string) map[string]string {
	all := map[string]string{"weir.wal.kind": "object", "weir.wal.object.bytes": "262144", "weir.wal.object.linger.max.ms": "20"}
	for key, value := range config {
		all[key] = value
	}
	return all
}

// What an object log acknowledged survives SIGKILL; nothing of it is on the log's disk.
func TestWeirOnFilesWithAnObjectLog(t *testing.T) {
	dir := keptIfFailed(t)
	judge(t, weirOptions(t, dir, objectLog(nil)))
	files, err := filepath.Glob(filepath.Join(dir, "data", "wal", "wal-*"))
	require.NoError(t, err)
	require.Empty(t, files)
	logs, err := filepath.Glob(filepath.Join(dir, "data", "objects", "*", "wal+", "*"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(logs), 2, "a log for each start")
}

func TestWeirOnARefusingStoreWithAnObjectLog(t *testing.T) {
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket(bucket))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	judge(t, weirOptions(t, keptIfFailed(t), objectLog(weirbin.S3Config(server.URL, bucket)), refusing...))
}

// No start succeeds on a store that overwrites what it should refuse, and each says why. (For S3 the driver finds out
// first, by what it wrote for the cluster's metadata; core/wal has the test of its own probe.)
func TestAnObjectLogNeedsConditionalCreate(t *testing.T) {
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket(bucket))
	next := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("If-None-Match")
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	port, err := process.FreePort()
	require.NoError(t, err)
	b, err := weirbin.Launch(weirbin.Options{
		Path: weirProgram(t), Dir: keptIfFailed(t), Port: port, Config: objectLog(weirbin.S3Config(server.URL, bucket)),
		Env: weirbin.S3Env(accessKey, secretKey),
	})
	require.NoError(t, err)
	t.Cleanup(b.Process.Kill)
	_, err = b.Process.WaitLine(func(line string) bool {
		return strings.Contains(line, "it does not know If-None-Match")
	}, restoredLimit)
	require.NoError(t, err)
	require.NotContains(t, b.Process.Tail(1000), "msg=ready")
}
