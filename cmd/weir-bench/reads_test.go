package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/realio/compute"
	"weir/realio/filestore"
	"weir/realio/logging"
	"weir/realio/mailbox"
	"weir/realio/memory"
	"weir/realio/metrics"
	"weir/realio/random"
)

const (
	archiveCluster    = "bench"
	archiveBytes      = 2 << 30
	archiveObjects    = 8
	archiveBlockBytes = 512 << 10
	archiveBatchBytes = 64 << 10
	archiveFetchBytes = 1 << 20 // Kafka's default for a partition

	plainRangeBytes   = 8 << 20
	plainRangesAtOnce = 16

	distantFirstByte      = 30 * time.Millisecond
	distantBytesPerSecond = 100_000_000 // of one connection
)

// BenchmarkCatchUp reads what is in the store from the first to the last offset of each partition, through stream.Reader
// as a broker does, and beside that as a plain program does: range GETs of 8 MiB, 16 at once, whose bytes are not looked
// at. "disk" is a directory that is not in the page cache, "memory" one that is. "distant" answers like S3: its first
// byte comes after 30 ms, and a connection has a rate of its own.
func BenchmarkCatchUp(b *testing.B) {
	for _, partitions := range []int{1, 12} {
		a := writeArchive(b, partitions)
		for _, place := range []string{"disk", "memory", "distant"} {
			b.Run(fmt.Sprintf("%s/partitions=%d", place, partitions), func(b *testing.B) {
				a.distant = place == "distant"
				var plain, weir time.Duration
				for b.Loop() {
					a.settle(b, place == "disk")
					plain += a.readPlainly(b)
					a.settle(b, place == "disk")
					weir += a.readAsBroker(b)
				}
				megabytes := float64(a.bytes) / 1e6 * float64(b.N)
				b.ReportMetric(megabytes/plain.Seconds(), "plain-MB/s")
				b.ReportMetric(megabytes/weir.Seconds(), "weir-MB/s")
				b.ReportMetric(plain.Seconds()/weir.Seconds(), "weir/plain")
			})
		}
	}
}

// archive is partitions in the store, and the image of them.
type archive struct {
	dir     string
	distant bool
	sizes   map[string]int64 // of objects, by key
	bytes   int64            // of records
	streams map[metadata.StreamID]*metadata.Stream
	arena   *memory.Arena
}

// Stream implements stream.Streams.
func (a *archive) Stream(id metadata.StreamID) (*metadata.Stream, bool) {
	s, ok := a.streams[id]
	return s, ok
}

// writeArchive fills a directory with objects, each of which has a part of every partition.
func writeArchive(b *testing.B, partitions int) *archive {
	a := &archive{
		dir: b.TempDir(), sizes: map[string]int64{}, streams: map[metadata.StreamID]*metadata.Stream{}, arena: memory.NewArena(1 << 30),
	}
	for i := range partitions {
		id := metadata.StreamID(i + 1)
		a.streams[id] = &metadata.Stream{ID: id}
	}
	batch := record.AppendBatch(nil, []record.Record{{Value: make([]byte, archiveBatchBytes)}})
	store := a.open(b, env.Event.Deliver)
	defer func() { _ = store.Shutdown() }()
	for i := range archiveObjects {
		a.writeObject(b, store, metadata.ObjectID(i+1), batch, archiveBytes/archiveObjects/partitions/len(batch))
	}
	for _, s := range a.streams {
		s.Ranges = []metadata.Range{{End: -1, Committed: s.Parts[len(s.Parts)-1].End}}
	}
	return a
}

func (a *archive) writeObject(b *testing.B, store env.ObjectStore, id metadata.ObjectID, batch []byte, batches int) {
	var parts []object.Part
	for i := range len(a.streams) {
		s := a.streams[metadata.StreamID(i+1)]
		next := int64(0)
		if n := len(s.Parts); n > 0 {
			next = s.Parts[n-1].End
		}
		part := object.Part{Stream: uint64(s.ID)}
		for range batches {
			data := append([]byte(nil), batch...)
			record.Patch(data, next, 0)
			part.Batches = append(part.Batches, object.Batch{Data: data, Base: next, End: next + 1})
			next++
		}
		parts = append(parts, part)
	}
	built := object.Build(object.Header{ID: uint64(id), Cluster: archiveCluster}, parts, archiveBlockBytes)
	for _, p := range built.Parts {
		s := a.streams[metadata.StreamID(p.Stream)]
		s.Parts = append(s.Parts, metadata.Part{
			Object: id, Start: p.Start, End: p.End, Bytes: p.Bytes, IndexOffset: p.IndexPosition, IndexBytes: p.IndexBytes,
		})
		a.bytes += p.Bytes
	}
	key := object.Key(archiveCluster, uint64(id))
	done := make(chan struct{})
	put := &env.PutObject{Key: key, Body: built.Body, Done: func(*env.PutObject) { close(done) }}
	store.Put(put)
	if <-done; put.Err != nil {
		b.Fatal(put.Err)
	}
	a.sizes[key] = built.Header.Bytes
}

