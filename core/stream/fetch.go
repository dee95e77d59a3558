package stream

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/task"
)

const (
	// damagedReadsMax is how often bytes that fail their checksum are read: they may be spoilt on their way.
	damagedReadsMax = 5
	// getBytesMax bounds one GET, unless its one piece is larger: a longer one gains little, and a reader waits for all of it.
	getBytesMax = 8 << 20
	// checksInFlightMax bounds the checksums that are computed at once. More would keep the batches of producers
	// waiting, which are opened by the same workers.
	checksInFlightMax = 4
)

// errNoObject: the store has no such object.
var errNoObject = errors.New("the store has no such object")

// urgency says how long a read of the store is tried, and whether somebody waits for it.
type urgency struct {
	deadline env.Time
	demanded bool
}

func demanded(deadline env.Time) urgency { return urgency{deadline, true} }
func ahead(deadline env.Time) urgency    { return urgency{deadline: deadline} }

// fetcher reads ranges of objects: a bounded number and bounded bytes at once, the others in order of arrival, each
// tried again until it is whole, its sums right, or its time over. One that takes longer than most is hedged: asked for
// a second time, while the first goes on.
type fetcher struct {
	*ReaderOptions
	operations // GETs, and checks of what they brought
	health     *storeHealth
	metrics    *readMetrics
	hedging    hedging
	brake      brake
	released   task.Timer // the brake lets the next GET go

	queue    []*get
	active   int    // attempts in flight
	bytes    int64  // of the slabs of gets that are under way
	resting  []*get // between two tries
	checks   []check
	checking int
}

// get is one range of one object: adjacent pieces, each with memory of its own.
type get struct {
	urgency
	purpose env.Purpose // unstated: PurposeCatchUp
	object  metadata.ObjectID
	offset  int64
	pieces  []*piece

	open     int // attempts in flight
	ended    bool
	late     bool // it takes longer than most
	hedged   bool
	attempts int // that failed, one after another
	timer    task.Timer
}

// piece is one block or index.
type piece struct {
	bytes   int
	check   func(data []byte) error // runs off the loop
	done    func(slab *env.Slab, err error)
	damaged int  // how often
	get     *get // that brings it, or brought it
}

// attempt is one GET of a get's range. Its slabs are its own until they are handed on.
type attempt struct {
	get   *get
	slabs []*env.Slab
	began env.Time
	hedge bool
}

// check is a piece that came, and is to be held against its sum.
type check struct {
	get    *get
	piece  *piece
	offset int64
	slab   *env.Slab
}

func (g *get) bytes() (n int64) {
	for _, p := range g.pieces {
		n += int64(p.bytes)
	}
	return n
}

// busy reports whether those who wait take much of what may be in flight: compaction would hold them up.
func (f *fetcher) busy() bool { return f.active+len(f.queue) >= max(1, f.GetsInFlightMax/2) }

// hasRoom reports whether so many bytes may be read ahead now, without holding up those who wait.
func (f *fetcher) hasRoom(bytes int64) bool {
	return len(f.queue) == 0 && f.brake.wait(bytes) == 0 && f.active < max(1, f.GetsInFlightMax*3/4) && f.fits(bytes, f.GetBytesInFlightMax/4*3)
}

func (f *fetcher) fits(bytes, limit int64) bool { return f.bytes == 0 || f.bytes+bytes <= limit }

// coming reports whether the piece is being checked: it comes in a moment, or not at all.
func (p *piece) coming() bool { return p.get.ended }

// submit reads a range. done of each piece runs once, and owns its slab's one reference.
func (f *fetcher) submit(g *get) {
	f.queue = append(f.queue, g)
	f.pump()
}

func (f *fetcher) pump() {
	for len(f.queue) > 0 && f.active < f.GetsInFlightMax {
		i := slices.IndexFunc(f.queue, func(g *get) bool { return f.brake.wait(g.bytes()) == 0 }) // small ones pass what is held back
		if i < 0 {
			f.Loop.Reset(&f.released, f.brake.wait(f.queue[0].bytes()), f.pump)
			return
		}
		g := f.queue[i]
		if !f.fits(g.bytes(), f.GetBytesInFlightMax) {
			return
		}
		f.queue = slices.Delete(f.queue, i, i+1)
		f.start(g)
		if wait, ok := f.hedging.delay(g.bytes()); ok {
			f.Loop.Reset(&g.timer, wait, func() { f.isLate(g) })
		}
	}
}

