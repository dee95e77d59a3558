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