// settle takes the objects out of the page cache, or all of them into it.
func (a *archive) settle(b *testing.B, cold bool) {
	for key := range a.sizes {
		cluster, name, _ := strings.Cut(key, "/data/")
		f, err := os.Open(filepath.Join(a.dir, cluster+"+", "data+", name))
		if err != nil {
			b.Fatal(err)
		}
		if cold {
			err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		} else {
			_, err = io.Copy(io.Discard, struct{ io.Reader }{f})
		}
		if err != nil || f.Close() != nil {
			b.Fatal(err)
		}
	}
}

// open opens the store, which delivers to deliver.
func (a *archive) open(b *testing.B, deliver func(env.Event)) *filestore.Store {
	answer := deliver
	if a.distant {
		answer = func(e env.Event) {
			bytes := 0
			if o, ok := e.(*env.GetObject); ok {
				bytes = o.N
			}
			transfer := time.Duration(bytes) * time.Second / distantBytesPerSecond
			time.AfterFunc(distantFirstByte+transfer, func() { deliver(e) })
		}
	}
	s, err := filestore.Open(filestore.Options{Path: a.dir, Deliver: answer})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// readPlainly reads all objects by ranges, several at once, and does nothing with them.
func (a *archive) readPlainly(b *testing.B) time.Duration {
	store := a.open(b, env.Event.Deliver)
	defer func() { _ = store.Shutdown() }()
	gets := make(chan *env.GetObject)
	var readers sync.WaitGroup
	begin := time.Now()
	for range plainRangesAtOnce {
		readers.Go(func() {
			into, done := make([]byte, plainRangeBytes), make(chan struct{})
			for get := range gets {
				get.Into = into[:min(int64(len(into)), a.sizes[get.Key]-get.Offset)]
				get.Done = func(*env.GetObject) { done <- struct{}{} }
				store.Get(get)
				<-done
				if get.N != len(get.Into) {
					b.Errorf("%d of %d bytes came: %v", get.N, len(get.Into), get.Err)
				}
			}
		})
	}
	for key, size := range a.sizes {
		for at := int64(0); at < size; at += plainRangeBytes {
			gets <- &env.GetObject{Key: key, Offset: at}
		}
	}
	close(gets)
	readers.Wait()
	return time.Since(begin)
}

// call is a function as an event.
type call func()

// Deliver implements env.Event.
func (c call) Deliver() { c() }

// readAsBroker reads all partitions at once through a new stream.Reader, with one sequential reader each.
func (a *archive) readAsBroker(b *testing.B) time.Duration {
	box := mailbox.New(mailbox.Options{})
	loop := task.NewLoop(box.Clock())
	ended := make(chan struct{})
	go func() {
		box.Run(loop)
		close(ended)
	}()
	pool := compute.New(compute.Options{Deliver: box.DeliverInTurn, Workers: runtime.GOMAXPROCS(0)})
	store := a.open(b, box.DeliverInTurn)
	m := metrics.New()
	e := env.Env{Clock: box.Clock(), Store: store, Rand: random.New(), Compute: pool, Memory: memory.New(a.arena), Metrics: m}
	begin := time.Now()
	left, read, stopped := len(a.streams), make(chan struct{}), make(chan struct{})
	var reader *stream.Reader
	box.Deliver(call(func() {
		reader = stream.NewReader(stream.ReaderOptions{
			Loop: loop, Env: e, Telemetry: telemetry.New(logging.New(io.Discard, logging.Options{}), m), Image: a, Cluster: archiveCluster,
		})
		for id := range a.streams {
			c := &catchingUp{b: b, log: reader.Log(id, call(nil)), done: func() {
				if left--; left == 0 {
					close(read)
				}
			}}
			c.next()
		}
	}))
	<-read
	took := time.Since(begin)
	box.Deliver(call(func() { reader.Shutdown(func() { close(stopped) }) }))
	<-stopped
	_ = store.Shutdown()
	pool.Stop()
	box.Stop()
	<-ended
	return took
}

// String is what the partition is called in errors.
func (call) String() string { return "archived partition" }

// catchingUp is one sequential reader of a partition.
type catchingUp struct {
	b    *testing.B
	log  *stream.CommittedLog
	at   int64
	done func()
}

func (c *catchingUp) next() {
	_, end, err := c.log.Bounds()
	if err != nil || c.at == end {
		c.done()
		return
	}
	c.log.Read(c.at, archiveFetchBytes, func(f stream.Fetched) {
		if f.Err != nil {
			c.b.Error(f.Err)
			c.done()
			return
		}
		c.at += int64(len(f.Batches))
		f.Release()
		c.next()
	})
}
