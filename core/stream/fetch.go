package stream

import (
	"errors"
	"fmt"
	"slices"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/task"
)

// damagedReadsMax is how often bytes that fail their checksum are read: they may be spoilt on their way.
const damagedReadsMax = 5

// errNoObject: the store has no such object.
var errNoObject = errors.New("the store has no such object")

// urgency says how long a read of the store is tried, and whether somebody waits for it.
type urgency struct {
	deadline env.Time
	demanded bool
}

func demanded(deadline env.Time) urgency { return urgency{deadline, true} }
func ahead(deadline env.Time) urgency    { return urgency{deadline: deadline} }

// fetcher reads ranges of objects: a bounded number at once, the others in order of arrival, each
// tried again until it is whole, its sum right, or its time over.
type fetcher struct {
	*ReaderOptions
	operations // GETs, and checks of what they brought
	health     *storeHealth
	metrics    *readMetrics

	queue   []*get
	active  int    // submitted, or their bytes being checked
	resting []*get // between two tries
}

// get is one range of one object.
type get struct {
	urgency
	object   metadata.ObjectID
	offset   int64
	bytes    int
	check    func(data []byte) error // runs off the loop
	done     func(slab *env.Slab, err error)
	slab     *env.Slab
	attempts int
	damaged  int
	began    env.Time
	timer    task.Timer
	err      error
}

// busy reports whether reading ahead would hold up those who wait.
func (f *fetcher) busy() bool { return f.active+len(f.queue) >= f.GetsInFlightMax/2 }

// submit reads a range. done owns the slab's one reference.
func (f *fetcher) submit(g *get) {
	f.queue = append(f.queue, g)
	f.pump()
}

func (f *fetcher) pump() {
	for len(f.queue) > 0 && f.active < f.GetsInFlightMax {
		g := f.queue[0]
		f.queue[0] = nil
		f.queue = f.queue[1:]
		f.active++
		f.start(g)
	}
}

func (f *fetcher) start(g *get) {
	g.slab = f.Env.Memory.Alloc(g.bytes)
	g.began = f.Loop.Now()
	f.begin()
	f.metrics.gets.Add(1)
	f.Env.Store.Get(&env.GetObject{
		For: env.PurposeCatchUp, Key: f.key(g), Offset: g.offset, Into: g.slab.Data[:g.bytes],
		Done: func(op *env.GetObject) { f.arrived(g, op) },
	})
}

func (f *fetcher) key(g *get) string { return object.Key(f.Cluster, uint64(g.object)) }

func (f *fetcher) arrived(g *get, op *env.GetObject) {
	defer f.end()
	f.health.answered(op.Outcome)
	f.metrics.getLatency.Observe(int64(f.Loop.Now().Sub(g.began)))
	switch {
	case f.stopping:
		f.answer(g, ErrStopped)
	case op.Outcome == env.OutcomeRefused:
		f.answer(g, errNoObject)
	case op.Outcome != env.OutcomeDone:
		f.again(g, op.Err)
	case op.N < g.bytes:
		f.isDamaged(g, fmt.Errorf("%d of %d bytes came", op.N, g.bytes))
	default:
		f.metrics.getBytes.Add(int64(op.N))
		f.verify(g)
	}
}

// verify checks the bytes off the loop.
func (f *fetcher) verify(g *get) {
	f.begin()
	f.Env.Compute.Submit(&env.Compute{
		Work: func() { g.err = g.check(g.slab.Data[:g.bytes]) },
		Done: func(*env.Compute) {
			defer f.end()
			switch {
			case f.stopping:
				f.answer(g, ErrStopped)
			case g.err != nil:
				f.isDamaged(g, g.err)
			default:
				f.answer(g, nil)
			}
		},
	})
}

// isDamaged reads again a few times.
func (f *fetcher) isDamaged(g *get, err error) {
	f.health.damaged.Add(1)
	f.Telemetry.Hit("stream read: damaged bytes")
	if g.damaged++; g.damaged < damagedReadsMax {
		f.again(g, err)
		return
	}
	f.answer(g, damage{fmt.Errorf("object %s is damaged at [%d, %d), read %d times: %w",
		f.key(g), g.offset, g.offset+int64(g.bytes), g.damaged, err)})
}

// again tries once more after a back-off, unless the time would be over.
func (f *fetcher) again(g *get, err error) {
	g.attempts++
	wait := f.health.backoff("read retry", uint64(g.object), g.attempts)
	if f.Loop.Now().Add(wait) > g.deadline {
		f.answer(g, fmt.Errorf("read of object %s given up after %d tries: %w", f.key(g), g.attempts, err))
		return
	}
	g.slab.Release()
	g.slab = nil
	f.active--
	f.resting = append(f.resting, g)
	f.Loop.Reset(&g.timer, wait, func() {
		f.resting = slices.DeleteFunc(f.resting, func(o *get) bool { return o == g })
		f.submit(g)
	})
	f.pump()
}

// answer ends a get that is under way.
func (f *fetcher) answer(g *get, err error) {
	f.active--
	slab := g.slab
	g.slab = nil
	if err != nil {
		slab.Release()
		slab = nil
	}
	g.done(slab, err)
	if !f.stopping {
		f.pump()
	}
}

// cancel answers all that is not in flight, for shutdown.
func (f *fetcher) cancel() {
	waiting := append(f.queue, f.resting...)
	f.queue, f.resting = nil, nil
	for _, g := range waiting {
		f.Loop.Stop(&g.timer)
		g.done(nil, ErrStopped)
	}
}
