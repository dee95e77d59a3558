package controller

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
)

// SweeperOptions are what a Sweeper needs. All are required unless a zero is named.
type SweeperOptions struct {
	// Loop runs the sweeper.
	Loop *task.Loop
	// Env gives the object store, the clock and random numbers.
	Env env.Env
	// Telemetry takes lines, marks and metrics.
	Telemetry *telemetry.Registry
	// Image says which objects are live. It is read only.
	Image *metadata.Image
	// Proposer puts records into the metadata log.
	Proposer Proposer
	// Prefix is the common prefix of all object keys; only keys under it are listed.
	Prefix string
	// KeyOf returns an object's key.
	KeyOf func(metadata.ObjectID) string
	// Shipped returns the log index up to which the image is in the object store. What
	// a record above it destroyed or expired is not deleted yet (R19). Nil: no such limit.
	Shipped func() uint64
	// Floor declares for this broker what InUseFloor does, whenever it is looked for orphans. Nil: InUseFloor alone does.
	Floor func() (metadata.BrokerEpoch, metadata.ObjectID)
	// Grace is how long a destroyed object is kept for readers of an older image. Zero:
	// 60 s. It starts again after a restart. If it is too short, such a read fails.
	Grace time.Duration
	// Interval is the time between two checks of the image. Zero: 1 s.
	Interval time.Duration
	// ListInterval is the time between two listings of the store. Zero: 5 min. Each
	// costs one LIST request for each ListPage keys.
	ListInterval time.Duration
	// InFlightMax bounds the deletions in flight. Zero: 16.
	InFlightMax int
	// ListPage is the number of keys in a page of a listing, 1 to 1,000. Zero: 1,000.
	ListPage int
}

const (
	sweepGrace        = time.Minute
	sweepInterval     = time.Second
	sweepListInterval = 5 * time.Minute
	sweepInFlightMax  = 16
	sweepBatchMax     = 1000 // ids of one record, keys of one listing
)

var sweepRetries = task.BackOff{First: 100 * time.Millisecond, Max: 30 * time.Second}

// Sweeper deletes from the store what the image no longer needs (R20, I8):
//
//   - destroyed objects, once every reader's image is newer than their destruction
//     by the grace; a record then says that they are gone;
//   - orphans: prepared ids of ended epochs, and those of living epochs below the floors
//     that they declare; first a record bars their commit, then they are deleted;
//   - what a late PUT brought back: the store is listed now and then, and what lies
//     under a dead id is deleted.
//
// What is dead stays dead, so a deletion that is repeated, lost or late does no
// harm. It is called on the loop only.
type Sweeper struct {
	options SweeperOptions
	loop    *task.Loop
	image   *metadata.Image
	timer   task.Timer
	stopped bool

	floors   map[metadata.BrokerEpoch]metadata.ObjectID // that brokers declared; lookups only
	marks    task.Queue[sweepMark]                      // ascending
	newest   uint64                                     // the newest index that was marked
	ripe     uint64                                     // what was destroyed up to this index is over its grace
	expiring bool

	queue    task.Queue[idRun]          // to delete
	awaited  map[metadata.ObjectID]bool // destroyed objects from queue to record; lookups only
	inFlight int
	deleted  []metadata.ObjectID // of destroyed objects, not yet recorded
	record   bool                // that they are is being proposed

	found    task.Queue[foundObject] // ascending by index
	listing  bool
	listOpen bool   // a listing is not at its end
	listFrom string // where it goes on
	// listedBytes is the size of what it found so far.
	listedBytes int64
	listAt      env.Time

	failures int
	pause    task.Timer
	draws    uint64
	counts   sweepCounts
}

// sweepMark says that the image was at an index at a time.
type sweepMark struct {
	at    env.Time
	index uint64
}

// foundObject lies in the store under an id that was dead in the image of an index.
type foundObject struct {
	id    metadata.ObjectID
	index uint64
}

// idRun is the ids [first, end).
type idRun struct{ first, end metadata.ObjectID }

type sweepCounts struct {
	deleted, orphans             env.Counter
	listed                       env.Gauge
	swept                        telemetry.LastSuccess
	expired, late, backOff, odds *telemetry.Mark
}

