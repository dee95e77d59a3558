package disk

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
	"weir/core/wal"
	"weir/realio/mailbox"
)

// node is the least of a node that a log needs: a loop with its mailbox, memory, and randomness.
type node struct {
	box     *mailbox.Mailbox
	loop    *task.Loop
	disk    *Disk
	stopped chan struct{}
}

func (n *node) Uint64(purpose string, entity, counter uint64) uint64 { return 42 }
func (n *node) Counter(_, _ string) env.Counter                      { return nothing{} }
func (n *node) Gauge(_, _ string) env.Gauge                          { return nothing{} }
func (n *node) Histogram(_, _ string) env.Histogram                  { return nothing{} }

type nothing struct{}

func (nothing) Add(int64)     {}
func (nothing) Set(int64)     {}
func (nothing) Observe(int64) {}

func newNode(b *testing.B, path string) node {
	n := node{box: mailbox.New(mailbox.Options{}), stopped: make(chan struct{})}
	n.loop = task.NewLoop(n.box.Clock())
	n.disk = mustOpen(b, path, n.box.DeliverInTurn)
	go func() {
		n.box.Run(n.loop)
		close(n.stopped)
	}()
	return n
}

// do runs f on the loop, and waits until f's done is called there.
func (n *node) do(f func(done func())) {
	ended := make(chan struct{})
	n.box.Deliver(posted(func() { f(func() { close(ended) }) }))
	<-ended
}

type posted func()

func (p posted) Deliver() { p() }

// writer keeps a number of appends in flight, each of which fills a group.
type writer struct {
	node
	log     *wal.Log
	appends int           // in all
	again   []*wal.Append // those not in flight
	target  int64         // bytes to place, and make durable
	placed  int64
	durable int64
	group   int64
	done    func() // of write
}

const regionBytes = 64 << 20

func newWriter(b *testing.B, path string, group, depth int, shared bool) *writer {
	w := &writer{node: newNode(b, path), group: int64(group)}
	e := env.Env{Clock: w.box.Clock(), WAL: w.disk, Rand: w, Memory: newMemory(), Metrics: w}
	config := wal.Config{SizeBytes: regionBytes, GroupBytesMax: group, WritesInFlightMax: depth, GrowBytes: regionBytes, Shared: shared}
	w.do(func(done func()) {
		wal.Create(w.loop, e, config, "wal", 1, nil, func(err error) { b.Error(err) }, func(l *wal.Log, err error) {
			if err != nil {
				b.Error(err)
			}
			w.log = l
			l.OnSpace(w.refill)
			done()
		})
	})
	payload := make([]byte, group-64-40)
	record.Seal(payload)
	w.appends = depth * 4
	for range w.appends {
		w.again = append(w.again, &wal.Append{Stream: 1, Offsets: 1, Payload: payload, LogAppendTime: -1, Owner: w})
	}
	return w
}

// Durable implements wal.Owner.
func (w *writer) Durable(a *wal.Append) {
	w.durable += w.group
	w.again = append(w.again, a)
	if w.log.Used() > regionBytes/4 {
		w.log.Trim(w.log.Durable())
	}
	w.refill()
	if len(w.again) == w.appends && w.durable >= w.target {
		w.done()
	}
}

// Dropped implements wal.Owner.
func (w *writer) Dropped(*wal.Append) { panic("dropped") }

func (w *writer) refill() {
	for len(w.again) > 0 && w.placed < w.target {
		if !w.log.Append(w.again[len(w.again)-1]) {
			return
		}
		w.again = w.again[:len(w.again)-1]
		w.placed += w.group
	}
}

// write makes bytes durable, and returns how long that took.
func (w *writer) write(bytes int64) time.Duration {
	began := time.Now()
	w.do(func(done func()) {
		w.done = done
		w.target = w.durable + bytes
		w.refill()
	})
	return time.Since(began)
}

// grow makes a first lap, which the log writes with zeros ahead of itself.
func (w *writer) grow() {
	for w.durable < regionBytes+regionBytes/8 {
		w.write(64 * w.group)
	}
}

// memoryBytes is about what the log's slabs go round in, so that neither writes from a warm cache.
const memoryBytes = 32 << 20

