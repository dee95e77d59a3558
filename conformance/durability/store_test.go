package durability

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/weirbin"
)

// badStore is an S3 server that can be told to misbehave.
type badStore struct {
	*s3mem.Backend
	next   http.Handler
	denies atomic.Bool // every request
	stuck  atomic.Bool // takes the first bytes of what is put, and no more
	puts   atomic.Int64
	ended  chan struct{}
}

// newBadStore starts the server, and returns the keys of a broker that uses it.
func newBadStore(t *testing.T) (*badStore, map[string]string) {
	s := &badStore{Backend: s3mem.New(), ended: make(chan struct{})}
	require.NoError(t, s.CreateBucket(bucket))
	s.next = gofakes3.New(s.Backend).Server()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(s.ended) })
	return s, weirbin.S3Config(server.URL, bucket)
}

// ServeHTTP implements [http.Handler].
func (s *badStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.denies.Load() {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>The bucket owner says no.</Message></Error>`)
		return
	}
	if s.stuck.Load() && r.Method == http.MethodPut {
		s.puts.Add(1)
		<-s.ended
		return
	}
	s.next.ServeHTTP(w, r)
}

// data returns the keys of the data objects.
func (s *badStore) data(t *testing.T) (keys []string) {
	list, err := s.ListBucket(bucket, nil, gofakes3.ListBucketPage{})
	require.NoError(t, err)
	for _, object := range list.Contents {
		if strings.Contains(object.Key, "/data/") {
			keys = append(keys, object.Key)
		}
	}
	return keys
}

// A store that refuses the keys is told of in its own words, with what to do, and costs no record: writes are
// acknowledged on, and uploaded once it answers again.
func TestStoreThatDenies(t *testing.T) {
	store, config := newBadStore(t)
	r := newRestoredRig(t, config)
	r.produceRecords(10)
	store.denies.Store(true)
	r.produceRecords(1000)
	r.says("level=WARN", "the object store fails", "AccessDenied", "The bucket owner says no.", "credentials")
	store.denies.Store(false)
	r.says("the object store answers again")
	require.NoError(t, r.process.Stop(restoredLimit))
	r.start()
	r.readsAll()
}

// An object that somebody deleted is told of with the partition and the offsets that were lost; the reader has an
// error, and what comes after is served.
func TestObjectThatIsGone(t *testing.T) {
	store, config := newBadStore(t)
	r := newRestoredRig(t, config)
	r.produceRecords(500)
	require.NoError(t, r.process.Stop(restoredLimit))
	r.start()
	// The log of the incarnation before is deleted once all of its records are committed.
	require.Eventually(t, func() bool {
		logs, err := filepath.Glob(filepath.Join(r.dir, "data", "wal", "wal-*"))
		return err == nil && len(logs) == 1
	}, restoredLimit, 10*time.Millisecond)
	require.NoError(t, r.process.Stop(restoredLimit))
	for _, key := range store.data(t) {
		_, err := store.DeleteObject(bucket, key)
		require.NoError(t, err)
	}
	r.start()
	lost := r.sent
	r.produceRecords(10)
	client := r.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepRetryableFetchErrors())
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), restoredLimit)
	defer cancel()
	require.ErrorIs(t, client.PollFetches(ctx).Err(), kerr.KafkaStorageError)
	r.says("level=ERROR", "their object is gone from the store", "partition="+topic+"-0", "first_offset=0", "advice=")
	after := r.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(int64(lost))}}))
	defer after.Close()
	fetches := after.PollFetches(ctx)
	require.NoError(t, fetches.Err())
	require.Equal(t, int64(lost), fetches.Records()[0].Offset)
}

// A shutdown does not wait for a store that takes nothing, and loses nothing.
func TestShutdownOnAStuckStore(t *testing.T) {
	store, config := newBadStore(t)
	r := newRestoredRig(t, config)
	store.stuck.Store(true)
	r.produceRecords(1000)
	require.Eventually(t, func() bool { return store.puts.Load() > 0 }, restoredLimit, 10*time.Millisecond)
	require.NoError(t, syscall.Kill(r.process.ID(), syscall.SIGTERM))
	select {
	case <-r.process.Ended():
	case <-time.After(restoredLimit):
		t.Fatalf("the broker goes on:\n%s", r.process.Tail(30))
	}
	require.NoError(t, r.process.Wait())
	store.stuck.Store(false)
	r.start()
	r.readsAll()
}
