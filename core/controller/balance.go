package controller

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
)

// BalancerOptions are what a Balancer needs. All are required unless a zero is named.
type BalancerOptions struct {
	Loop      *task.Loop
	Telemetry *telemetry.Registry
	Image     *metadata.Image
	// Alive are the brokers that may lead, by id.
	Alive func() []*metadata.Broker
	// Move asks a partition's leader to give it to a broker, and calls done once it has begun or will not.
	Move func(stream metadata.StreamID, to metadata.BrokerID, done func(error))
	// Interval is the time between two looks (leader.imbalance.check.interval.seconds); zero: leaders are not spread, and only
	// drained brokers are emptied.
	Interval time.Duration
	// ImbalancePercent is by how much a broker may lead more than its share, in bytes or in partitions, before anything is moved
	// (leader.imbalance.per.broker.percentage). Lower moves more often for less.
	ImbalancePercent int
	// LoadFloor is the load in bytes a second below which a broker's mean counts as this: differences of little are none
	// (weir.balance.load.floor.bytes). Zero: 1 MiB.
	LoadFloor int64
	// MovesMax bounds the moves in flight (weir.balance.moves.in.flight). Zero: 32.
	MovesMax int
}

const (
	balanceMovesMax  = 32
	balanceLoadFloor = 1 << 20
	// moveTimeout is how long a move counts as in flight if nothing is heard of it.
	moveTimeout = 15 * time.Second
	// drainPace is the time between two looks at brokers that are drained and lead something.
	drainPace = 100 * time.Millisecond
	// drainPaceIdle is the same while there is nothing to move.
	drainPaceIdle = time.Second
	// evenPace is the same while numbers are being evened out: what a new broker is to get does not wait for one look after another.
	evenPace = 100 * time.Millisecond
	// evenSteps is how many of these steps go by what the first of them saw, which goes through all partitions.
	evenSteps = 50
	// restLooks is for how many looks a partition that was moved stays where it is.
	restLooks = 3
	// balanceLineInterval is how often a decision of one kind between the same brokers has a line.
	balanceLineInterval = 10 * time.Second
)

// LoadReportInterval is how often brokers report their loads: several times between two looks.
func LoadReportInterval(look time.Duration) time.Duration { return min(look/4, 30*time.Second) }

// reason is why a partition is moved.
type reason uint8

const (
	reasonDrain reason = iota // its leader is drained
	reasonLoad                // its leader moves more bytes than its share
	reasonCount               // its leader leads more partitions than its share, or another far less
	reasons
)

func (r reason) String() string {
	return [...]string{"its leader is drained", "its leader moves more bytes than its share", "its leader leads more partitions than its share"}[r]
}

// Balancer spreads the leaders of partitions over the brokers by observed load, by number and by zone (plan), and empties brokers that are
// drained. It runs on the active controller, on the loop.
//
// It does not move anything back and forth, although the figures that it has are old and noisy. Each move lowers one potential of the whole
// cluster, so that none of a series undoes another. A partition's figure goes with it when it moves (ledger). Nothing begins before a broker's load has exceeded its share by the
// hysteresis at two looks in a row, and it ends at half of that. A partition that was moved rests for some looks.
type Balancer struct {
	BalancerOptions
	active   bool
	ledger   *ledger
	timer    task.Timer
	evens    task.Timer
	evening  *standing // as of the steps until now; nil: to be looked at anew
	steps    int       // that went by it
	drains   task.Timer
	draining bool                           // drains is set
	began    env.Time                       // when this node became the active controller
	flying   map[metadata.StreamID]flight   // moves in flight
	moved    map[metadata.StreamID]env.Time // when partitions were moved that still rest
	habits   habits
	lines    *telemetry.Limiter
	moves    [reasons]env.Counter
	inFlight env.Gauge
}

// flight is a move that was asked for.
type flight struct {
	to    metadata.BrokerID
	epoch int32    // leader epoch that it is to end
	until env.Time // when it is given up
}

// NewBalancer returns a balancer that does nothing until Start.
func NewBalancer(o BalancerOptions) *Balancer {
	o.MovesMax, o.LoadFloor = cmp.Or(o.MovesMax, balanceMovesMax), cmp.Or(o.LoadFloor, balanceLoadFloor)
	b := &Balancer{BalancerOptions: o, lines: telemetry.NewLimiter(balanceLineInterval)}
	for r, name := range [reasons]string{"drain", "load", "count"} {
		b.moves[r] = o.Telemetry.Counter("weir_controller_balance_moves_"+name+"_total", "partitions that the active controller asked to be moved, since "+reason(r).String())
	}
	b.inFlight = o.Telemetry.Gauge("weir_controller_balance_moves_in_flight", "moves of partitions that the active controller asked for and that are not over")
	b.forget()
	return b
}

