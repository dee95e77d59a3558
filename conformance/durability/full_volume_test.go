package durability

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

const (
	volumeBytes      = 64 << 20
	volumeValueBytes = 100 << 10
)

// mountVolume mounts a small file system, or skips the test where this process may not.
func mountVolume(t *testing.T, path string, size int) {
	require.NoError(t, os.MkdirAll(path, 0o755))
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("a small volume cannot be mounted here, which takes root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

// fill sends so many bytes in large records, each of which is acknowledged.
func (r *restoredRig) fill(total int) {
	client := r.client(kgo.ProducerBatchMaxBytes(1_000_000))
	defer client.Close()
	for range total / volumeValueBytes {
		client.Produce(r.t.Context(), &kgo.Record{Key: fmt.Append(nil, r.sent), Value: bytes.Repeat([]byte{byte(r.sent)}, volumeValueBytes)}, func(_ *kgo.Record, err error) {
			if err != nil {
				r.t.Errorf("produce: %v", err)
			}
		})
		r.sent++
	}
	require.NoError(r.t, client.Flush(r.t.Context()))
}

// readsFilled reads every large record, once and in order.
func (r *restoredRig) readsFilled() {
	client := r.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), restoredLimit)
	defer cancel()
	for next := 0; next < r.sent; {
		fetches := client.PollFetches(ctx)
		require.NoError(r.t, fetches.Err0())
		fetches.EachRecord(func(record *kgo.Record) {
			require.Equal(r.t, fmt.Sprint(next), string(record.Key))
			require.Len(r.t, record.Value, volumeValueBytes)
			next++
		})
	}
}

// The log is larger than the volume that it shares with the metadata, as in the default layout: more is written
// than the volume holds, and every restart, clean or not, finds room for both. The log grows by whole MiB, so that
// it is the size of the volume that decides what a log which takes all would leave to others.
func TestRestartsOnAFullVolume(t *testing.T) {
	for _, more := range []int{0, 512 << 10} {
		t.Run(fmt.Sprint(volumeBytes+more), func(t *testing.T) {
			dir := keptIfFailed(t)
			mountVolume(t, filepath.Join(dir, "data"), volumeBytes+more)
			r := startRestoredRig(t, dir, onSmallVolume(dir))
			r.fill(volumeBytes * 5 / 4)
			require.NoError(t, r.process.Stop(restoredLimit))
			r.start()
			r.fill(volumeBytes / 4)
			r.process.Kill()
			r.start()
			r.readsFilled()
		})
	}
}

// Another program takes what the log leaves of the volume: the reserves hold enough for a start, which uploads and
// removes the old log.
func TestRestartOnAVolumeThatOthersFill(t *testing.T) {
	dir := keptIfFailed(t)
	data := filepath.Join(dir, "data")
	mountVolume(t, data, volumeBytes)
	r := startRestoredRig(t, dir, onSmallVolume(dir))
	r.fill(volumeBytes)
	require.NoError(t, r.process.Stop(restoredLimit))
	err := os.WriteFile(filepath.Join(data, "of-another-program"), make([]byte, volumeBytes), 0o644)
	require.ErrorIs(t, err, unix.ENOSPC)
	r.start()
	r.fill(volumeBytes / 4)
	r.readsFilled()
}

// onSmallVolume has a log larger than the volume, and the store elsewhere.
func onSmallVolume(dir string) map[string]string {
	return map[string]string{"weir.object.store": "file:" + filepath.Join(dir, "objects"), "weir.wal.size.bytes": "1073741824"}
}