// start begins an attempt.
func (f *fetcher) start(g *get) {
	a := &attempt{get: g, began: f.Loop.Now(), hedge: g.open > 0}
	op := &env.GetObject{For: cmp.Or(g.purpose, env.PurposeCatchUp), Key: f.key(g), Offset: g.offset, Done: func(op *env.GetObject) { f.arrived(a, op) }}
	for i, p := range g.pieces {
		slab := f.Env.Memory.Alloc(p.bytes)
		a.slabs = append(a.slabs, slab)
		if i == 0 {
			op.Into = slab.Data[:p.bytes]
		} else {
			op.Then = append(op.Then, slab.Data[:p.bytes])
		}
	}
	g.open++
	f.active++
	f.bytes += g.bytes()
	f.brake.started(g.bytes())
	f.begin()
	f.metrics.gets.Add(1)
	f.Env.Store.Get(op)
}

func (f *fetcher) key(g *get) string { return object.Key(f.Cluster, uint64(g.object)) }

func (f *fetcher) arrived(a *attempt, op *env.GetObject) {
	defer f.end()
	g := a.get
	g.open--
	f.active--
	f.health.answered(op.Outcome)
	f.brake.ended()
	took := f.Loop.Now().Sub(a.began)
	f.metrics.getLatency.Observe(int64(took))
	if op.Outcome == env.OutcomeDone {
		f.metrics.getBytes.Add(int64(op.N))
		f.hedging.took(g.bytes(), took)
	}
	switch {
	case g.ended: // the other attempt was faster
		f.drop(a)
	case f.stopping:
		f.fail(a, ErrStopped)
	case op.Outcome == env.OutcomeRefused:
		f.fail(a, errNoObject)
	case op.Outcome != env.OutcomeDone:
		f.failed(a, op.Err)
	default:
		f.came(a, op.N)
	}
	if !f.stopping {
		f.pump()
	}
}

// drop gives an attempt's memory back.
func (f *fetcher) drop(a *attempt) {
	for _, slab := range a.slabs {
		slab.Release()
	}
	f.bytes -= a.get.bytes()
	a.slabs = nil
}

// endGet ends a get: what another attempt brings is dropped.
func (f *fetcher) endGet(g *get) {
	g.ended = true
	f.Loop.Stop(&g.timer)
}

// fail ends a get with an error that no further try would mend.
func (f *fetcher) fail(a *attempt, err error) {
	f.drop(a)
	f.endGet(a.get)
	for _, p := range a.get.pieces {
		p.done(nil, err)
	}
}

// failed takes an attempt that failed: if there is no other, the range is tried again after a back-off, unless the time
// would be over.
func (f *fetcher) failed(a *attempt, err error) {
	g := a.get
	if g.open > 0 {
		f.drop(a)
		return
	}
	g.attempts++
	wait := f.health.backoff("read retry", uint64(g.object), g.attempts)
	if f.Loop.Now().Add(wait) > g.deadline {
		f.fail(a, fmt.Errorf("read of object %s given up after %d tries: %w", f.key(g), g.attempts, err))
		return
	}
	f.drop(a)
	f.rest(g, wait)
}

// rest submits a get again after a while.
func (f *fetcher) rest(g *get, wait time.Duration) {
	g.late, g.hedged = false, false
	f.resting = append(f.resting, g)
	f.Loop.Reset(&g.timer, wait, func() {
		f.resting = slices.DeleteFunc(f.resting, func(o *get) bool { return o == g })
		f.submit(g)
	})
}

