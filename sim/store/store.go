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
	// Faults are those of everybody's requests; see also [Store.Of].
	Faults Faults
	// OnPut, if set, runs when a PUT has taken effect and nobody knows of it yet.
	OnPut func(key string)
	// OnDelete, if set, runs when a machine begins a DELETE.
	OnDelete func(machine uint64, key string)
	// Reborn, if set, says whether a key whose object was deleted may be given another body.
	Reborn func(key string, body []byte) bool
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
	machines map[uint64]*Faults
}

// Of are the faults of one machine's requests, beside those of everybody's: of two the worse counts. The rates of
// links are everybody's alone.
func (s *Store) Of(machine uint64) *Faults {
	if s.machines[machine] == nil {
		s.machines[machine] = &Faults{}
	}
	return s.machines[machine]
}

// Heal ends all faults.
func (s *Store) Heal() {
	s.SetLinks(0, 0)
	s.Faults = Faults{}
	clear(s.machines)
}

// faults are those of a view's requests.
func (v *view) faults() *Faults {
	f, own := v.store.Faults, v.store.machines[v.box.Machine]
	if own == nil {
		return &v.store.Faults
	}
	f.Refuse, f.LostBefore, f.LostAfter, f.Late = max(f.Refuse, own.Refuse), max(f.LostBefore, own.LostBefore), max(f.LostAfter, own.LostAfter), max(f.Late, own.Late)
	f.Short, f.Corrupt, f.DenyPut, f.DenyGet = max(f.Short, own.Short), max(f.Corrupt, own.Corrupt), max(f.DenyPut, own.DenyPut), max(f.DenyGet, own.DenyGet)
	f.Join, f.SlowPerMille = max(f.Join, own.Join), max(f.SlowPerMille, own.SlowPerMille)
	return &f
}

// Object is one stored object.
type Object struct {
	Body    []byte
	Created event.Time
}

// New returns an empty bucket.
func New(queue *event.Queue) *Store {
	return &Store{queue: queue, bodies: map[string]Object{}, history: map[string]uint64{}, machines: map[uint64]*Faults{}, draws: queue.Stream("store", 0)}
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
	if before, ok := s.history[key]; ok && before != sum && !strings.Contains(key, "/log/") && (s.Reborn == nil || !s.Reborn(key, body)) {
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
	if r.fate == fateDone && size >= joinBytes && v.store.strikes(v.faults().Join) {
		r.fate = fateJoin
	}
	if r.fate == fateDone && v.store.strikes(v.faults().DenyPut) {
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
	if r.fate == fateDone && v.store.strikes(v.faults().DenyGet) {
		r.fate = fateDeny
	}
	v.carry(r, &latency.StoreGet, g.Asked())
}

// strikes draws whether a fault of one kind of operation strikes.
func (s *Store) strikes(perMille int64) bool { return perMille > 0 && s.draws.PerMille(perMille) }

func (v *view) Delete(d *env.DeleteObject) {
	checkKey(d.Key)
	checkPurpose(d.For)
	v.store.Deletes++
	if v.store.OnDelete != nil {
		v.store.OnDelete(v.box.Machine, d.Key)
	}
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
	*r = request{view: v, event: e, fate: s.drawFate(v.faults(), changes), draw: s.draws.Uint64()}
	if v.abandoned {
		r.fate = fateEnded
	}
	s.inflight = append(s.inflight, r)
	return r
}

func (s *Store) drawFate(f *Faults, changes bool) fate {
	u := s.draws.Below(1000)
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
		if r != but && !r.done && creates(r.event) == key {
			return true
		}
	}
	return false
}

func (v *view) schedule(r *request, row *latency.Profile, bytes int) {
	s := v.store
	total := row.Scaled(&s.draws, v.faults().SlowPerMille) + 10*time.Duration(bytes) // about 100 MB/s
	effect := total/2 + time.Duration(s.draws.Below(int64(total/2)))
	put := creates(r.event) != ""
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
		outcome := s.create(r, e.Key, slices.Concat(e.Body...), true)
		if !r.dead && r.fate != fateLate {
			e.Outcome = outcome
		}
	case *env.ComposeObject:
		body, whole := s.compose(e.Pieces)
		outcome := s.create(r, e.Key, body, whole)
		if !r.dead && r.fate != fateLate {
			e.Outcome = outcome
		}
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
		if c, ok := r.event.(*env.ComposeObject); ok && c.Done != nil {
			r.event = copyOf(c)
		}
	}
	for _, r := range halfway {
		r.flow.link.cut(r.flow)
		s.finish(r)
	}
}

// Settled reports whether no request is in flight any more, late ones included.
func (s *Store) Settled() bool { return len(s.inflight) == 0 }
