package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"weir/sim/client"
	"weir/sim/plan"
)

// clients are a run's workloads.
type clients struct {
	producers []*client.Producer
	churns    []*client.Churn
	trimmers  []*client.Trimmer
	consumers []*client.Consumer
	operators []*client.Operator
	breakers  []*client.Breaker

	members     []*client.Member // the pipes' ones, too
	plain       []*client.Member
	transactors []*client.Transactor
	pipes       []*client.Pipe
	committers  []*client.Committer
	keepers     []*client.Keeper
}

func (w *world) startClients(topics []*client.Topic) *clients {
	c := &clients{}
	config := w.brokers[0].config
	for i := range w.plan.Workloads {
		l := &w.plan.Workloads[i]
		switch l.Kind {
		case "producer":
			c.producers = append(c.producers, client.NewProducer(w.cluster, int(l.Client), client.ProducerOptions{
				Topics: topics, Idempotent: l.Idempotent != 0, PerSecond: l.PerSecond, Records: l.Records, ValueBytes: l.ValueBytes,
				InFlight: int(l.InFlight), Spread: l.Spread, Compress: l.Compress, GiveUp: l.GiveUp, Lag: l.Lag, Acks: acks(l.Acks), Mixed: l.Mixed, Poison: l.Poison,
				Huge: l.Huge, Excess: l.Excess, BatchBytes: int(config.MessageMaxBytes), RequestBytes: int(config.SocketRequestMaxBytes) - 1024,
			}))
		case "consumer":
			c.consumers = append(c.consumers, client.NewConsumer(w.cluster, int(l.Client), client.ConsumerOptions{
				Topics: topics, Sessions: l.Sessions != 0, MaxWait: l.MaxWait, MinBytes: int32(l.MinBytes), MaxBytes: int32(l.MaxBytes),
				PartitionBytes: int32(l.PartitionBytes), Pause: l.Pause, Committed: l.Committed != 0, Rewind: l.Rewind, Ask: l.Ask, Epochs: l.Epochs, Forget: l.Forget, Lag: l.Lag,
			}))
		case "churn":
			c.churns = append(c.churns, client.NewChurn(w.cluster, int(l.Client), fmt.Sprintf("churn-%d-", l.Client), client.ChurnOptions{Pause: l.Pause, Reuse: l.Reuse != 0, Lag: l.Lag}))
		case "trimmer":
			c.trimmers = append(c.trimmers, client.NewTrimmer(w.cluster, int(l.Client), client.TrimmerOptions{Topics: topics, Pause: l.Pause, Lag: l.Lag}))
		case "operator":
			c.operators = append(c.operators, client.NewOperator(w.cluster, int(l.Client), client.OperatorOptions{
				Topic: w.operated[len(c.operators)], BatchBytes: int(config.MessageMaxBytes), RoomBytes: int(config.SocketRequestMaxBytes) - 2048,
				Pause: l.Pause, Lag: l.Lag, Voters: w.plan.Config.RemoveVoters != 0,
			}))
		case "member":
			c.plain = append(c.plain, w.member(l, topics))
		case "transactor":
			c.transactors = append(c.transactors, w.transactor(l, topics))
		case "pipe":
			i := slices.IndexFunc(w.piped, func(t *client.Topic) bool { return t.Name == pipedTopic(l) })
			c.pipes = append(c.pipes, client.NewPipe(w.member(l, topics), w.transactor(l, w.piped[i:i+1])))
		case "committer":
			c.committers = append(c.committers, client.NewCommitter(w.cluster, int(l.Client), client.CommitterOptions{
				Topics: topics, Group: fmt.Sprintf("commits-%d", l.Client), Retention: w.offsetsRetention(),
				ID: fmt.Sprintf("commits-%d", l.Client), Timeout: cmp.Or(l.Timeout, 5*time.Second), Pause: l.Pause, Lag: l.Lag,
			}))
		case "keeper":
			c.keepers = append(c.keepers, client.NewKeeper(w.cluster, int(l.Client), w.keeper(l, w.kept[len(c.keepers)])))
		case "breaker":
			c.breakers = append(c.breakers, client.NewBreaker(w.cluster, int(l.Client), client.BreakerOptions{
				Topics: topics, Own: w.broken[len(c.breakers)], Pause: l.Pause, Lag: l.Lag,
			}))
		}
	}
	w.operators = c.operators
	c.members = slices.Clone(c.plain)
	for _, p := range c.pipes {
		c.members = append(c.members, p.Member())
	}
	w.members, w.committers, w.keepers = c.members, c.committers, c.keepers
	c.start()
	return c
}