func (b *Balancer) forget() {
	b.ledger = newLedger(b.Image, b.Interval/2)
	b.flying, b.moved, b.habits = map[metadata.StreamID]flight{}, map[metadata.StreamID]env.Time{}, habits{}
	b.evening = nil
	b.inFlight.Set(0)
}

// Start looks after each interval from now on, with nothing known of loads.
func (b *Balancer) Start() {
	b.Stop()
	b.active, b.began = true, b.Loop.Now()
	b.again()
	b.lookAtDrains()
}

// Stop ends that.
func (b *Balancer) Stop() {
	b.Loop.Stop(&b.timer)
	b.Loop.Stop(&b.evens)
	b.Loop.Stop(&b.drains)
	b.active, b.draining = false, false
	b.forget()
}

func (b *Balancer) again() {
	if b.Interval > 0 {
		b.Loop.Reset(&b.timer, b.Interval, b.look)
	}
}

// Report takes a broker's load report.
func (b *Balancer) Report(from metadata.BrokerID, r *LoadReport) {
	b.ledger.take(from, r, b.Loop.Now())
}

// ImageChanged looks whether a broker is drained since.
func (b *Balancer) ImageChanged() {
	if b.active && !b.draining {
		b.lookAtDrains()
	}
}

func (b *Balancer) look() {
	b.again()
	b.land()
	b.endRests()
	s := b.observe()
	if s == nil || b.recovering() {
		return
	}
	for _, m := range s.spread(b.MovesMax-len(b.flying), &b.habits) {
		b.move(m)
	}
	b.evening, b.steps = s, 0
	b.goOnEvening()
}

// goOnEvening takes the next step soon, if numbers are not even yet.
func (b *Balancer) goOnEvening() {
	if b.habits.evening {
		b.Loop.Reset(&b.evens, evenPace, b.even)
	}
}

// even moves what room there is for, to even out numbers. Loads wait for the next look, and its figures.
func (b *Balancer) even() {
	b.land()
	if b.steps++; b.evening == nil || b.steps == evenSteps {
		b.evening, b.steps = b.observe(), 0
	}
	if b.evening == nil || b.recovering() {
		b.evening = nil
		return // a look goes on with it
	}
	for _, m := range b.evening.even(nil, b.MovesMax-len(b.flying), &b.habits) {
		b.move(m)
	}
	b.goOnEvening()
}

// recovering reports whether partitions are on their way already, from brokers that died.
func (b *Balancer) recovering() bool {
	return slices.ContainsFunc(b.Image.Recoveries(), func(r metadata.Recovery) bool { return r.Shared && !b.Image.Current(r.By) })
}

// observe is what the brokers lead that may be given partitions; nil: they are less than two, or a new controller has not heard from all of them yet.
func (b *Balancer) observe() *standing {
	takers, now := Takers(b.Image, b.Alive()), b.Loop.Now()
	known := b.ledger.heard(takers, b.Interval, now)
	if len(takers) < 2 || !known && now.Sub(b.began) < 2*b.Interval {
		return nil
	}
	return b.standingOf(takers, known)
}

// standingOf takes partitions that are on their way for arrived. Loads count if they are known of all brokers: some may be of an older release.
func (b *Balancer) standingOf(takers []*metadata.Broker, known bool) *standing {
	s := newStanding(takers, b.ImbalancePercent)
	for i, t := range b.Image.Topics() {
		for j := range t.Partitions {
			p := &t.Partitions[j]
			h := b.heldOf(p, i, known)
			at, flies := p.Leader, false
			if f, ok := b.flying[p.Stream]; ok {
				at, flies = f.to, true
			}
			_, rests := b.moved[p.Stream]
			s.add(at, h, !flies && !rests)
		}
	}
	s.weigh(b.LoadFloor)
	return s
}

func (b *Balancer) heldOf(p *metadata.Partition, topic int, known bool) held {
	h := held{stream: p.Stream, topic: topic}
	if known {
		h.rate, h.busy = b.ledger.rateOf(p)
	}
	return h
}