// plain is a loop that does nothing but aligned, durable writes of one size, some at a time.
type plain struct {
	fd     int
	group  int
	depth  int
	memory []byte
	next   atomic.Int64
}

func newPlain(b *testing.B, path string, group, depth int) *plain {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	zeros := alignedBytes(1 << 20)
	for at := int64(0); at < regionBytes; at += int64(len(zeros)) {
		if _, err := unix.Pwrite(fd, zeros, at); err != nil {
			b.Fatal(err)
		}
	}
	if err := unix.Fsync(fd); err != nil {
		b.Fatal(err)
	}
	return &plain{fd: fd, group: group, depth: depth, memory: alignedBytes(memoryBytes)}
}

func (p *plain) write(b *testing.B, bytes int64) time.Duration {
	began := time.Now()
	last := p.next.Load() + bytes
	var writers sync.WaitGroup
	for range p.depth {
		writers.Go(func() {
			for {
				at := p.next.Add(int64(p.group)) - int64(p.group)
				if at >= last {
					return
				}
				if _, err := unix.Pwritev2(p.fd, [][]byte{p.memory[at%memoryBytes:][:p.group]}, at%regionBytes, unix.RWF_DSYNC); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	p.next.Store(last)
	return time.Since(began)
}

// BenchmarkLog compares core/wal on this package with a plain loop of durable writes of the same
// size and depth, in turns. The ratio of the medians is what the log keeps of the device.
func BenchmarkLog(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + SpareProcessors))
	for _, group := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, depth := range []int{1, 4} {
			b.Run(fmt.Sprintf("group=%dKiB/depth=%d", group>>10, depth), func(b *testing.B) {
				dir := b.TempDir()
				w := newWriter(b, filepath.Join(dir, "log"), group, depth, false)
				p := newPlain(b, filepath.Join(dir, "plain"), group, depth)
				piece := int64(group * 64)
				w.grow()
				var log, loop []time.Duration
				b.SetBytes(2 * piece)
				b.ResetTimer()
				for i := range b.N {
					if i%2 == 0 {
						log = append(log, w.write(piece))
					}
					loop = append(loop, p.write(b, piece))
					if i%2 == 1 {
						log = append(log, w.write(piece))
					}
				}
				b.StopTimer()
				typical := func(d []time.Duration) float64 {
					slices.Sort(d)
					return float64(piece) / d[len(d)/2].Seconds() / 1e6
				}
				b.ReportMetric(typical(log), "log-MB/s")
				b.ReportMetric(typical(loop), "plain-MB/s")
				b.ReportMetric(typical(log)/typical(loop), "ratio")
				w.finish(b)
			})
		}
	}
}

// BenchmarkSharedLog compares a shared log, which reads its fence after each group, with one that does not, in turns: the time
// of a group alone, and that of each of many.
func BenchmarkSharedLog(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + SpareProcessors))
	for _, group := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("group=%dKiB", group>>10), func(b *testing.B) {
			dir := b.TempDir()
			logs := [2]*writer{
				newWriter(b, filepath.Join(dir, "private"), group, 4, false),
				newWriter(b, filepath.Join(dir, "shared"), group, 4, true),
			}
			for _, w := range logs {
				w.grow()
			}
			const many = 32
			var alone, each [2][]time.Duration
			b.ResetTimer()
			for i := range b.N {
				for k := range logs {
					at := (i + k) % 2
					alone[at] = append(alone[at], logs[at].write(int64(group)))
					each[at] = append(each[at], logs[at].write(int64(group)*many)/many)
				}
			}
			b.StopTimer()
			for at, name := range []string{"private", "shared"} {
				slices.Sort(alone[at])
				slices.Sort(each[at])
				b.ReportMetric(float64(alone[at][b.N/2].Nanoseconds())/1e3, name+"-alone-us")
				b.ReportMetric(float64(each[at][b.N/2].Nanoseconds())/1e3, name+"-each-us")
				logs[at].finish(b)
			}
		})
	}
}

func (w *writer) finish(b *testing.B) {
	w.do(func(done func()) { w.log.Close(func(error) { done() }) })
	w.box.Stop()
	<-w.stopped
	if err := w.disk.Shutdown(); err != nil {
		b.Error(err)
	}
}
