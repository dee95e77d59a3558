package wal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"weir/core/env"
	"weir/core/task"
)

// memoryMedium is a medium as objects under consecutive names would be: each group is one value, which its
// sequence number names, created whole or not at all. Nothing wraps, nothing is padded to blocks, and
// trimming deletes. It is here to hold the seam between Log and its mediums.
type memoryMedium struct {
	log    *Log
	world  *world
	store  *keptSlots
	saved  marks // recorded in the store
	saving bool
}

// keptSlots is what outlives the node.
type keptSlots struct {
	head   head
	first  uint64 // the lowest slot kept, which starts at the trim point
	values map[uint64][]byte
}

// errSlotTaken says that a slot was taken by another: a recoverer's seal.
var errSlotTaken = errors.New("the slot is taken")

func (w *world) createSlots(config Config, name string, summary Summarizer, failed func(error), done func(*Log, error)) {
	config, err := config.resolve()
	if err != nil {
		done(nil, err)
		return
	}
	l := newLog(w.loop, w.env(), config, name, identity{epoch: 7, nonce: 0x1234567}, 8, summary, failed)
	s := &memoryMedium{log: l, world: w, store: &keptSlots{head: head{identity: l.id, marks: l.marks}, values: map[uint64][]byte{}}, saved: l.marks}
	l.medium = s
	w.disk.push(event(func() { l.start(); done(l, nil) }), nil, func() { w.stores[name] = s.store })
}

func (s *memoryMedium) room(Position) int64 { return math.MaxInt64 }

func (s *memoryMedium) reserve(end Position, spare int64) bool {
	return int64(end-s.saved.trim)+spare <= s.log.Size()
}

func (s *memoryMedium) due(g *group) bool { return s.log.commit.mayOverlap(g) }

func (s *memoryMedium) admits() bool { return s.log.commit.writing < s.log.config.WritesInFlightMax }

func (s *memoryMedium) lowestSlot() uint64 { return 0 }

func (s *memoryMedium) recorded(uint64) {}

func (s *memoryMedium) write(g *group) {
	var err error
	create := func() {
		if s.store.values[g.header.sequence] != nil {
			err = errSlotTaken
			return
		}
		s.store.values[g.header.sequence] = bytes.Clone(g.data)
	}
	s.world.disk.push(event(func() { s.log.written(g, err) }), func(keep func() bool) {
		if g.prepare(); keep() {
			create()
		}
	}, func() {
		g.prepare()
		if s.world.disk.failing != nil {
			err = s.world.disk.failing(g.data)
		}
		if err == nil {
			create()
		}
	})
}

func (s *memoryMedium) step() (settled bool) {
	now, closing := s.log.marks, s.log.closing != nil && s.log.drained()
	if !s.saving && (now.trim != s.saved.trim || now.summary != s.saved.summary || closing && now != s.saved) {
		s.saving = true
		record := func() { s.store.record(now) }
		s.world.disk.push(event(func() { s.saveEnded(now) }), func(keep func() bool) {
			if keep() {
				record()
			}
		}, record)
	}
	return !s.saving && now == s.saved
}

func (s *memoryMedium) saveEnded(m marks) {
	s.saving = false
	moved := m.trim > s.saved.trim
	s.saved = m
	if moved && s.log.err == nil {
		s.log.spaceCame()
	}
}

// record takes new marks over, and deletes what lies below the trim point.
func (s *keptSlots) record(m marks) {
	s.head.marks = m
	for {
		value := s.values[s.first]
		if h, ok := decodeGroupHeader(value, s.head.identity); !ok || h.at >= m.trim {
			return
		}
		delete(s.values, s.first)
		s.first++
	}
}

func (s *memoryMedium) abandon() {}

func (s *memoryMedium) close() { s.world.disk.closed++ }

func TestASlotThatIsTakenEndsTheLog(t *testing.T) {
	w := newSlotWorld(t)
	j := w.create("wal-7", small, nil)
	w.turn(func() { j.append(9000) })
	w.settle()
	w.stores["wal-7"].values[2] = []byte("seal")
	for range 3 {
		w.turn(func() { j.append(9000) })
	}
	w.settle()
	if !errors.Is(j.failure, errSlotTaken) || j.durable != 2 {
		t.Fatalf("failure %v, %d acknowledged", j.failure, j.durable)
	}
}

// memorySource recovers from a keptSlots. Every look at the store takes an operation.
type memorySource struct {
	world *world
	name  string
	proc  *task.Proc
	store *keptSlots
	slot  uint64 // where the group at at is
	at    Position
}

func (s *memorySource) open(p *task.Proc) (head, error) {
	s.proc = p
	s.wait(func() { s.store = s.world.stores[s.name] })
	if s.store == nil {
		return head{}, fmt.Errorf("open %q: %w", s.name, env.ErrNotExist)
	}
	s.slot, s.at = s.store.first, s.store.head.trim
	return s.store.head, nil
}

// openLatest begins where everything does: a scan skips what comes before the first summary.
func (s *memorySource) openLatest(p *task.Proc, _ int) (head, error) { return s.open(p) }

func (s *memorySource) wait(look func()) {
	s.proc.Await(func(wake func()) { s.world.disk.push(event(wake), nil, look) })
}

func (s *memorySource) group(at Position) (h groupHeader, data []byte, err error) {
	if at > s.at {
		s.slot, s.at = s.slot+1, at
	}
	return s.get(s.slot)
}

func (s *memorySource) get(slot uint64) (h groupHeader, data []byte, err error) {
	s.wait(func() { data = bytes.Clone(s.store.values[slot]) })
	h, ok := decodeGroupHeader(data, s.store.head.identity)
	if !ok || h.sequence != slot {
		return groupHeader{}, nil, nil
	}
	if len(data) != int(h.bytes) {
		return h, nil, nil
	}
	return h, data, nil
}

func (s *memorySource) beyond(_ Position, found func(groupHeader) bool) error {
	for _, slot := range slices.Sorted(maps.Keys(s.store.values)) {
		if slot < s.slot {
			continue
		}
		if h, _, _ := s.get(slot); h.bytes > 0 && !found(h) {
			return nil
		}
	}
	return nil
}

func (s *memorySource) secure(Position, Position) (bool, error) { return false, nil }

func (s *memorySource) scanned() {}

func (s *memorySource) read(at Position, n int, done func(*env.Slab, int, error)) {
	slab := s.world.memory.Alloc(n)
	s.world.disk.push(event(func() { done(slab, 0, nil) }), nil, func() {
		clear(slab.Data)
		value, offset := s.store.find(at)
		copy(slab.Data, value[offset:])
	})
}

// find returns the value that holds a position, and where.
func (s *keptSlots) find(at Position) (value []byte, offset int) {
	for _, value := range s.values {
		if start := Position(order.Uint64(value[40:])); at >= start && at < start+Position(len(value)) {
			return value, int(at - start)
		}
	}
	return nil, 0
}

func (s *memorySource) close() { s.world.disk.closed++ }

func (s *memorySource) remove(done func(error)) {
	s.world.disk.push(event(func() { done(nil) }), nil, func() { delete(s.world.stores, s.name) })
}
