package durability

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/process"
	"weir/internal/weirbin"
)

const restoredLimit = 2 * time.Minute

// restoredRig is one broker, whose disks are copied, put back and lost, and whose store misbehaves.
type restoredRig struct {
	t       *testing.T
	path    string
	dir     string
	port    int
	config  map[string]string
	env     []string
	args    []string
	process *process.Process
	sent    int
}

// newRestoredRig starts a broker and makes the topic. Without more configuration its store is a directory.
func newRestoredRig(t *testing.T, more map[string]string) *restoredRig {
	return startRestoredRig(t, keptIfFailed(t), more)
}

// startRestoredRig does so in a directory that may hold something.
func startRestoredRig(t *testing.T, dir string, more map[string]string) *restoredRig {
	port, err := process.FreePort()
	require.NoError(t, err)
	r := &restoredRig{t: t, path: weirProgram(t), dir: dir, port: port, env: weirbin.S3Env(accessKey, secretKey)}
	r.config = map[string]string{
		"weir.upload.interval.ms": "100", "weir.wal.size.bytes": "67108864", "weir.cache.bytes": "67108864", "weir.block.cache.bytes": "16777216",
		"socket.request.max.bytes": "8388608",
	}
	maps.Copy(r.config, more)
	r.start()
	client := r.client()
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, topic)
	require.NoError(t, err)
	return r
}

func (r *restoredRig) launch() *process.Process {
	b, err := weirbin.Launch(weirbin.Options{Path: r.path, Dir: r.dir, Port: r.port, Config: r.config, Args: r.args, Env: r.env})
	require.NoError(r.t, err)
	r.t.Cleanup(b.Process.Kill)
	return b.Process
}

func (r *restoredRig) start() {
	r.process = r.launch()
	r.says("msg=ready")
}

// says waits for a line with all of these texts.
func (r *restoredRig) says(texts ...string) {
	_, err := r.process.WaitLine(func(line string) bool {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				return false
			}
		}
		return true
	}, restoredLimit)
	require.NoError(r.t, err)
}

// startFails starts a broker that must end by itself, and say why.
func (r *restoredRig) startFails(texts ...string) {
	p := r.launch()
	select {
	case <-p.Ended():
	case <-time.After(restoredLimit):
		r.t.Fatalf("the broker goes on:\n%s", p.Tail(30))
	}
	require.Error(r.t, p.Wait())
	for _, text := range texts {
		require.Contains(r.t, p.Tail(100), text)
	}
}

func (r *restoredRig) client(options ...kgo.Opt) *kgo.Client {
	c, err := connect(fmt.Sprintf("127.0.0.1:%d", r.port), append(options, kgo.DefaultProduceTopic(topic))...)
	require.NoError(r.t, err)
	return c
}

// produce sends records, each of which is acknowledged, until so many more objects are stored.
func (r *restoredRig) produce(objects int) {
	client := r.client()
	defer client.Close()
	want := r.objects() + objects
	for r.objects() < want {
		require.NoError(r.t, client.ProduceSync(r.t.Context(), kgo.StringRecord(fmt.Sprint(r.sent))).FirstErr())
		r.sent++
	}
}

// produceRecords sends that many records, each of which is acknowledged. The producer is not idempotent: a new
// producer id is only given once the store has it.
func (r *restoredRig) produceRecords(count int) {
	client := r.client(kgo.DisableIdempotentWrite())
	defer client.Close()
	for range count {
		client.Produce(r.t.Context(), kgo.StringRecord(fmt.Sprint(r.sent)), func(_ *kgo.Record, err error) {
			if err != nil {
				r.t.Errorf("produce: %v", err)
			}
		})
		r.sent++
	}
	require.NoError(r.t, client.Flush(r.t.Context()))
}

func (r *restoredRig) objects() int {
	paths, err := filepath.Glob(filepath.Join(r.dir, "data", "objects", "*+", "data+", "*"))
	require.NoError(r.t, err)
	return len(paths)
}

