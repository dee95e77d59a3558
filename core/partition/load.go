package partition

import (
	"cmp"
	"slices"

	"weir/core/metadata"
)

// Load is what clients moved through partitions in some time, in bytes of batches.
type Load struct {
	Stream metadata.StreamID // 0: of all partitions
	In     int64             // became durable
	Out    int64             // was given to readers
}

func (l Load) bytes() int64 { return l.In + l.Out }

// Served counts bytes that a reader is given.
func (p *Partition) Served(bytes int) { p.servedBytes += int64(bytes) }

// TakeLoad returns what moved since the call before: through all partitions that are open, and through the busiest of them, at most
// so many, the busiest first. Partitions through which nothing moved are not among them.
func (m *Manager) TakeLoad(busiestMax int) (total Load, busiest []Load) {
	for _, p := range m.partitions {
		l := Load{p.Stream, p.durableBytes - p.loadTaken.In, p.servedBytes - p.loadTaken.Out}
		if l.bytes() == 0 {
			continue
		}
		p.loadTaken = Load{In: p.durableBytes, Out: p.servedBytes}
		total.In += l.In
		total.Out += l.Out
		busiest = append(busiest, l)
	}
	slices.SortStableFunc(busiest, func(a, b Load) int { return cmp.Compare(b.bytes(), a.bytes()) })
	return total, busiest[:min(len(busiest), busiestMax)]
}
