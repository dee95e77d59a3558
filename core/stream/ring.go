package stream

import (
	"slices"

	"weir/core/object"
)

const (
	chunkEntries = 32 // a power of two
	chunkShift   = 5
	chunksIdle   = 4096 // kept for reuse
)

// batchEntry is what a ring knows of its entries: each is one batch.
type batchEntry[T any] interface {
	*T
	end() int64 // offset after the batch
	size() int64
	timestamp() int64 // the largest of its records
}

// chunk is a piece of a ring. The largest timestamp and the bytes are of all entries that were pushed into
// it, so that a walk over a ring looks at few entries.
type chunk[T any] struct {
	entries [chunkEntries]T
	largest int64
	bytes   int64
}

// chunkPool counts the chunks and entries of its rings, and keeps chunks for reuse.
type chunkPool[T any] struct {
	idle    []*chunk[T]
	chunks  int64 // in use
	entries int64
	// transactions of the streams' entries
	transactions int64
}

// addTransaction notes what a transactional batch says of its transaction.
func (p *chunkPool[T]) addTransaction(t *object.Transactions, batch []byte, base int64) {
	p.transactions -= int64(t.Len())
	t.Add(batch, base)
	p.transactions += int64(t.Len())
}

// forgetTransactions lets go of the transactions that ended below the first offset of a stream's entries.
func (p *chunkPool[T]) forgetTransactions(t *object.Transactions, below int64) {
	if t.Len() > 0 {
		p.transactions -= int64(t.Forget(below))
	}
}

// truncateTransactions takes back what a stream's entries from end on said.
func (p *chunkPool[T]) truncateTransactions(t *object.Transactions, end int64) {
	p.transactions -= int64(t.Len())
	t.Truncate(end)
	p.transactions += int64(t.Len())
}

// dropTransactions lets go of all transactions of a stream.
func (p *chunkPool[T]) dropTransactions(t *object.Transactions) {
	p.transactions -= int64(t.Len())
	*t = object.Transactions{}
}

func (p *chunkPool[T]) take() *chunk[T] {
	p.chunks++
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return c
	}
	return &chunk[T]{largest: -1}
}

func (p *chunkPool[T]) give(c *chunk[T]) {
	p.chunks--
	if len(p.idle) < chunksIdle {
		*c = chunk[T]{largest: -1}
		p.idle = append(p.idle, c)
	}
}

// ring holds a stream's entries: dense in offsets, in order. It grows by a chunk at a time, so that however
// many there are, no append pays for moving them, and none is held twice.
type ring[T any, P batchEntry[T]] struct {
	pool   *chunkPool[T]
	chunks []*chunk[T]
	head   int // chunks before it are gone
	skip   int // entries of the first chunk that are gone
	n      int
}

func (r *ring[T, P]) len() int { return r.n }

func (r *ring[T, P]) at(i int) P {
	i += r.skip
	return P(&r.chunks[r.head+i>>chunkShift].entries[i&(chunkEntries-1)])
}

func (r *ring[T, P]) push(e T) {
	at := r.skip + r.n
	if r.head+at>>chunkShift == len(r.chunks) {
		if r.head > 16 && r.head > len(r.chunks)/2 {
			r.chunks, r.head = slices.Delete(r.chunks, 0, r.head), 0
		}
		r.chunks = append(r.chunks, r.pool.take())
	}
	r.n++
	r.pool.entries++
	c := r.chunks[r.head+at>>chunkShift]
	n := &c.entries[at&(chunkEntries-1)]
	*n = e // whose address must not be taken: it would move to the heap
	c.largest, c.bytes = max(c.largest, P(n).timestamp()), c.bytes+P(n).size()
}

// drop takes the first n entries off.
func (r *ring[T, P]) drop(n int) {
	r.skip += n
	r.n -= n
	r.pool.entries -= int64(n)
	for r.head < len(r.chunks) && (r.skip >= chunkEntries || r.n == 0) {
		r.pool.give(r.chunks[r.head])
		r.chunks[r.head] = nil
		r.head++
		r.skip = max(r.skip-chunkEntries, 0)
	}
	if r.n == 0 {
		r.chunks, r.head, r.skip = nil, 0, 0
	}
}

// truncate takes all but the first n entries off, those of the last chunk without giving up their room.
func (r *ring[T, P]) truncate(n int) {
	if n == 0 {
		r.drop(r.n)
		return
	}
	r.pool.entries -= int64(r.n - n)
	r.n = n
	last := r.head + (r.skip+n-1)>>chunkShift
	for _, c := range r.chunks[last+1:] {
		r.pool.give(c)
	}
	r.chunks = slices.Delete(r.chunks, last+1, len(r.chunks))
	c := r.chunks[last]
	c.largest, c.bytes = -1, 0
	for i := range (r.skip+n-1)&(chunkEntries-1) + 1 {
		e := P(&c.entries[i])
		c.largest, c.bytes = max(c.largest, e.timestamp()), c.bytes+e.size()
	}
}

// search returns the first entry that ends after offset; len if none does.
func (r *ring[T, P]) search(offset int64) int {
	low, high := 0, r.n
	for low < high {
		if middle := (low + high) / 2; r.at(middle).end() <= offset {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// whole returns the chunk that begins at entry i and lies wholly before entry to; nil if there is none.
func (r *ring[T, P]) whole(i, to int) *chunk[T] {
	if (i+r.skip)&(chunkEntries-1) != 0 || i+chunkEntries > to {
		return nil
	}
	return r.chunks[r.head+(i+r.skip)>>chunkShift]
}

// largest is the largest timestamp of the entries [from, to); -1 if there is none.
func (r *ring[T, P]) largest(from, to int) int64 {
	largest := int64(-1)
	for i := from; i < to; {
		if c := r.whole(i, to); c != nil {
			largest = max(largest, c.largest)
			i += chunkEntries
			continue
		}
		largest = max(largest, r.at(i).timestamp())
		i++
	}
	return largest
}

// bytes is the size of the entries [from, to).
func (r *ring[T, P]) bytes(from, to int) int64 {
	total := int64(0)
	for i := from; i < to; {
		if c := r.whole(i, to); c != nil {
			total += c.bytes
			i += chunkEntries
			continue
		}
		total += r.at(i).size()
		i++
	}
	return total
}

// find returns the first of the entries [from, to) whose timestamp is at least ts; to if there is none.
func (r *ring[T, P]) find(from, to int, ts int64) int {
	for i := from; i < to; {
		if c := r.whole(i, to); c != nil && c.largest < ts {
			i += chunkEntries
			continue
		}
		if r.at(i).timestamp() >= ts {
			return i
		}
		i++
	}
	return to
}