// readsAll reads every record that was acknowledged, once and in order.
func (r *restoredRig) readsAll() {
	client := r.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), restoredLimit)
	defer cancel()
	for next := 0; next < r.sent; {
		fetches := client.PollFetches(ctx)
		require.NoError(r.t, fetches.Err0())
		fetches.EachRecord(func(record *kgo.Record) {
			require.Equal(r.t, fmt.Sprint(next), string(record.Value))
			next++
		})
	}
}

func (r *restoredRig) disk(name string) string { return filepath.Join(r.dir, "data", name) }

// copies copies disks while the broker stands still.
func (r *restoredRig) copies(names ...string) {
	require.NoError(r.t, syscall.Kill(r.process.ID(), syscall.SIGSTOP))
	for _, name := range names {
		text, err := exec.Command("cp", "-a", r.disk(name), r.disk(name+".old")).CombinedOutput()
		require.NoError(r.t, err, string(text))
	}
	require.NoError(r.t, syscall.Kill(r.process.ID(), syscall.SIGCONT))
}

// swaps puts one set of copies in the place of what is there, which becomes the other.
func (r *restoredRig) swaps(names ...string) {
	for _, name := range names {
		require.NoError(r.t, os.Rename(r.disk(name), r.disk(name+".swap")))
		require.NoError(r.t, os.Rename(r.disk(name+".old"), r.disk(name)))
		require.NoError(r.t, os.Rename(r.disk(name+".swap"), r.disk(name+".old")))
	}
}

// Both disks come from an old copy: the start ends and says why, no object is deleted, and the newer
// disks, put back, find every record (R19).
func TestDisksOfAnOldCopy(t *testing.T) {
	r := newRestoredRig(t, nil)
	r.produce(5)
	r.copies("meta", "wal")
	r.produce(5)
	r.process.Kill()
	objects := r.objects()
	r.swaps("meta", "wal")
	r.startFails("this metadata disk is older", "is an older copy")
	require.GreaterOrEqual(t, r.objects(), objects)
	r.swaps("meta", "wal")
	r.start()
	r.readsAll()
	r.produce(1)
	r.readsAll()
}

// Only the metadata disk comes from an old copy: the start catches up from the object store.
func TestMetadataDiskOfAnOldCopy(t *testing.T) {
	r := newRestoredRig(t, nil)
	r.produce(5)
	r.copies("meta")
	r.produce(5)
	r.process.Kill()
	r.swaps("meta")
	r.start()
	r.readsAll()
	r.produce(1)
	r.readsAll()
}

// The metadata disk is lost: recover-cluster asks before it acts, and loses nothing; the lost disk
// does not start again.
func TestMetadataDiskLost(t *testing.T) {
	r := newRestoredRig(t, nil)
	r.produce(5)
	r.process.Kill()
	require.NoError(t, os.Rename(r.disk("meta"), r.disk("meta.old")))
	r.startFails("recover-cluster")
	require.Contains(t, r.recovers(false), "nothing was changed")
	require.Contains(t, r.recovers(true), "Start the broker")
	r.start()
	r.readsAll()
	r.produce(3)
	r.readsAll()
	r.process.Kill()
	r.swaps("meta")
	r.startFails("was rebuilt by recover-cluster")
	r.swaps("meta")
	r.start()
	r.readsAll()
}

// recovers runs weir recover-cluster and returns what it says.
func (r *restoredRig) recovers(yes bool) string {
	args := []string{"recover-cluster"}
	if yes {
		args = append(args, "--yes")
	}
	for key, value := range r.config {
		args = append(args, "--set", key+"="+value)
	}
	command := exec.Command(r.path, args...)
	command.Dir = r.dir
	text, err := command.CombinedOutput()
	require.Equal(r.t, yes, err == nil, string(text))
	return string(text)
}
