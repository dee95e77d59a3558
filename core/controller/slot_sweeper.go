package controller

import (
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
)

// SlotSweeperOptions are what a SlotSweeper needs. All are required unless a zero is named.
type SlotSweeperOptions struct {
	// Loop runs the sweeper.
	Loop *task.Loop
	// Env gives the object store and random numbers.
	Env env.Env
	// Telemetry takes marks and metrics.
	Telemetry *telemetry.Registry
	// Image says which slots are needed. It is read only.
	Image *metadata.Image
	// Shipped returns the log index up to which the image is in the object store: by what a record above it says,
	// nothing is deleted yet (R19).
	Shipped func() uint64
	// Prefix is what the keys of all slots start with; only those are listed.
	Prefix string
	// Parse takes a slot's key apart. False: it is none.
	Parse func(key string) (epoch metadata.BrokerEpoch, slot uint64, ok bool)
	// SealBytes is the size of a seal; all other slots are larger.
	SealBytes int64
	// Interval is the time between two looks at what was found. Zero: 1 s.
	Interval time.Duration
	// ListInterval is the time between two listings. Zero: 5 min.
	ListInterval time.Duration
	// ListPage is the number of keys in a page of a listing, 1 to 1,000. Zero: 1,000.
	ListPage int
}

// SlotSweeper deletes slots of object WALs that nobody needs any more and nobody else deleted (I8): those of ended
// epochs, what a late create brought back, and what a crash left. Their owners and recoverers delete most themselves.
// Seals stay for as long as the cluster lives (R6). It is called on the loop only.
type SlotSweeper struct {
	options  SlotSweeperOptions
	timer    task.Timer
	stopped  bool
	listing  bool
	listFrom string
	listAt   env.Time
	found    task.Queue[foundSlot] // ascending by index
	deleting bool
	failures int
	draws    uint64
	deleted  env.Counter
	mark     *telemetry.Mark
}

// foundSlot lies in the store, and is dead by the image of an index.
type foundSlot struct {
	key   string
	index uint64
}

// NewSlotSweeper returns a sweeper that does nothing until Start.
func NewSlotSweeper(o SlotSweeperOptions) *SlotSweeper {
	if o.Interval == 0 {
		o.Interval = sweepInterval
	}
	if o.ListInterval == 0 {
		o.ListInterval = sweepListInterval
	}
	if o.ListPage == 0 {
		o.ListPage = sweepBatchMax
	}
	return &SlotSweeper{
		options: o,
		deleted: o.Telemetry.Counter("weir_wal_slots_swept_total", "Slots of object logs that were deleted because a listing found them, and nobody needed them."),
		mark:    o.Telemetry.Mark("slot sweeper: a listing found a slot that nobody needs"),
	}
}

// Start begins to sweep: the first listing is at once.
func (s *SlotSweeper) Start() {
	s.listAt = s.options.Loop.Now()
	s.tick()
}

// Stop ends it. What is in flight is left alone.
func (s *SlotSweeper) Stop() {
	s.stopped = true
	s.options.Loop.Stop(&s.timer)
}

func (s *SlotSweeper) tick() {
	s.list()
	s.delete()
	s.options.Loop.Reset(&s.timer, s.options.Interval, s.tick)
}

// list reads the next page if one is due, and nothing is left of the one before.
func (s *SlotSweeper) list() {
	if s.listing || s.stopped || s.found.Len() > 0 || s.options.Loop.Now() < s.listAt {
		return
	}
	s.listing = true
	s.options.Env.Store.List(&env.ListObjects{
		For: env.PurposeSweep, Prefix: s.options.Prefix, StartAfter: s.listFrom, Limit: s.options.ListPage, Done: s.listed,
	})
}

func (s *SlotSweeper) listed(op *env.ListObjects) {
	s.listing = false
	if s.stopped {
		return
	}
	if op.Outcome != env.OutcomeDone {
		s.storeFailed()
		return
	}
	s.failures = 0
	for _, o := range op.Objects {
		s.listFrom = o.Key
		epoch, slot, ok := s.options.Parse(o.Key)
		if ok && o.Size > s.options.SealBytes && s.options.Image.SlotDead(epoch, slot) {
			s.found.Push(foundSlot{o.Key, s.options.Image.AppliedIndex()})
		}
	}
	if !op.More {
		s.listFrom, s.listAt = "", s.options.Loop.Now().Add(s.options.ListInterval)
	}
	s.delete()
}

// delete deletes what was found, one after another: what is dead stays dead, so that there is no hurry.
func (s *SlotSweeper) delete() {
	if s.deleting || s.stopped || s.found.Len() == 0 || s.found.Front().index > s.options.Shipped() {
		return
	}
	s.deleting = true
	s.options.Env.Store.Delete(&env.DeleteObject{For: env.PurposeDeletion, Key: s.found.Front().key, Done: s.deletionEnded})
}

func (s *SlotSweeper) deletionEnded(op *env.DeleteObject) {
	s.deleting = false
	switch {
	case s.stopped:
	case op.Outcome != env.OutcomeDone:
		s.storeFailed()
	default:
		s.failures = 0
		s.mark.Hit()
		s.deleted.Add(1)
		s.found.Pop()
		s.delete()
	}
}

// storeFailed gives the store time, more of it each time, with jitter.
func (s *SlotSweeper) storeFailed() {
	s.draws++
	wait := sweepRetries.Wait(s.failures, s.options.Env.Rand.Uint64("slot sweep back-off", 0, s.draws))
	s.failures++
	s.options.Loop.Reset(&s.timer, max(wait, s.options.Interval), s.tick)
}