// came takes the first n bytes of a range, which ends the get. The pieces that are whole are checked, the others are read again.
func (f *fetcher) came(a *attempt, n int) {
	g := a.get
	f.endGet(g)
	if a.hedge {
		f.Telemetry.Hit("stream read: a hedge was faster")
	}
	offset := g.offset
	for i, p := range g.pieces {
		c := check{get: g, piece: p, offset: offset, slab: a.slabs[i]}
		offset += int64(p.bytes)
		if n < p.bytes {
			f.isDamaged(c, fmt.Errorf("%d of %d bytes came", n, p.bytes))
			n = 0
			continue
		}
		n -= p.bytes
		f.checks = append(f.checks, c)
	}
	f.pumpChecks()
}

func (f *fetcher) pumpChecks() {
	for len(f.checks) > 0 && f.checking < checksInFlightMax {
		c := f.checks[0]
		f.checks[0] = check{}
		f.checks = f.checks[1:]
		f.verify(c)
	}
}

// verify checks a piece off the loop.
func (f *fetcher) verify(c check) {
	f.begin()
	f.checking++
	var damage error
	f.Env.Compute.Submit(&env.Compute{
		Class: env.ComputeCatchUp,
		Work:  func() { damage = c.piece.check(c.slab.Data[:c.piece.bytes]) },
		Done: func(*env.Compute) {
			defer f.end()
			f.checking--
			switch {
			case f.stopping:
				f.answer(c, ErrStopped)
			case damage != nil:
				f.isDamaged(c, damage)
			default:
				f.answer(c, nil)
			}
			if !f.stopping {
				f.pumpChecks()
				f.pump()
			}
		},
	})
}

// answer ends a piece that came.
func (f *fetcher) answer(c check, err error) {
	f.bytes -= int64(c.piece.bytes)
	if err != nil {
		c.slab.Release()
		c.slab = nil
	}
	c.piece.done(c.slab, err)
}

// isDamaged reads a piece again, by itself, a few times.
func (f *fetcher) isDamaged(c check, err error) {
	f.health.damaged.Add(1)
	f.Telemetry.Hit("stream read: damaged bytes")
	p := c.piece
	again := &get{urgency: c.get.urgency, purpose: c.get.purpose, object: c.get.object, offset: c.offset, pieces: []*piece{p}, attempts: c.get.attempts + 1}
	wait := f.health.backoff("read retry", uint64(again.object), again.attempts)
	p.damaged++
	switch {
	case p.damaged == damagedReadsMax:
		f.answer(c, damage{fmt.Errorf("object %s is damaged at [%d, %d), read %d times: %w",
			f.key(again), c.offset, c.offset+int64(p.bytes), p.damaged, err)})
	case f.Loop.Now().Add(wait) > again.deadline:
		f.answer(c, fmt.Errorf("read of object %s given up after %d tries: %w", f.key(again), again.attempts, err))
	default:
		f.bytes -= int64(p.bytes)
		c.slab.Release()
		p.get = again
		f.rest(again, wait)
	}
}

// want notes that somebody waits for a piece that was to be read ahead.
func (f *fetcher) want(p *piece) {
	g := p.get
	g.demanded = true
	if g.late {
		f.hedge(g)
	}
}

// isLate is called when a get has taken longer than most do.
func (f *fetcher) isLate(g *get) {
	g.late = true
	if g.demanded {
		f.hedge(g)
	}
}

// hedge asks for a range a second time, if the store is well and little is asked of it.
func (f *fetcher) hedge(g *get) {
	if g.hedged || g.ended || g.open == 0 || f.stopping || f.health.failures > 0 || len(f.queue) > 0 || f.active >= f.GetsInFlightMax ||
		!f.hedging.allow() {
		return
	}
	g.hedged = true
	f.metrics.hedges.Add(1)
	f.Telemetry.Hit("stream read: hedged")
	f.start(g)
}

// cancel answers all that is not in flight, for shutdown.
func (f *fetcher) cancel() {
	waiting, checks := append(f.queue, f.resting...), f.checks
	f.queue, f.resting, f.checks = nil, nil, nil
	f.Loop.Stop(&f.released)
	for _, c := range checks {
		f.answer(c, ErrStopped)
	}
	for _, g := range waiting {
		f.Loop.Stop(&g.timer)
		for _, p := range g.pieces {
			p.done(nil, ErrStopped)
		}
	}
}