// member makes a member of the plan; what it leaves out has small defaults.
func (w *world) member(l *plan.Workload, topics []*client.Topic) *client.Member {
	same := func(o *plan.Workload) bool { return (o.Kind == "member" || o.Kind == "pipe") && o.Group == l.Group }
	mixed, first := false, true
	for i := range w.plan.Workloads {
		o := &w.plan.Workloads[i]
		mixed = mixed || same(o) && o.Consumer != l.Consumer
		first = first && (!same(o) || o.Client >= l.Client)
	}
	quit, reserved, expression := l.Quit, time.Duration(0), ""
	if first {
		quit = 0 // somebody has to stay
	}
	if !mixed {
		reserved = w.brokers[0].config.ConsumerGroup.SessionTimeout * 99 / 100 // the broker's clock drifts
	}
	if l.Expression != 0 {
		expression = "t[0-9]+"
	}
	return client.NewMember(w.cluster, int(l.Client), client.MemberOptions{
		Topics: topics, Group: fmt.Sprintf("group-%d", l.Group), Retention: w.offsetsRetention(), Mixed: mixed,
		Consumer: l.Consumer != 0, Cooperative: l.Cooperative != 0, Static: l.Static != 0,
		Session: cmp.Or(l.Session, 3*time.Second), Rebalance: cmp.Or(l.Rebalance, 5*time.Second), Heartbeat: cmp.Or(l.Heartbeat, 500*time.Millisecond),
		Pause: l.Pause, Committed: l.Committed != 0, Unstable: l.Unstable != 0, Leave: l.Leave, Die: l.Die, Freeze: l.Freeze, Lag: l.Lag,
		Choosy: l.Choosy != 0, Expression: expression, Reserved: reserved, Mute: l.Mute, Quit: quit, Slow: l.Slow, Large: l.Large, Old: l.Old,
	})
}

func (w *world) keeper(l *plan.Workload, topic *client.Topic) client.KeeperOptions {
	o := client.KeeperOptions{
		Topic: topic, Keys: max(1, l.Keys), Records: max(1, l.Records), Deletes: l.Deletes, Abort: l.Abort,
		Pause: l.Pause, FetchBytes: int32(l.MaxBytes), TombstonesStay: l.Tombstones != 0, Lag: l.Lag,
	}
	if l.Transacts != 0 {
		o.ID = fmt.Sprintf("keeper-%d", l.Client)
	}
	return o
}

// offsetsRetention is after what time the broker may delete offsets, by its clock.
func (w *world) offsetsRetention() time.Duration {
	retention := w.plan.Config.OffsetsRetention
	if retention == 0 {
		return 0
	}
	for i := range w.strikes {
		if f := &w.strikes[i]; f.Kind == "clock-step" {
			retention -= f.Amount.Abs()
		}
	}
	return max(retention, 1)
}

func (w *world) transactor(l *plan.Workload, topics []*client.Topic) *client.Transactor {
	var doomed *client.Topic
	if i := slices.IndexFunc(w.doomed, func(t *client.Topic) bool { return t.Name == doomedTopic(l) }); i >= 0 {
		doomed = w.doomed[i]
	}
	alone := w.plan.Config.TxnIDExpiration == 0 && !slices.ContainsFunc(w.plan.Workloads, func(o plan.Workload) bool { return o.Client != l.Client && o.ID == l.ID && o.Kind == l.Kind })
	return client.NewTransactor(w.cluster, int(l.Client), client.TransactorOptions{
		Topics: topics, Doomed: doomed, ID: fmt.Sprintf("txn-%d", l.ID), First: l.First != 0, Timeout: cmp.Or(l.Timeout, 5*time.Second), Pause: l.Pause,
		Records: max(1, l.Records), Spread: max(1, l.Spread), Abort: l.Abort, Stall: l.Stall, Die: l.Die, Late: l.Late, Empty: l.Empty, Alone: alone, Lag: l.Lag,
	})
}

