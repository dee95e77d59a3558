package stream

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/object"
	"weir/core/record"
)

// transact appends a batch of a producer's transaction, or its marker.
func (o *owner) transact(n *node, producer int64, choice, bytes int) {
	b := record.Builder{ProducerID: producer, Transactional: true}
	records := 1 + choice%3
	data := b.AppendBatch(nil, slices.Repeat([]record.Record{{Timestamp: 5, Value: make([]byte, bytes)}}, records))
	if choice < 2 {
		records, data = 1, record.AppendMarker(nil, producer, 0, record.Marker{Commit: choice == 0}, 5)
	}
	n.w.turn(func() { o.put(data, records, 5) })
}

// fate is what the history says of one batch.
type fate struct {
	base, end int64
	header    record.Header
	decided   int64 // offset of the marker; -1: none
	aborted   bool
}

// fates says what became of every acknowledged batch.
func (h *history) fates() []fate {
	var all []fate
	for i, batch := range h.batches {
		if h.ends[i] > h.acked {
			break
		}
		header, _ := record.ReadHeader(batch)
		f := fate{base: header.BaseOffset, end: h.ends[i], header: header, decided: -1}
		if header.Control() {
			m, _ := record.ReadMarker(batch)
			for j := range all {
				if o := &all[j]; o.header.Transactional() && !o.header.Control() && o.decided < 0 && o.header.ProducerID == header.ProducerID {
					o.decided, o.aborted = f.base, !m.Commit
				}
			}
		}
		all = append(all, f)
	}
	return all
}

// lastStable is the first offset of an open transaction, or the end.
func (h *history) lastStable(fates []fate) int64 {
	for _, f := range fates {
		if f.header.Transactional() && !f.header.Control() && f.decided < 0 {
			return f.base
		}
	}
	return h.acked
}

// visible is what a consumer shows of a stable read, as Kafka's does it: the offsets of batches.
func visible(f *Fetched) (bases []int64) {
	aborted, hidden := f.Aborted, map[int64]bool{}
	for _, batch := range f.Batches {
		h, _ := record.ReadHeader(batch)
		for len(aborted) > 0 && aborted[0].First < h.NextOffset() {
			hidden[aborted[0].Producer] = true
			aborted = aborted[1:]
		}
		if h.Control() {
			if m, _ := record.ReadMarker(batch); !m.Commit {
				delete(hidden, h.ProducerID)
			}
			continue
		}
		if !h.Transactional() || !hidden[h.ProducerID] {
			bases = append(bases, h.BaseOffset)
		}
	}
	return bases
}

func (o *owner) readStableSome(n *node, draw func(int) int, storm bool) {
	if start, hw := o.stream.LogStart(), o.stream.HighWatermark(); start < hw {
		o.readStable(n, start+int64(draw(int(hw-start))), 1+draw(9000), storm)
	}
}

// readStable reads from an offset and holds what a consumer of committed records would see against the history.
func (o *owner) readStable(n *node, offset int64, maxBytes int, storm bool) {
	fates := o.history.fates()
	end := o.history.lastStable(fates)
	if offset >= end {
		return
	}
	ended := false
	n.w.turn(func() {
		o.stream.ReadStable(offset, end, maxBytes, func(f Fetched) {
			ended = true
			if f.Err != nil && !storm && offset >= o.stream.LogStart() {
				n.w.t.Fatalf("stream %d: a stable read at %d: %v", o.stream.id, offset, f.Err)
			}
			if f.Err == nil {
				o.checkStable(n, offset, end, &f, fates)
			}
			f.Release()
		})
	})
	n.w.until(fmt.Sprintf("a stable read at %d", offset), func() bool { return ended })
}

func (o *owner) checkStable(n *node, offset, end int64, f *Fetched, fates []fate) {
	at, last := o.history.at(offset), offset
	for i, batch := range f.Batches {
		if !slices.Equal(batch, o.history.batches[at+i]) || fates[at+i].base >= end {
			n.w.t.Fatalf("stream %d: a stable read at %d of [.., %d) is wrong at offset %d", o.stream.id, offset, end, fates[at+i].base)
		}
		last = fates[at+i].end
	}
	var want []int64
	for _, t := range fates[at : at+len(f.Batches)] {
		if !t.header.Control() && !t.aborted {
			want = append(want, t.base)
		}
	}
	if got := visible(f); !slices.Equal(got, want) {
		n.w.t.Fatalf("stream %d: a consumer sees %v of [%d, %d), committed are %v; aborted list %v", o.stream.id, got, offset, last, want, f.Aborted)
	}
	if !slices.IsSortedFunc(f.Aborted, func(a, b object.AbortedTransaction) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Producer, b.Producer))
	}) {
		n.w.t.Fatalf("stream %d: aborted list %v is not sorted", o.stream.id, f.Aborted)
	}
	for _, a := range f.Aborted {
		if !slices.ContainsFunc(fates, func(t fate) bool {
			return t.aborted && t.header.ProducerID == a.Producer && t.base == a.First && t.base < last && t.decided >= offset
		}) {
			n.w.t.Fatalf("stream %d: aborted list %v of [%d, %d) has what is no aborted transaction there", o.stream.id, f.Aborted, offset, last)
		}
	}
}

// A crash falls between the end of transactions and their upload: the recovered tail is read from the log's file alone.
func TestARecoveredTailNamesItsAbortedTransactions(t *testing.T) {
	w, c, n := start(t)
	o := n.create(1)
	for _, choice := range []int{3, 1, 3, 0, 4, 1} { // data, abort, data, commit, data, abort
		o.transact(n, 7, choice, 100)
	}
	w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
	w.crash()
	n = boot(w, c, smallOptions, smallLog)
	require.True(t, c.EpochOwes(1), "the tail was uploaded before it was read")
	for at := range o.history.acked {
		n.owners[1].readStable(n, at, 9000, false)
	}
	n.shutdown()
}
