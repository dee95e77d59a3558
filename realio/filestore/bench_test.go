package filestore

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/core/env"
)

// neighbour writes like a write-ahead log on the same device, and keeps its latencies.
type neighbour struct {
	stop      atomic.Bool
	done      sync.WaitGroup
	latencies []time.Duration
}

func startNeighbour(b *testing.B) *neighbour {
	const region, write = 64 << 20, 16 << 10
	fd, err := open(filepath.Join(b.TempDir(), "wal"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT)
	if err != nil {
		b.Fatal(err)
	}
	chunk := alignedChunk()
	for at := int64(0); at < region; at += chunkBytes {
		if _, err := unix.Pwrite(fd, chunk[:], at); err != nil {
			b.Fatal(err)
		}
	}
	if err := unix.Fsync(fd); err != nil {
		b.Fatal(err)
	}
	n := &neighbour{}
	n.done.Go(func() {
		defer func() { _ = unix.Close(fd) }()
		for at := int64(0); !n.stop.Load(); at = (at + write) % region {
			began := time.Now()
			if _, err := unix.Pwritev2(fd, [][]byte{chunk[:write]}, at, unix.RWF_DSYNC); err != nil {
				b.Error(err)
				return
			}
			n.latencies = append(n.latencies, time.Since(began))
		}
	})
	return n
}

func (n *neighbour) report(b *testing.B) {
	n.stop.Store(true)
	n.done.Wait()
	slices.Sort(n.latencies)
	at := func(perMille int) float64 {
		return float64(n.latencies[len(n.latencies)*perMille/1000].Microseconds())
	}
	b.ReportMetric(at(500), "wal-p50-µs")
	b.ReportMetric(at(990), "wal-p99-µs")
	b.ReportMetric(at(999), "wal-p999-µs")
}

// processor is the processor time that this process has used.
func processor() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkPut writes bodies of 256 MiB in slices of 16 KiB, past the page cache and through it, alone
// and beside a log that makes small durable writes on the same device.
func BenchmarkPut(b *testing.B) {
	const bytes, slice = 256 << 20, 16 << 10
	piece := make([]byte, slice+1)[1:] // as unaligned as batches are
	body := slices.Repeat([][]byte{piece}, bytes/slice)
	for _, name := range []string{"direct", "cached"} {
		for _, beside := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/wal=%v", name, beside), func(b *testing.B) {
				b.SetBytes(bytes)
				w, dir := newWriter(name == "direct"), b.TempDir()
				unix.Sync()
				var n *neighbour
				if beside {
					n = startNeighbour(b)
				}
				before := processor()
				b.ResetTimer()
				for i := range b.N {
					file := filepath.Join(dir, fmt.Sprint(i))
					if err := w.write(file, sliced(body), new(atomic.Bool)); err != nil {
						b.Fatal(err)
					}
					_ = unlink(file)
				}
				b.StopTimer()
				b.ReportMetric((processor()-before).Seconds()*(1<<30)/float64(bytes*b.N), "cpu-s/GiB")
				if beside {
					n.report(b)
				}
			})
		}
	}
}

// BenchmarkGet reads objects that are not in the page cache, in ranges of 8 MiB, beside a log that makes small durable
// writes on the same device, with so many reads at once.
func BenchmarkGet(b *testing.B) {
	const objects, bytes, span = 16, 128 << 20, 8 << 20
	dir := b.TempDir()
	w := newWriter(true)
	body := slices.Repeat([][]byte{make([]byte, 1<<20)}, bytes>>20)
	for i := range objects {
		if err := w.write(filepath.Join(dir, fmt.Sprint(i)), sliced(body), new(atomic.Bool)); err != nil {
			b.Fatal(err)
		}
	}
	for _, readers := range []int{0, 1, 2, 4, 16} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			b.SetBytes(objects * bytes)
			for b.Loop() {
				b.StopTimer()
				for i := range objects {
					fd, _ := open(filepath.Join(dir, fmt.Sprint(i)), unix.O_RDONLY)
					_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
					_ = unix.Close(fd)
				}
				n := startNeighbour(b)
				b.StartTimer()
				ranges := make(chan int, objects*bytes/span)
				for i := range objects * bytes / span {
					ranges <- i
				}
				close(ranges)
				var all sync.WaitGroup
				for range readers {
					all.Go(func() {
						get := &env.GetObject{Into: make([]byte, span)}
						for i := range ranges {
							get.Offset = int64(i*span) % bytes
							if _, _, err := read(filepath.Join(dir, fmt.Sprint(i*span/bytes)), get); err != nil {
								b.Error(err)
							}
						}
					})
				}
				if readers == 0 {
					<-time.After(time.Second)
				}
				all.Wait()
				b.StopTimer()
				n.report(b)
				b.StartTimer()
			}
		})
	}
}