// acks translates a plan's value to the wire's.
func acks(plan int64) int16 {
	switch plan {
	case 1:
		return 1
	case 2:
		return 0
	}
	return -1
}

func (c *clients) start() {
	for _, p := range c.producers {
		p.Start()
	}
	for _, k := range c.consumers {
		k.Start()
	}
	for _, h := range c.churns {
		h.Start()
	}
	for _, t := range c.trimmers {
		t.Start()
	}
	for _, o := range c.operators {
		o.Start()
	}
	for _, b := range c.breakers {
		b.Start()
	}
	for _, m := range c.plain {
		m.Start()
	}
	for _, t := range c.transactors {
		t.Start()
	}
	for _, p := range c.pipes {
		p.Start()
	}
	for _, k := range c.committers {
		k.Start()
	}
	for _, k := range c.keepers {
		k.Start()
	}
}

func (c *clients) end() {
	for _, p := range c.producers {
		p.End()
	}
	for _, k := range c.consumers {
		k.End()
	}
	for _, h := range c.churns {
		h.End()
	}
	for _, t := range c.trimmers {
		t.End()
	}
	for _, o := range c.operators {
		o.End()
	}
	for _, b := range c.breakers {
		b.End()
	}
	for _, m := range c.plain {
		m.End()
	}
	for _, t := range c.transactors {
		t.End()
	}
	for _, p := range c.pipes {
		p.End()
	}
	for _, k := range c.committers {
		k.End()
	}
	for _, k := range c.keepers {
		k.End()
	}
}

// idle reports whether all who write have their answers.
func (c *clients) idle() bool { return c.waiting() == "" }

// waiting names one who waits for an answer; empty: there is none.
func (c *clients) waiting() string {
	for i, p := range c.producers {
		if !p.Idle() {
			return fmt.Sprintf("producer %d, %s", i, p.Waiting())
		}
	}
	if slices.ContainsFunc(c.churns, func(h *client.Churn) bool { return !h.Idle() }) {
		return "a churn"
	}
	if slices.ContainsFunc(c.breakers, func(b *client.Breaker) bool { return !b.Idle() }) {
		return "a breaker"
	}
	if slices.ContainsFunc(c.transactors, func(t *client.Transactor) bool { return !t.Idle() }) {
		return "a transactor"
	}
	if slices.ContainsFunc(c.committers, func(k *client.Committer) bool { return !k.Idle() }) {
		return "a committer"
	}
	if !operatorsIdle(c.operators) {
		return "an operator"
	}
	if !keepersIdle(c.keepers) {
		return "a keeper"
	}
	return ""
}

func keepersIdle(keepers []*client.Keeper) bool {
	return !slices.ContainsFunc(keepers, func(k *client.Keeper) bool { return !k.Idle() })
}

func operatorsIdle(operators []*client.Operator) bool {
	return !slices.ContainsFunc(operators, func(o *client.Operator) bool { return !o.Idle() })
}

func (c *clients) served() bool { return c.unserved() == "" }

// unserved names a partition that a reader waits for; empty: there is none.
func (c *clients) unserved() string {
	for _, k := range c.consumers {
		if u := k.Unserved(); u != "" {
			return u
		}
	}
	return ""
}

// stopReaders leaves producers, which may come back, and operators, which check what is
// in force after restarts, too.
func (c *clients) stopReaders() {
	for _, k := range c.consumers {
		k.Stop()
	}
	for _, h := range c.churns {
		h.Stop()
	}
	for _, t := range c.trimmers {
		t.Stop()
	}
	for _, b := range c.breakers {
		b.Stop()
	}
	for _, m := range c.plain {
		m.Stop()
	}
	for _, t := range c.transactors {
		t.Stop()
	}
	for _, p := range c.pipes {
		p.Stop()
	}
	for _, k := range c.committers {
		k.Stop()
	}
	for _, k := range c.keepers {
		k.Stop()
	}
}

func (c *clients) stop() {
	c.stopReaders()
	for _, p := range c.producers {
		p.Stop()
	}
}
