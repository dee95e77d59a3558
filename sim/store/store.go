// Package store is the simulated object store. It promises no more than S3 does, and
// in places less.
//
// # Fault model
//
//   - A PUT takes effect at one instant between submit and completion, whole or
//     not at all, and only if the key is absent at that instant.
//   - Failed: the store did not do it (503, connection refused, 409 while another
//     PUT of the key is in flight). Failures come in bursts.
//   - Unknown: the answer was lost. The effect happened before, never happens, or
//     happens up to [LateMax] later, when the PUT is long abandoned. Deletes likewise.
//   - A node's crash leaves each of its requests in one of those states.
//   - Reads: strongly consistent at one instant; they may fail, end short, or carry
//     flipped bits, and succeed when tried again. Stored bytes are never damaged.
//   - Latencies are drawn from the table, with a long tail; operations overtake
//     each other freely.
//   - A machine's link may be slow: the bodies in flight in one direction share its
//     rate evenly. A body in flight is never given up, as package env promises; what arrived of a PUT that failed is not sent again by the
//     next PUT of its key in the same incarnation.
//   - Abandon ends the operations of an incarnation: PUTs whose body has arrived may
//     take effect nevertheless.
//   - Listing returns at most Limit keys, sometimes fewer with More set.
//   - Bodies are copied at the instant of effect and not before, so that a caller
//     that changes or frees a lent body is detected.
package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/bill"
	"weir/core/env"
	"weir/sim/event"
	"weir/sim/latency"
	"weir/sim/machine"
)

// LateMax bounds how long after its answer was given up a PUT or DELETE may
// still arrive.
const LateMax = 10 * time.Second

// tryTimeout is when the world gives up waiting for an answer.
const tryTimeout = 5 * time.Second

// Faults are the faults that are active now, in thousandths of all requests; the zero
// value is good health.
type Faults struct {
	Refuse       int64 // definitely not done
	LostBefore   int64 // answer lost, and it never happens
	LostAfter    int64 // answer lost, but it happened
	Late         int64 // answer lost, and it happens later
	Short        int64 // reads that end early
	Corrupt      int64 // reads with flipped bits
	DenyPut      int64 // PUTs answered with 403
	DenyGet      int64 // GETs likewise
	Join         int64 // large PUTs (see joinBytes) whose parts arrive, but are never joined: answered with 500
	SlowPerMille int64 // scales latencies; 0 and 1000 are once
	Uplink       int64 // bytes a second from each machine, shared by what is in flight; 0: no bound
	Downlink     int64 // likewise to each machine
}

// joinBytes is from which size on a PUT is one in parts.
const joinBytes = 32 << 10

// Store is a bucket. It outlives every node.
type Store struct {
	Faults Faults
	// OnPut, if set, runs when a PUT has taken effect and nobody knows of it yet.
	OnPut func(key string)
	// Injected counts faults that took effect; Puts, Gets, Deletes and Lists requests.
	Injected                   int
	Puts, Gets, Deletes, Lists int64
	// Account is what S3 would charge for.
	Account bill.Account
	// Sent is the bytes of bodies that left on narrow uplinks, and Stored those of objects made.
	Sent, Stored int64
	Discarded    int // objects taken away by Discard

	queue    *event.Queue
	keys     []string // sorted
	bodies   map[string]Object
	draws    event.Stream
	inflight []*request
	history  map[string]uint64 // checksum of each body that a key ever had
	free     []*request
	links    []*link // in the order in which they were first used
}

// Object is one stored object.
type Object struct {
	Body    []byte
	Created event.Time
}

// New returns an empty bucket.
func New(queue *event.Queue) *Store {
	return &Store{queue: queue, bodies: map[string]Object{}, history: map[string]uint64{}, draws: queue.Stream("store", 0)}
}

// Keys lists the keys in order. The slice is the store's.
func (s *Store) Keys() []string { return s.keys }

// Object returns an object by key.
func (s *Store) Object(key string) (Object, bool) {
	o, ok := s.bodies[key]
	return o, ok
}

// Corrupt flips bits of a stored byte, for scenarios that expect it to be noticed.
func (s *Store) Corrupt(key string, offset int, mask byte) { s.bodies[key].Body[offset] ^= mask }