// land forgets the moves that are over: they happened, or were given up.
func (b *Balancer) land() {
	now := b.Loop.Now()
	for _, id := range slices.Sorted(maps.Keys(b.flying)) {
		f := b.flying[id]
		if s, ok := b.Image.Stream(id); !ok || s.Newest().LeaderEpoch != f.epoch || now >= f.until {
			delete(b.flying, id)
		}
	}
	b.inFlight.Set(int64(len(b.flying)))
}

// endRests lets partitions be moved again that were moved long ago.
func (b *Balancer) endRests() {
	now := b.Loop.Now()
	for _, id := range slices.Sorted(maps.Keys(b.moved)) {
		if now.Sub(b.moved[id]) >= restLooks*b.Interval {
			delete(b.moved, id)
		}
	}
}

// move is a decision and its reason.
type move struct {
	stream    metadata.StreamID
	from, to  metadata.BrokerID
	why       reason
	rate      int64 // bytes a second of the partition, as far as they are known
	has, mean int64 // of the leader before the move, and of all: bytes a second, or partitions
}

func (b *Balancer) move(m move) {
	s, ok := b.Image.Stream(m.stream)
	if !ok || s.Newest().Broker != m.from {
		return // it was deleted or moved since it was looked at
	}
	now := b.Loop.Now()
	b.flying[m.stream] = flight{to: m.to, epoch: s.Newest().LeaderEpoch, until: now.Add(moveTimeout)}
	b.moved[m.stream] = now
	b.inFlight.Set(int64(len(b.flying)))
	b.moves[m.why].Add(1)
	if m.why == reasonLoad {
		b.Telemetry.Hit("controller: a partition is moved for its load")
	}
	attrs := []slog.Attr{
		slog.String("since", m.why.String()), slog.Uint64("stream", uint64(m.stream)), slog.Int64("from", int64(m.from)), slog.Int64("to", int64(m.to)),
		slog.Int64("bytes_per_second", m.rate),
	}
	if m.why != reasonDrain {
		attrs = append(attrs, slog.Int64("leader_has", m.has), slog.Int64("mean", m.mean))
	}
	b.lines.Info(b.Telemetry, fmt.Sprint(m.why, m.from, m.to), now, "moving a partition to another broker", attrs...)
	b.Move(m.stream, m.to, func(err error) {
		if err != nil {
			delete(b.flying, m.stream)
			b.evening = nil // it counted as moved
			b.lines.Warn(b.Telemetry, "refused", b.Loop.Now(), "a partition was not moved", slog.Uint64("stream", uint64(m.stream)), slog.String("error", err.Error()))
		}
	})
}

// lookAtDrains moves what drained brokers lead to the others, until they lead nothing.
func (b *Balancer) lookAtDrains() {
	b.draining = false
	if !slices.ContainsFunc(b.Image.Brokers(), b.leaves) {
		return
	}
	b.land()
	pace := drainPaceIdle
	if b.drain() || len(b.flying) > 0 {
		pace = drainPace
	}
	b.draining = true
	b.Loop.Reset(&b.drains, pace, b.lookAtDrains)
}

// leaves reports whether a broker is drained and may lead something.
func (b *Balancer) leaves(broker *metadata.Broker) bool {
	return !broker.Fenced && b.Image.EpochOwes(broker.Epoch) && Drained(b.Image, broker.ID)
}

// drain moves as much as may be in flight, and reports whether there was anything.
func (b *Balancer) drain() bool {
	takers := Takers(b.Image, b.Alive())
	if len(takers) == 0 || Drained(b.Image, takers[0].ID) {
		b.lines.Warn(b.Telemetry, "nobody", b.Loop.Now(), "a broker is drained and keeps its partitions: every broker that is alive is drained")
		return false
	}
	known, found := b.ledger.heard(takers, b.Interval, b.Loop.Now()), false
	s := b.standingOf(takers, known)
	for i, t := range b.Image.Topics() {
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if _, flies := b.flying[p.Stream]; flies || !b.leads(p) {
				continue
			}
			found = true
			if len(b.flying) >= b.MovesMax {
				return true
			}
			b.Telemetry.Hit("controller: a drained broker's partition is moved")
			b.move(s.place(p.Leader, b.heldOf(p, i, known)))
		}
	}
	return found
}

// leads reports whether a partition is led by a drained broker.
func (b *Balancer) leads(p *metadata.Partition) bool {
	leader, ok := b.Image.Broker(p.Leader)
	return ok && b.leaves(leader)
}
