package wal

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"weir/core/env"
	"weir/core/task"
)

// storeRetries is the pace at which operations of the store are tried again.
var storeRetries = task.BackOff{First: 20 * time.Millisecond, Max: time.Second}

// damagedReadsMax is how often an object is read again that makes no sense, for about half a minute: whatever
// damages reads on their way may last for a while.
const damagedReadsMax = 40

// slotStore is where the slots of one log are.
type slotStore struct {
	loop *task.Loop
	env  env.Env
	name string
}

func newSlotStore(loop *task.Loop, e env.Env, name string) slotStore {
	return slotStore{loop: loop, env: e, name: name}
}

func (s *slotStore) key(slot uint64) string { return slotKey(s.name, slot) }

// later calls step after a back-off. Draws are keyed by the slot and what is done with it.
func (s *slotStore) later(t *task.Timer, what string, slot uint64, failures int, step func()) {
	s.loop.Reset(t, storeRetries.Wait(failures, s.env.Rand.Uint64(what, slot, uint64(failures))), step)
}

// ended reports whether an operation failed because the process ends.
func ended(err error) bool { return err != nil && env.CauseOf(err) == env.CauseEnded }

// errTaken says that the name of a slot is taken by the body of somebody else.
var errTaken = errors.New("the slot is taken")

// creation creates the object of a slot if it is absent, until it is sure what became of it. One slot has one body (R6):
// each try repeats the same bytes. A create that is refused is settled by reading the slot: if it has this
// creation's header, an answer was lost; any other body is somebody else's. The structs may be used again.
type creation struct {
	store *slotStore
	slot  uint64
	body  [][]byte // begins with a group's header; lent until done
	// done gets nil once the body is in the store, errTaken with found set if another is, errGivenUp if the process ends,
	// or what is wrong with the object. It is called once, never by start.
	done  func(err error)
	found groupHeader

	put      env.PutObject
	get      env.GetObject
	head     [groupHeaderBytes]byte
	timer    task.Timer
	failures int
	damaged  int
}

func (c *creation) start() {
	c.failures, c.damaged = 0, 0
	c.create()
}

func (c *creation) create() {
	c.put = env.PutObject{For: env.PurposeWALSlot, Key: c.store.key(c.slot), Body: c.body, Done: c.created}
	c.store.env.Store.Put(&c.put)
}

func (c *creation) created(op *env.PutObject) {
	switch {
	case op.Outcome == env.OutcomeDone:
		c.done(nil)
	case op.Outcome == env.OutcomeRefused:
		c.read()
	case ended(op.Err):
		c.done(errGivenUp)
	default: // the answer may be lost: what it did shows when the create is repeated
		c.again(c.create)
	}
}

func (c *creation) again(step func()) {
	c.failures++
	c.store.later(&c.timer, "wal slot back-off", c.slot, c.failures, step)
}

// read settles a refused create.
func (c *creation) read() {
	c.get = env.GetObject{For: env.PurposeSettle, Key: c.store.key(c.slot), Into: c.head[:], Done: c.settled}
	c.store.env.Store.Get(&c.get)
}

func (c *creation) settled(op *env.GetObject) {
	switch {
	case op.Outcome == env.OutcomeRefused: // it is gone again
		c.again(c.create)
	case ended(op.Err):
		c.done(errGivenUp)
	case op.Outcome != env.OutcomeDone:
		c.again(c.read)
	case bytes.Equal(c.head[:op.N], c.body[0][:groupHeaderBytes]):
		c.done(nil)
	default:
		c.judge(c.head[:op.N])
	}
}

// judge takes a header that is not this creation's.
func (c *creation) judge(head []byte) {
	h, ok := decodeHeader(head)
	switch {
	case ok:
		c.found = h
		c.done(errTaken)
	case c.damaged < damagedReadsMax:
		c.damaged++
		c.again(c.read)
	default:
		c.done(fmt.Errorf("object %q is no slot of a log", c.store.key(c.slot)))
	}
}

// stop gives up a creation that waits for its next try, and reports whether it did: else done is called yet.
func (c *creation) stop() bool {
	waited := c.timer.Pending()
	c.store.loop.Stop(&c.timer)
	return waited
}
