package checker

import (
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// LinearMax is the most operations that CheckLinear takes on: its cost grows with the square.
const LinearMax = 1500

// entry is a log in the model: its last batch, and the log before that.
type entry struct {
	before *entry
	end    int64
	id     int32
	count  int32
	hash   uint64
}

// call is the input of an operation, and also what came out.
type call struct {
	id      int32 // of an append
	count   int32
	base    int64 // acknowledged, or unknown
	read    bool
	from    int64
	high    int64
	batches []Batch
}

// CheckLinear checks a history with porcupine: is there an order of its appends
// and reads, within their calls and returns, that a log of batches could give? It
// reports whether it took the history on: it leaves out those that are too long, and
// those with trims, which the model does not know, and those that may hold markers and were never read to the end.
func CheckLinear(p *Partition) (*Violation, bool) {
	unread := p.MarkersMax > 0 && len(p.Drains) == 0
	if unread || len(p.Lost) > 0 || p.Retention.any() || len(p.Trims) > 0 || len(p.Appends)+len(p.Reads) > LinearMax || len(p.foreign) > 0 {
		return nil, false
	}
	result := porcupine.CheckOperationsTimeout(model, operations(p), 20*time.Second)
	switch result {
	case porcupine.Ok:
		return nil, true
	case porcupine.Illegal:
		return &Violation{"linearizability", p.Name + ": no order of appends and reads explains what clients saw (porcupine)"}, true
	}
	return &Violation{"linearizability", p.Name + ": porcupine ran out of time"}, true
}

var model = porcupine.Model{
	Init: func() any { return (*entry)(nil) },
	Step: func(state, input, _ any) (bool, any) {
		s, c := state.(*entry), input.(*call)
		if c.read {
			return readable(s, c), s
		}
		end := s.endOffset()
		if c.base != unknown && c.base != end {
			return false, s
		}
		return true, &entry{s, end + int64(c.count), c.id, c.count, s.chain(c.id)}
	},
	Equal: func(a, b any) bool {
		x, y := a.(*entry), b.(*entry)
		return x == y || x != nil && y != nil && x.end == y.end && x.hash == y.hash
	},
	Hash: func(state any) uint64 {
		if s := state.(*entry); s != nil {
			return s.hash
		}
		return 0
	},
}

func (e *entry) endOffset() int64 {
	if e == nil {
		return 0
	}
	return e.end
}

func (e *entry) chain(id int32) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	if e != nil {
		h = e.hash
	}
	h = (h ^ uint64(id+1)) * 0xd6e8feb86659fd93
	return h ^ h>>29
}

// readable: the high watermark is the end of the log, and the batches are its slice.
func readable(s *entry, c *call) bool {
	if c.high != s.endOffset() {
		return false
	}
	at := s
	for i := len(c.batches) - 1; i >= 0; i-- {
		b := c.batches[i]
		for at != nil && at.end-int64(at.count) > b.Base {
			at = at.before
		}
		if at == nil || at.id != b.ID || at.end-int64(at.count) != b.Base || at.count != b.Records {
			return false
		}
		if i+1 < len(c.batches) && at.end != c.batches[i+1].Base {
			return false
		}
	}
	return true
}

// operations turns a history into porcupine's. An append of unknown outcome that
// was seen stays open from its call on; one that was never seen did not happen, as
// the last drain has shown.
func operations(p *Partition) []porcupine.Operation {
	seen := make([]bool, len(p.Appends))
	position := make([]int64, len(p.Appends))
	for i := range p.Reads {
		for _, b := range p.Batches(&p.Reads[i]) {
			if !b.marker() && b.ID >= 0 && int(b.ID) < len(seen) {
				seen[b.ID], position[b.ID] = true, b.Base
			}
		}
	}
	var ops []porcupine.Operation
	for i := range p.Appends {
		a := &p.Appends[i]
		c := &call{id: int32(i), count: a.Records, base: a.Base}
		back := a.Return
		switch {
		case a.Outcome == Failed && !seen[i]:
			continue
		case a.Outcome == Done:
		case !seen[i] && len(p.Drains) > 0:
			continue
		default:
			back = math.MaxInt64
			c.base = unknown
			if seen[i] {
				c.base = position[i]
			}
		}
		ops = append(ops, porcupine.Operation{ClientId: i, Input: c, Call: a.Call, Return: back})
	}
	ops = append(ops, markerOperations(p)...)
	for i := range p.Reads {
		r := &p.Reads[i]
		if r.OutOfRange || r.HighWatermark < 0 {
			continue
		}
		c := &call{read: true, from: r.From, high: r.HighWatermark, batches: slices.Clone(p.Batches(r))}
		for j := range c.batches {
			if b := &c.batches[j]; b.marker() {
				b.ID = markerID(b)
			}
		}
		ops = append(ops, porcupine.Operation{ClientId: len(p.Appends) + i, Input: c, Call: r.Call, Return: r.Return})
	}
	return ops
}

// markerID tells a marker from all appends, and from other markers.
func markerID(b *Batch) int32 { return math.MinInt32 + int32(b.Base)<<1 + int32(b.Kind-AbortMarker) }

// markerOperations are appends of the markers that were read: nobody knows when they were called.
func markerOperations(p *Partition) (ops []porcupine.Operation) {
	known := map[int32]bool{}
	for i := range p.batches {
		b := &p.batches[i]
		if id := markerID(b); b.marker() && !known[id] {
			known[id] = true
			ops = append(ops, porcupine.Operation{ClientId: len(p.Appends) + len(p.Reads) + len(ops), Input: &call{id: id, count: 1, base: b.Base}, Return: math.MaxInt64})
		}
	}
	return ops
}