// NewSweeper returns a sweeper that does nothing until Start.
func NewSweeper(o SweeperOptions) *Sweeper {
	or := func(d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		}
	}
	or(&o.Grace, sweepGrace)
	or(&o.Interval, sweepInterval)
	or(&o.ListInterval, sweepListInterval)
	if o.InFlightMax == 0 {
		o.InFlightMax = sweepInFlightMax
	}
	if o.ListPage == 0 {
		o.ListPage = sweepBatchMax
	}
	t := o.Telemetry
	return &Sweeper{
		options: o, loop: o.Loop, image: o.Image, awaited: map[metadata.ObjectID]bool{}, floors: map[metadata.BrokerEpoch]metadata.ObjectID{},
		counts: sweepCounts{
			deleted: t.Counter("weir_objects_deleted_total", "Destroyed objects deleted from the store."),
			listed:  t.Gauge("weir_objects_listed_bytes", "Bytes of objects that the last whole listing of the store found; 0 until there is one."),
			orphans: t.Counter("weir_objects_orphaned_total", "Deletions of ids that were never committed, or came back late."),
			swept:   t.LastSuccess(o.Env.Clock, "sweep", "when a listing of all objects last came to its end"),
			expired: t.Mark("sweeper: prepared ids expired"),
			late:    t.Mark("sweeper: a listing found an object under a dead id"),
			backOff: t.Mark("sweeper: the store failed, and was given time"),
			odds:    t.Mark("sweeper: a listing found a key that names no object"),
		},
	}
}

// Start begins to sweep: the first listing is at once.
func (s *Sweeper) Start() {
	s.listAt = s.loop.Now()
	s.tick()
}

// Stop ends it. What is in flight is left alone.
func (s *Sweeper) Stop() {
	s.stopped = true
	s.loop.Stop(&s.timer)
	s.loop.Stop(&s.pause)
}

// InUseFloor notes the word of a broker epoch that it uses no object id below id, nor ever will:
// those that are still prepared may expire. A floor that is not higher than the one
// before changes nothing.
func (s *Sweeper) InUseFloor(epoch metadata.BrokerEpoch, id metadata.ObjectID) {
	s.floors[epoch] = max(s.floors[epoch], id)
	if len(s.floors) > 2*len(s.image.Brokers())+8 {
		for _, epoch := range slices.Sorted(maps.Keys(s.floors)) {
			if !s.image.Current(epoch) {
				delete(s.floors, epoch)
			}
		}
	}
}

func (s *Sweeper) tick() {
	s.ripen()
	if s.options.Floor != nil {
		s.InUseFloor(s.options.Floor())
	}
	s.expire()
	s.gather()
	s.recordDeletions()
	s.queueFound()
	s.list()
	s.pump()
	s.loop.Reset(&s.timer, s.options.Interval, s.tick)
}

// ripen moves the index up to which destroyed objects are over their grace. Time is
// the monotonic clock's, from when this node first saw the image at that index.
func (s *Sweeper) ripen() {
	now := s.loop.Now()
	if index := s.image.AppliedIndex(); index > s.newest {
		s.newest = index
		s.marks.Push(sweepMark{now, index})
	}
	shipped := s.shipped()
	for s.marks.Len() > 0 && now.Sub(s.marks.Front().at) >= s.options.Grace && s.marks.Front().index <= shipped {
		s.ripe = s.marks.Pop().index
	}
}

func (s *Sweeper) shipped() uint64 {
	if s.options.Shipped == nil {
		return s.image.AppliedIndex()
	}
	return s.options.Shipped()
}

// expire bars the next orphans from being committed.
func (s *Sweeper) expire() {
	if s.expiring || s.stopped || s.queue.Len() >= sweepBatchMax {
		return
	}
	r := s.orphans()
	if r == nil {
		return
	}
	s.expiring = true
	s.options.Proposer.Propose(r, func(_ metadata.Outcome, err error) {
		s.expiring = false
		if err != nil {
			return // a commit came first, or the node ends: the next look sees it
		}
		s.counts.expired.Hit()
		s.queue.Push(idRun{r.First, r.End})
		s.loop.Post(s.expire)
		s.loop.Post(s.pump)
	})
}

// orphans finds prepared ids that nobody will commit.
func (s *Sweeper) orphans() *metadata.ExpireObjects {
	for _, l := range s.image.Leases() {
		end := l.End
		if s.image.Current(l.Epoch) {
			floor := s.floors[l.Epoch]
			if l.First >= floor {
				continue
			}
			end = min(end, floor)
		}
		return &metadata.ExpireObjects{Epoch: l.Epoch, First: l.First, End: min(end, l.First+sweepBatchMax)}
	}
	return nil
}

// gather queues destroyed objects that are over their grace.
func (s *Sweeper) gather() {
	s.image.Destroyed(func(o *metadata.Object) bool {
		if o.DestroyedAt > s.ripe || len(s.awaited) >= sweepBatchMax {
			return false
		}
		if !s.awaited[o.ID] {
			s.awaited[o.ID] = true
			s.queue.Push(idRun{o.ID, o.ID + 1})
		}
		return true
	})
}

// pump submits deletions.
func (s *Sweeper) pump() {
	for s.queue.Len() > 0 && s.inFlight < s.options.InFlightMax && !s.stopped && !s.pause.Pending() {
		run := s.queue.Front()
		id := run.first
		if run.first++; run.first == run.end {
			s.queue.Pop()
		}
		s.delete(id)
	}
}