// Discard removes an object, for scenarios that expect it to be noticed.
func (s *Store) Discard(key string) {
	s.Discarded++
	s.remove(key)
}

func (s *Store) insert(key string, body []byte) {
	i, _ := slices.BinarySearch(s.keys, key)
	s.keys = slices.Insert(s.keys, i, key)
	s.bodies[key] = Object{body, s.queue.Now()}
	sum := event.Sum(body)
	// R20: one name, one body. The names of the metadata's log are contended for: a late create may
	// fill one whose object was removed, and the core must see through it (R19).
	if before, ok := s.history[key]; ok && before != sum && !strings.Contains(key, "/log/") {
		panic(fmt.Sprintf("sim: I8/R20: key %s was given a second body", key))
	}
	s.history[key] = sum
}

func (s *Store) remove(key string) {
	if i, ok := slices.BinarySearch(s.keys, key); ok {
		s.keys = slices.Delete(s.keys, i, i+1)
		delete(s.bodies, key)
	}
}

// Attach returns the store as one incarnation sees it.
func (s *Store) Attach(box *machine.Box) env.ObjectStore {
	return &view{store: s, box: box, kept: map[string]int64{}}
}

type view struct {
	store     *Store
	box       *machine.Box
	kept      map[string]int64 // bytes of PUTs that failed, which are not sent again
	abandoned bool
}

// fate is what becomes of a request.
type fate uint8

const (
	fateDone fate = iota
	fateRefuse
	fateLostBefore
	fateLostAfter
	fateLate
	fateShort
	fateCorrupt
	fateTimedOut
	fateDeny  // 403
	fateJoin  // 500 at the end of a PUT in parts
	fateEnded // abandoned before it was begun
)

// lost reports whether the answer of a write never comes.
func (f fate) lost() bool {
	return f == fateLostBefore || f == fateLostAfter || f == fateLate || f == fateJoin
}

// failed reports whether the operation was certainly not done.
func (f fate) failed() bool { return f == fateRefuse || f == fateDeny || f == fateEnded }

type request struct {
	view     *view
	event    env.Event
	fate     fate
	dead     bool // its node crashed
	done     bool // its effect was taken
	answered bool
	draw     uint64
	events   int   // still scheduled
	flow     *flow // while its body is on its way over a narrow link
}

// Phases of a request: its effect at the store, and its answer at the node.
const (
	phaseEffect = iota
	phaseAnswer
)

func (v *view) Put(p *env.PutObject) {
	checkKey(p.Key)
	checkPurpose(p.For)
	v.store.Puts++
	size := 0
	for _, piece := range p.Body {
		size += len(piece)
	}
	r := v.submit(p, true)
	if r.fate == fateDone && size >= joinBytes && v.store.strikes(v.store.Faults.Join) {
		r.fate = fateJoin
	}
	if r.fate == fateDone && v.store.strikes(v.store.Faults.DenyPut) {
		r.fate = fateDeny
	}
	if r.fate == fateDone && v.store.putInFlight(p.Key, r) && v.store.draws.PerMille(500) {
		r.fate = fateRefuse // 409: a conflicting request is in progress
	}
	v.carry(r, &latency.StorePut, size)
}

func (v *view) Get(g *env.GetObject) {
	checkKey(g.Key)
	checkPurpose(g.For)
	v.store.Gets++
	g.N = 0
	r := v.submit(g, false)
	if r.fate == fateDone && v.store.strikes(v.store.Faults.DenyGet) {
		r.fate = fateDeny
	}
	v.carry(r, &latency.StoreGet, len(g.Into))
}

// strikes draws whether a fault of one kind of operation strikes.
func (s *Store) strikes(perMille int64) bool { return perMille > 0 && s.draws.PerMille(perMille) }

func (v *view) Delete(d *env.DeleteObject) {
	checkKey(d.Key)
	checkPurpose(d.For)
	v.store.Deletes++
	v.schedule(v.submit(d, true), &latency.StoreDelete, 0)
}

