package main

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

const slotsInChunk = 512

// slot is one record in use, with the time at which it was due.
type slot struct {
	record  kgo.Record
	due     int64 // nanoseconds since the load's start
	promise func(*kgo.Record, error)
}

// chunk is a piece of memory for records that is used again once all of them are
// answered.
type chunk struct {
	slots [slotsInChunk]slot
	left  atomic.Int32
}

// slots hands out records, in order, to one producing goroutine. Nothing is
// allocated for a record once enough chunks are under way.
type slots struct {
	free chan *chunk
	now  *chunk
	next int
	done func(*slot, error) // called by the client's goroutines
}

func newSlots(chunksKept int, done func(*slot, error)) *slots {
	return &slots{free: make(chan *chunk, chunksKept), done: done}
}

func (s *slots) take() *slot {
	if s.now == nil || s.next == slotsInChunk {
		s.now, s.next = s.chunk(), 0
	}
	taken := &s.now.slots[s.next]
	s.next++
	return taken
}

func (s *slots) chunk() *chunk {
	var c *chunk
	select {
	case c = <-s.free:
	default:
		c = s.newChunk()
	}
	c.left.Store(slotsInChunk)
	return c
}

func (s *slots) newChunk() *chunk {
	c := &chunk{}
	for i := range c.slots {
		one := &c.slots[i]
		one.promise = func(_ *kgo.Record, err error) {
			s.done(one, err)
			s.answered(c)
		}
	}
	return c
}

func (s *slots) answered(c *chunk) {
	if c.left.Add(-1) > 0 {
		return
	}
	select {
	case s.free <- c:
	default: // enough are kept
	}
}