func (s *Sweeper) delete(id metadata.ObjectID) {
	o, kept := s.image.Object(id)
	telemetry.Assert(8, kept && o.State == metadata.ObjectDestroyed && o.DestroyedAt <= s.ripe || s.image.Dead(id),
		"object %d would be deleted, and is neither dead nor destroyed for longer than the grace", id)
	s.inFlight++
	s.options.Env.Store.Delete(&env.DeleteObject{For: env.PurposeDeletion, Key: s.options.KeyOf(id), Done: func(op *env.DeleteObject) {
		s.inFlight--
		s.deletionEnded(id, kept, op)
	}})
}

// deletionEnded takes a deletion's outcome. One that is unknown is done again.
func (s *Sweeper) deletionEnded(id metadata.ObjectID, kept bool, op *env.DeleteObject) {
	switch {
	case s.stopped:
		return
	case op.Outcome != env.OutcomeDone:
		s.queue.Push(idRun{id, id + 1})
		s.storeFailed("delete "+op.Key, op.Err)
	case kept:
		s.failures = 0
		s.counts.deleted.Add(1)
		s.deleted = append(s.deleted, id)
	default:
		s.failures = 0
		s.counts.orphans.Add(1)
	}
	s.pump()
	if s.inFlight == 0 || len(s.deleted) >= sweepBatchMax {
		s.recordDeletions()
	}
}

// recordDeletions takes deleted objects out of the image.
func (s *Sweeper) recordDeletions() {
	if s.record || s.stopped || len(s.deleted) == 0 {
		return
	}
	batch := s.deleted
	s.record, s.deleted = true, nil
	s.options.Proposer.Propose(&metadata.DeleteObjects{Objects: batch}, func(_ metadata.Outcome, err error) {
		s.record = false
		if err != nil {
			telemetry.Assert(8, !errors.Is(err, metadata.ErrReferred), "%v", err)
			s.deleted = append(s.deleted, batch...)
			return
		}
		for _, id := range batch {
			delete(s.awaited, id)
		}
	})
}

// list goes on with a listing, or starts one that is due. It waits while there is
// much to delete.
func (s *Sweeper) list() {
	due := s.listOpen || s.loop.Now() >= s.listAt
	if s.listing || !due || s.stopped || s.pause.Pending() || s.queue.Len()+s.found.Len() >= sweepBatchMax {
		return
	}
	s.listing, s.listOpen = true, true
	s.options.Env.Store.List(&env.ListObjects{
		For: env.PurposeSweep, Prefix: s.options.Prefix, StartAfter: s.listFrom, Limit: s.options.ListPage, Done: s.listed,
	})
}

func (s *Sweeper) listed(op *env.ListObjects) {
	s.listing = false
	if s.stopped {
		return
	}
	if op.Outcome != env.OutcomeDone {
		s.storeFailed("list "+op.Prefix, op.Err)
		return
	}
	s.failures = 0
	for _, found := range op.Objects {
		s.listFrom = found.Key
		s.listedBytes += found.Size
		s.validateFound(found.Key)
	}
	if !op.More {
		s.counts.listed.Set(s.listedBytes)
		s.listOpen, s.listFrom, s.listedBytes = false, "", 0
		s.counts.swept.Now()
		s.listAt = s.loop.Now().Add(s.options.ListInterval)
	}
	s.queueFound()
	s.pump()
	if len(op.Objects) > 0 {
		s.list()
	}
}

// validateFound notes what lies under a dead id.
func (s *Sweeper) validateFound(key string) {
	id, err := strconv.ParseUint(strings.TrimPrefix(key, s.options.Prefix), 16, 64)
	switch o := metadata.ObjectID(id); {
	case err != nil || s.options.KeyOf(o) != key:
		s.counts.odds.Hit() // not weir's: not weir's to delete
	case s.image.Dead(o):
		s.found.Push(foundObject{o, s.image.AppliedIndex()})
	}
}

// queueFound queues what was found, once the image that says that it is dead is shipped (R19). A later listing
// would not do instead: where records come all the time, the newest is hardly ever shipped when one looks.
func (s *Sweeper) queueFound() {
	shipped := s.shipped()
	for s.found.Len() > 0 && s.found.Front().index <= shipped {
		if id := s.found.Pop().id; s.image.Dead(id) {
			s.counts.late.Hit()
			s.queue.Push(idRun{id, id + 1})
		}
	}
}

// storeFailed gives the store time, more of it each time, with jitter.
func (s *Sweeper) storeFailed(what string, err error) {
	if s.pause.Pending() {
		return // one of many that were in flight
	}
	s.counts.backOff.Hit()
	s.draws++
	wait := sweepRetries.Wait(s.failures, s.options.Env.Rand.Uint64("sweep back-off", 0, s.draws))
	s.failures++
	s.options.Telemetry.Debug("deletions wait", slog.String("operation", what), slog.Any("error", err))
	s.loop.Reset(&s.pause, wait, func() {
		s.pump()
		s.list()
	})
}