func (v *view) List(l *env.ListObjects) {
	checkPurpose(l.For)
	v.store.Lists++
	if l.Limit < 1 || l.Limit > 1000 {
		panic(fmt.Sprintf("sim: list limit %d", l.Limit))
	}
	v.schedule(v.submit(l, false), &latency.StoreList, 0)
}

func (v *view) submit(e env.Event, changes bool) *request {
	s := v.store
	if v.box.Dead() {
		panic("sim: a dead incarnation used its object store")
	}
	var r *request
	if n := len(s.free); n > 0 {
		r, s.free = s.free[n-1], s.free[:n-1]
	} else {
		r = &request{}
	}
	bill.Operation(&s.Account, e)
	*r = request{view: v, event: e, fate: s.drawFate(changes), draw: s.draws.Uint64()}
	if v.abandoned {
		r.fate = fateEnded
	}
	s.inflight = append(s.inflight, r)
	return r
}

func (s *Store) drawFate(changes bool) fate {
	u, f := s.draws.Below(1000), &s.Faults
	odds := [...]struct {
		n       int64
		fate    fate
		changes int // 1: only for requests that change; -1: only for reads
	}{
		{f.Refuse, fateRefuse, 0},
		{f.LostBefore, fateLostBefore, 1},
		{f.LostAfter, fateLostAfter, 1},
		{f.Late, fateLate, 1},
		{f.Short, fateShort, -1},
		{f.Corrupt, fateCorrupt, -1},
	}
	for _, o := range odds {
		if o.changes > 0 && !changes || o.changes < 0 && changes {
			continue
		}
		if u < o.n {
			return o.fate
		}
		u -= o.n
	}
	return fateDone
}

func (s *Store) putInFlight(key string, but *request) bool {
	for _, r := range s.inflight {
		if p, ok := r.event.(*env.PutObject); ok && r != but && p.Key == key && !r.done {
			return true
		}
	}
	return false
}

func (v *view) schedule(r *request, row *latency.Profile, bytes int) {
	s := v.store
	total := row.Scaled(&s.draws, s.Faults.SlowPerMille) + 10*time.Duration(bytes) // about 100 MB/s
	effect := total/2 + time.Duration(s.draws.Below(int64(total/2)))
	_, put := r.event.(*env.PutObject)
	_, del := r.event.(*env.DeleteObject)
	if (put || del) && total > tryTimeout && (r.fate == fateDone || r.fate == fateLate) {
		// The world stops waiting: the effect comes, or came, on its own.
		r.fate = fateLostAfter
		if effect > tryTimeout {
			r.fate = fateLate
		}
	}
	if !put && !del && total > tryTimeout {
		// The same for a read, which then ends as one that the store refused.
		r.fate, total, effect = fateTimedOut, tryTimeout, -1
	}
	switch r.fate {
	case fateRefuse, fateDeny, fateEnded:
		total = latency.StoreRefuse.Draw(&s.draws)
		effect = -1
	case fateLostBefore, fateJoin:
		total, effect = s.lostAfter(total), -1
	case fateLostAfter:
		total = max(s.lostAfter(total), effect)
	case fateLate:
		total = s.lostAfter(total)
		effect = total + time.Duration(s.draws.Below(int64(LateMax)))
	}
	if effect >= 0 {
		r.events++
		s.queue.After(effect, r, phaseEffect)
	}
	r.events++
	s.queue.After(total, r, phaseAnswer)
}

// lostAfter is when a request whose answer never comes is given up: at a reset,
// or at the timeout.
func (s *Store) lostAfter(total time.Duration) time.Duration {
	if s.draws.PerMille(300) {
		return tryTimeout
	}
	return min(total, tryTimeout)
}

// Fire implements event.Handler.
func (r *request) Fire(phase uint64) {
	r.events--
	s := r.view.store
	if phase == phaseEffect && !r.done {
		r.done = true
		r.effect(s)
	}
	if phase == phaseAnswer && !r.dead && !r.answered {
		r.answered = true
		r.answer(s)
	}
	if r.events == 0 {
		s.finish(r)
	}
}

func (s *Store) finish(r *request) {
	if i := slices.Index(s.inflight, r); i >= 0 {
		s.inflight = slices.Delete(s.inflight, i, i+1)
	}
	*r = request{}
	s.free = append(s.free, r)
}

