package wal

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/task"
)

// bucket is an object store under the test's command: operations of all its brokers wait until the test ends them.
type bucket struct {
	t       testing.TB
	objects map[string][]byte
	pending []*storeOp
	log     []string // what was done, in order
	puts    map[string][]byte
	blind   bool // it has no conditional create
}

// storeOp is one operation in flight: do makes its effect, and end delivers its outcome.
type storeOp struct {
	broker *broker
	what   string // "put <key>"
	do     func()
	end    func(env.Outcome)
	event  env.Event
}

func newBucket(t testing.TB) *bucket {
	return &bucket{t: t, objects: map[string][]byte{}, puts: map[string][]byte{}}
}

// broker is one incarnation over the bucket.
type broker struct {
	*world
	bucket *bucket
	salt   uint64
}

func (b *bucket) broker() *broker {
	r := &broker{world: newWorld(b.t), bucket: b, salt: uint64(len(b.log)) + 1}
	r.now = 1
	return r
}

func (r *broker) env() env.Env {
	e := r.world.env()
	e.Store, e.Compute, e.Rand = r, r, r
	return e
}

func (r *broker) Uint64(_ string, entity, counter uint64) uint64 {
	return (entity+counter+1)*0x9e3779b97f4a7c15 + r.salt
}

// Submit implements env.Computer.
func (r *broker) Submit(c *env.Compute) {
	r.push("compute", c, c.Work, func(env.Outcome) {})
}

func (r *broker) push(what string, e env.Event, do func(), end func(env.Outcome)) {
	r.bucket.pending = append(r.bucket.pending, &storeOp{r, what, do, end, e})
}

func (r *broker) Put(o *env.PutObject) {
	body := slices.Concat(o.Body...)
	// One slot has one body: what a broker tries under a key is always the same.
	name := fmt.Sprint(r.salt, o.Key)
	if known := r.bucket.puts[name]; known != nil && !bytes.Equal(known, body) {
		r.t.Fatalf("two bodies for %s", o.Key)
	}
	r.bucket.puts[name] = body
	outcome, key := env.OutcomeDone, o.Key // the struct may be used again before a late effect
	r.push("put "+o.Key, o, func() {
		if _, taken := r.bucket.objects[key]; taken && !r.bucket.blind {
			outcome = env.OutcomeRefused
			return
		}
		r.bucket.objects[key] = body
	}, func(forced env.Outcome) { o.Outcome = max(outcome, forced) })
}

func (r *broker) Get(o *env.GetObject) {
	r.push("get "+o.Key, o, func() {
		data, found := r.bucket.objects[o.Key]
		if !found {
			o.Outcome = env.OutcomeRefused
			return
		}
		o.Size = int64(len(data))
		o.N = copy(o.Into, data[min(int(o.Offset), len(data)):])
	}, func(forced env.Outcome) { o.Outcome = max(o.Outcome, forced) })
}

func (r *broker) Delete(o *env.DeleteObject) {
	r.push("delete "+o.Key, o, func() { delete(r.bucket.objects, o.Key) }, func(forced env.Outcome) { o.Outcome = forced })
}

func (r *broker) List(*env.ListObjects) { r.t.Fatal("a log is never found by a listing") }

// finish ends the i-th operation in flight as it should end.
func (b *bucket) finish(i int) { b.finishAs(i, true, env.OutcomeDone) }

// finishAs ends the i-th operation with or without its effect, and with an outcome that is not better.
func (b *bucket) finishAs(i int, effect bool, outcome env.Outcome) {
	op := b.pending[i]
	b.pending = slices.Delete(b.pending, i, i+1)
	if effect {
		op.do()
		b.log = append(b.log, op.what)
	}
	op.end(outcome)
	op.broker.now++
	op.broker.loop.Turn([]env.Event{op.event})
}

// find returns the first operation in flight whose text begins with what; -1: there is none.
func (b *bucket) find(what string) int {
	return slices.IndexFunc(b.pending, func(op *storeOp) bool { return strings.HasPrefix(op.what, what) })
}

// settle ends everything in order, and lets time pass, until nothing is left.
func (b *bucket) settle(brokers ...*broker) {
	for range 500 {
		for n := 0; len(b.pending) > 0; n++ {
			if n > 100_000 {
				b.t.Fatal("the store never comes to rest")
			}
			b.finish(0)
		}
		for _, r := range brokers {
			r.pass(100 * time.Millisecond)
		}
	}
}

// pass lets time pass at a broker, in small steps.
func (r *broker) pass(d time.Duration) {
	for end := r.now.Add(d); r.now < end; {
		r.now = min(end, r.now.Add(10*time.Millisecond))
		r.loop.Turn(nil)
	}
}

// crash drops the broker: what it has in flight gets to the store, or may yet, as the test decides; nobody hears of it.
func (r *broker) crash() {
	r.loop.Abandon()
	r.loop = task.NewLoop(r)
	for _, op := range r.bucket.pending {
		if op.broker == r {
			op.event = event(func() {})
		}
	}
}

const logKey = "c/wal/0000000000000007"

// createObject makes a log of epoch 7 and waits for it.
func (r *broker) createObject(config Config, summary Summarizer) *journal {
	j := &journal{w: r.world}
	var created error
	r.turn(func() {
		CreateObject(r.loop, r.env(), config, ObjectName("c", 7), 7, summary, func(err error) { j.failure = err }, func(l *Log, err error) {
			j.log, created = l, err
		})
	})
	for j.log == nil && created == nil {
		r.bucket.finish(0)
	}
	j.failure = created
	return j
}

// recoverObject recovers the log of epoch 7 from a slot on, with everything else at rest.
func (r *broker) recoverObject(first uint64) recovered {
	got := r.beginRecovery(first)
	r.bucket.settle(r)
	if got.sealed == nil && got.err == nil {
		r.t.Fatal("recovery never ended")
	}
	return *got
}

func (r *broker) beginRecovery(first uint64) *recovered {
	got := &recovered{}
	visit := func(e Entry) {
		e.Batch = slices.Clone(e.Batch)
		got.entries = append(got.entries, e)
	}
	r.turn(func() {
		Recover(r.loop, r.env(), Stored{Name: ObjectName("c", 7), Object: true, Epoch: 7, First: first}, visit,
			func(at Position, state []byte) { got.summary, got.summaryAt = slices.Clone(state), at },
			func(s *Sealed, err error) { got.sealed, got.err = s, err })
	})
	return got
}

// readBack reads one recovered entry.
func (r *broker) readBack(s *Sealed, e Entry) (got []byte, failure error) {
	r.turn(func() {
		s.Read(e.At, e.Bytes, func(slab *env.Slab, offset int, err error) {
			if failure = err; err == nil {
				got = slices.Clone(slab.Data[offset : offset+int(e.Bytes)])
				slab.Release()
			}
		})
	})
	r.bucket.settle(r)
	return got, failure
}
