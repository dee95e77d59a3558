package controller

import (
	"cmp"
	"log/slog"
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
	// Interval is the time between two looks (leader.imbalance.check.interval.seconds); zero: no balancing.
	Interval time.Duration
	// ImbalancePercent is by how much a broker may lead more partitions than its share before any are moved
	// (leader.imbalance.per.broker.percentage). Lower moves more often for less.
	ImbalancePercent int
	// MovesMax bounds the moves of one look. Zero: 32.
	MovesMax int
}

const balanceMovesMax = 32

// Balancer spreads the leaders of partitions evenly over the brokers: those that came get work. It moves nothing while a broker's share
// exceeds the mean by less than the hysteresis, so that it does not move anything back and forth. It runs on the active controller, on the loop.
type Balancer struct {
	BalancerOptions
	timer task.Timer
	moved env.Counter
}

// NewBalancer returns a balancer that does nothing until Start.
func NewBalancer(o BalancerOptions) *Balancer {
	if o.MovesMax == 0 {
		o.MovesMax = balanceMovesMax
	}
	return &Balancer{BalancerOptions: o, moved: o.Telemetry.Counter("weir_controller_balance_moves_total", "partitions that the active controller asked to be moved, to spread the leaders")}
}

// Start looks after each interval from now on.
func (b *Balancer) Start() {
	if b.Interval > 0 {
		b.Loop.Reset(&b.timer, b.Interval, b.look)
	}
}

// Stop ends that.
func (b *Balancer) Stop() { b.Loop.Stop(&b.timer) }

func (b *Balancer) look() {
	b.Start()
	for _, m := range b.plan() {
		b.Telemetry.Info("moving a partition, to spread the leaders", slog.Uint64("stream", uint64(m.stream)),
			slog.Int64("from", int64(m.from)), slog.Int64("to", int64(m.to)), slog.Int("leads", m.leads), slog.Int("share", m.share))
		b.moved.Add(1)
		b.Move(m.stream, m.to, func(err error) {
			if err != nil {
				b.Telemetry.Warn("a partition was not moved", slog.Uint64("stream", uint64(m.stream)), slog.String("error", err.Error()))
			}
		})
	}
}

// move is a decision and its reason: how many partitions the broker leads, and what its share would be.
type move struct {
	stream       metadata.StreamID
	from, to     metadata.BrokerID
	leads, share int
}

// brokerLoad is what a broker leads.
type brokerLoad struct {
	id    metadata.BrokerID
	leads []metadata.StreamID
	count int
}

// plan is what is to be moved now.
func (b *Balancer) plan() (moves []move) {
	if len(b.Image.Recoveries()) > 0 && slices.ContainsFunc(b.Image.Recoveries(), func(r metadata.Recovery) bool { return r.Shared && !b.Image.Current(r.By) }) {
		return nil // partitions are on their way already
	}
	loads, total := b.loads()
	if len(loads) < 2 {
		return nil
	}
	share := (total + len(loads) - 1) / len(loads)
	limit := share + max(share*b.ImbalancePercent/100, 1)
	for len(moves) < b.MovesMax {
		most := slices.MaxFunc(loads, func(x, y *brokerLoad) int { return cmp.Or(cmp.Compare(x.count, y.count), cmp.Compare(y.id, x.id)) })
		least := slices.MinFunc(loads, func(x, y *brokerLoad) int { return cmp.Or(cmp.Compare(x.count, y.count), cmp.Compare(x.id, y.id)) })
		if most.count <= share || most.count-least.count < 2 || len(moves) == 0 && most.count <= limit {
			return moves
		}
		last := len(most.leads) - 1
		moves = append(moves, move{most.leads[last], most.id, least.id, most.count, share})
		most.leads = most.leads[:last]
		most.count--
		least.count++
	}
	return moves
}

// loads are the brokers that are alive with what they lead, by id.
func (b *Balancer) loads() (loads []*brokerLoad, total int) {
	byID := map[metadata.BrokerID]*brokerLoad{}
	for _, broker := range b.Alive() {
		l := &brokerLoad{id: broker.ID}
		byID[broker.ID] = l
		loads = append(loads, l)
	}
	for _, t := range b.Image.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if l := byID[p.Leader]; l != nil {
				l.leads = append(l.leads, p.Stream)
				l.count++
				total++
			}
		}
	}
	return loads, total
}