var errStore = errors.New("simulated object store")

func (r *request) effect(s *Store) {
	switch e := r.event.(type) {
	case *env.PutObject:
		_, exists := s.bodies[e.Key]
		if !r.dead && r.fate != fateLate {
			e.Outcome = env.OutcomeDone
			if exists {
				e.Outcome = env.OutcomeRefused
			}
		}
		s.markPut(r, exists)
		if !exists {
			body := slices.Concat(e.Body...)
			s.Stored += int64(len(body))
			s.insert(e.Key, body)
			if s.OnPut != nil {
				s.OnPut(e.Key)
			}
		}
		s.queue.Note(event.KindStore, r.view.box.Machine, 1, event.SumString(e.Key), uint64(r.fate))
	case *env.DeleteObject:
		if r.dead || r.fate == fateLate {
			s.queue.Hit("store: a DELETE came after it was given up")
		}
		s.remove(e.Key)
		s.queue.Note(event.KindStore, r.view.box.Machine, 2, event.SumString(e.Key), uint64(r.fate))
	case *env.GetObject:
		r.read(s, e)
	case *env.ListObjects:
		r.list(s, e)
	}
}

// markPut counts the PUTs that make stories.
func (s *Store) markPut(r *request, exists bool) {
	late := r.dead || r.fate == fateLate
	switch {
	case late && exists:
		s.queue.Hit("store: a PUT came after it was given up, and found its key taken")
	case late && r.dead:
		s.queue.Hit("store: a PUT came after its node had died")
	case late:
		s.queue.Hit("store: a PUT came after it was given up")
	case exists:
		s.queue.Hit("store: a PUT found its key taken")
	case r.fate == fateLostAfter:
		s.queue.Hit("store: a PUT took effect and its answer was lost")
	}
}

func (r *request) read(s *Store, g *env.GetObject) {
	if r.dead {
		return
	}
	object, ok := s.bodies[g.Key]
	g.N, g.Size = 0, 0
	if !ok {
		g.Outcome, g.Err = env.OutcomeRefused, fmt.Errorf("%w: get %s: no such object", errStore, g.Key)
		return
	}
	g.Outcome, g.Err, g.Size = env.OutcomeDone, nil, int64(len(object.Body))
	if g.Offset < g.Size {
		g.N = copy(g.Into, object.Body[g.Offset:])
	}
	s.Account.Moved(g.For, 0, int64(g.N))
	if g.N > 0 && r.fate == fateShort {
		s.Injected++
		s.queue.Hit("store: a read ended early")
		g.N = int(r.draw % uint64(g.N))
	}
	if g.N > 0 && r.fate == fateCorrupt {
		s.Injected++
		s.queue.Hit("store: a read carried flipped bits")
		g.Into[r.draw%uint64(g.N)] ^= byte(1 << (r.draw >> 32 % 8))
	}
}

func (r *request) list(s *Store, l *env.ListObjects) {
	if r.dead {
		return
	}
	l.Objects, l.More, l.Outcome, l.Err = nil, false, env.OutcomeDone, nil
	limit := l.Limit
	if r.draw%4 == 0 {
		limit = max(1, limit/2)
	}
	from := max(l.StartAfter, l.Prefix)
	i, found := slices.BinarySearch(s.keys, from)
	if found && from == l.StartAfter {
		i++
	}
	for ; i < len(s.keys) && strings.HasPrefix(s.keys[i], l.Prefix); i++ {
		if len(l.Objects) == limit {
			l.More = true
			return
		}
		l.Objects = append(l.Objects, env.ObjectInfo{Key: s.keys[i], Size: int64(len(s.bodies[s.keys[i]].Body))})
	}
}

// answer gives the node the result, or the lack of one.
func (r *request) answer(s *Store) {
	lost := r.fate.lost()
	if lost || r.fate == fateRefuse || r.fate == fateDeny {
		s.Injected++
	}
	switch e := r.event.(type) {
	case *env.PutObject:
		e.Outcome, e.Err = verdict(r.fate, e.Outcome, "put "+e.Key)
		r.view.keep(e, r)
		if lost && !r.done {
			r.detach(e)
		}
	case *env.DeleteObject:
		e.Outcome, e.Err = verdict(r.fate, env.OutcomeDone, "delete "+e.Key)
		if lost {
			s.queue.Hit("store: the answer of a DELETE was lost")
		}
		if lost && !r.done {
			r.event = &env.DeleteObject{Key: e.Key}
		}
		s.deliver(r, e)
		return
	case *env.GetObject:
		if r.fate.failed() || r.fate == fateTimedOut {
			e.N = 0
			e.Outcome, e.Err = verdict(r.fate, env.OutcomeFailed, "get "+e.Key)
		}
	case *env.ListObjects:
		if r.fate.failed() || r.fate == fateTimedOut {
			e.Objects = nil
			e.Outcome, e.Err = verdict(r.fate, env.OutcomeFailed, "list")
		}
	}
	if p, ok := r.event.(*env.PutObject); ok && p.Done == nil {
		return // detached: delivered already
	}
	s.deliver(r, r.event)
}

// detach gives a lent PUT back, with a copy of its body left to arrive later.
func (r *request) detach(e *env.PutObject) {
	copied := &env.PutObject{Key: e.Key, Body: [][]byte{slices.Concat(e.Body...)}}
	r.view.store.deliver(r, e)
	r.event = copied
}

func (s *Store) deliver(r *request, e env.Event) {
	s.queue.Note(event.KindStore, r.view.box.Machine, 3, uint64(r.fate), resultOf(e))
	r.view.box.Deliver(e)
}

func resultOf(e env.Event) uint64 {
	switch e := e.(type) {
	case *env.PutObject:
		return uint64(e.Outcome)
	case *env.GetObject:
		return uint64(e.Outcome) | event.Sum(e.Into[:e.N])<<8
	case *env.ListObjects:
		return uint64(e.Outcome) | uint64(len(e.Objects))<<8
	}
	return 0
}

// verdict is how an operation ends by its fate, or by what the store made of it.
func verdict(f fate, done env.Outcome, what string) (env.Outcome, error) {
	fail := func(outcome env.Outcome, cause env.StoreCause, words string) (env.Outcome, error) {
		return outcome, &env.StoreError{Cause: cause, Err: fmt.Errorf("%w: %s: %s", errStore, what, words)}
	}
	switch f {
	case fateRefuse:
		return fail(env.OutcomeFailed, env.CauseThrottled, "503 slow down")
	case fateTimedOut:
		return fail(env.OutcomeFailed, env.CauseStalled, "nothing moved")
	case fateDeny:
		return fail(env.OutcomeFailed, env.CauseDenied, "403 access denied")
	case fateEnded:
		return fail(env.OutcomeFailed, env.CauseEnded, "the process ends")
	case fateJoin:
		return fail(env.OutcomeUnknown, env.CauseBroken, "500 internal error")
	case fateLostBefore, fateLostAfter, fateLate:
		return fail(env.OutcomeUnknown, env.CauseUnreachable, "answer lost")
	}
	if done == env.OutcomeRefused {
		return done, fmt.Errorf("%w: %s: key exists", errStore, what)
	}
	return done, nil
}

// Crash settles the requests of an incarnation that died: each may still arrive, if its body has.
func (s *Store) Crash(box *machine.Box) {
	var halfway []*request
	for _, r := range s.inflight {
		if r.view.box != box || r.dead {
			continue
		}
		r.dead = true
		if r.flow != nil {
			halfway = append(halfway, r)
			continue
		}
		if r.done {
			continue
		}
		if s.draws.PerMille(500) {
			r.done = true // it never arrives
			continue
		}
		if p, ok := r.event.(*env.PutObject); ok && p.Done != nil {
			r.event = &env.PutObject{Key: p.Key, Body: [][]byte{slices.Concat(p.Body...)}}
		}
	}
	for _, r := range halfway {
		r.flow.link.cut(r.flow)
		s.finish(r)
	}
}

// Settled reports whether no request is in flight any more, late ones included.
func (s *Store) Settled() bool { return len(s.inflight) == 0 }
