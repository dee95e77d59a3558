package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/bill"
	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/sim/checker"
	"weir/sim/client"
	"weir/sim/network"
	"weir/sim/plan"
	"weir/sim/store"
)

var healthy network.Link

// Stated times (I11): how long after all faults have healed it may take at most.
const (
	startLimit    = 60 * time.Second // from start to ready
	convergeLimit = 90 * time.Second // until every producer has its answers and probes are written
	drainLimit    = 180 * time.Second
	shutdownLimit = 30 * time.Second // of a clean shutdown: clients have 20 s of it, the store none
	// SweepLimit is how long a stored object may outlive what refers to it (I8).
	SweepLimit = 10 * time.Minute
)

// Result is the outcome of a run.
type Result struct {
	Seed       uint64
	Plan       *plan.Plan
	Hash       uint64
	Events     uint64
	Sim        time.Duration
	Operations int64
	Faults     int
	Restarts   int
	Resends    int64
	Acked      int64
	Linear     int // partitions that porcupine checked
	Puts       int64
	Objects    int
	Account    bill.Account // what the workload asked of the object store
	// Marks is how often the node and the world reached each named place.
	Marks map[string]int64
	// Effects is what was seen of each kind of fault, of clusters.
	Effects    map[string]*Effect
	Violations []checker.Violation
	Log        []string // the brokers' last lines
}

// OK reports whether the run violated no invariant.
func (r *Result) OK() bool { return len(r.Violations) == 0 }

// Run runs a seed's plan and checks it. A nil plan is the seed's swarm plan.
func Run(seed uint64, p *plan.Plan, options Options) *Result {
	if p == nil {
		p = plan.Swarm(seed)
	}
	if options.Build == nil {
		options.Build = realNode
	}
	w := newWorld(seed, p, options)
	w.guard(w.story)
	for _, b := range w.brokers {
		if b.machine.Running() {
			b.takeMarks()
			w.guard(b.machine.Crash)
		}
	}
	w.effects.end(w)
	linear := 0
	w.guard(func() { linear = w.check() })
	w.checkLosses()
	w.checkMarkers()
	w.checkProposals()
	w.checkNever()
	return &Result{
		Seed: seed, Plan: p, Hash: w.queue.Trace.Hash(), Events: w.queue.Fired(), Sim: time.Duration(w.queue.Now()),
		Operations: w.cluster.Operations, Faults: w.injected(), Restarts: w.restarts, Resends: w.cluster.Resends,
		Acked: w.cluster.Acked, Linear: linear, Puts: w.store.Puts, Objects: len(w.store.Keys()), Account: w.account(), Marks: w.queue.Marks, Effects: w.effects.of,
		Violations: w.violations, Log: w.logTail(),
	}
}

// account is what the run's workload would cost: all requests but the reads by which the checkers see what it left.
func (w *world) account() bill.Account {
	a := w.store.Account
	for _, p := range []env.Purpose{env.PurposeCatchUp, env.PurposeTailRead} {
		for r := range bill.Requests {
			a.Requests[r][p] = w.workload.Requests[r][p]
		}
		a.Sent[p], a.Received[p] = w.workload.Sent[p], w.workload.Received[p]
	}
	a.Over, a.Stored = time.Duration(w.queue.Now()), w.store.Size()
	for _, b := range w.brokers {
		a.Written += b.metrics.Value(bill.WrittenMetric).Sum
	}
	return a
}

// logTail is the last lines of each broker's log.
func (w *world) logTail() (lines []string) {
	for _, b := range w.brokers {
		lines = append(lines, b.machine.Log.Tail(60)...)
	}
	return lines
}

func panicked(value any, stack []byte) checker.Violation {
	if v, ok := value.(checker.Violation); ok {
		return v
	}
	var inProc *task.ProcPanic
	if err, ok := value.(error); ok && errors.As(err, &inProc) {
		return checker.Violation{Invariant: invariantOf(inProc.Value), Text: inProc.Error()}
	}
	return checker.Violation{Invariant: invariantOf(value), Text: fmt.Sprintf("%v\n%s", value, stack)}
}

const (
	offsetsClient = 47
	raiserClient  = 45
	abandonClient = 46
	pollerClient  = 48
	pollProducer  = 49
	creatorClient = 50
	probeClient   = 51
	drainClient   = 52 // and up, so many for each drain
	drainers      = 4
)

// story is the whole run, phase by phase.
func (w *world) story() {
	early := w.schedule(true)
	w.boot()
	if !w.await(early+startLimit, "the first start", w.ready) {
		return
	}
	topics := w.createTopics()
	if w.violated() {
		return
	}
	c := w.startClients(topics)
	w.schedule(false)
	w.changeMembers()
	w.scheduleUpgrades()
	w.run(w.plan.Config.Duration, never)
	w.heal()
	c.end()
	if !w.run(convergeLimit, c.idle) {
		w.late(convergeLimit, "answers to "+c.waiting())
		return
	}
	if !w.run(convergeLimit, c.served) {
		w.late(convergeLimit, "readers to be served from "+c.unserved())
		return
	}
	if !w.settleGroups(c.members) || !w.awaitRaised() {
		return
	}
	c.stopReaders()
	if !w.comeBack(c) {
		return
	}
	c.stop()
	w.workload = w.store.Account
	w.probe(topics)
	w.poll(topics)
	w.drain(topics)
	w.restartAndDrain(topics)
	w.settle(topics)
}

// await runs until done; if it takes longer than the stated time, that breaks I11.
func (w *world) await(limit time.Duration, what string, done func() bool) bool {
	if w.run(limit, done) || w.violated() {
		return !w.violated()
	}
	w.late(limit, what)
	return false
}

// late notes that the cluster did not come back to work in time.
func (w *world) late(limit time.Duration, what string) {
	if w.violated() {
		return
	}
	text := fmt.Sprintf("%v after the faults healed, still waiting for %s", limit, what)
	if err := w.lastError(); err != nil {
		text += fmt.Sprintf("; the node last failed with: %v", err)
	}
	w.violate(checker.Violation{Invariant: "I11", Text: text + w.owed()})
}

// owed names the ranges that ended long ago and are not in the object store yet.
func (w *world) owed() (text string) {
	n := w.imageHolder()
	if n == nil {
		return ""
	}
	for _, t := range n.Image().Topics() {
		for i := range t.Partitions {
			s, _ := n.Image().Stream(t.Partitions[i].Stream)
			if s.CommittedEnd() < s.Newest().Start {
				text += fmt.Sprintf("; %s-%d owes %+v", t.Name, i, s.Ranges)
			}
		}
	}
	return text
}

// settleGroups: each partition has one owner in each group, which has committed all that there is to read.
func (w *world) settleGroups(members []*client.Member) bool {
	if w.run(convergeLimit, func() bool { return client.Unsettled(members) == "" }) || w.violated() {
		return !w.violated()
	}
	w.violate(checker.Violation{Invariant: "I11", Text: fmt.Sprintf("%v after the faults healed, still waiting for %s", convergeLimit, client.Unsettled(members))})
	return false
}

// readOffsets fetches the committed offsets of all groups.
func (w *world) readOffsets() {
	if w.violated() || len(w.members)+len(w.committers) == 0 {
		return
	}
	r := client.NewOffsetReader(w.cluster, offsetsClient, w.members, w.committers)
	r.Start()
	w.await(convergeLimit, "the committed offsets of each group", r.Done)
	r.Stop()
}

// comeBack: producers that were idle for longer than the broker remembers them write on.
func (w *world) comeBack(c *clients) bool {
	if w.plan.Config.ComeBack == 0 {
		return true
	}
	w.run(w.plan.Config.ComeBack, never)
	for _, p := range c.producers {
		p.ComeBack()
	}
	return w.await(convergeLimit, "producers that came back", c.idle)
}

// anyProducer reports whether every partition has room for one more idempotent producer.
func (w *world) anyProducer() bool { return w.plan.Config.Producers == 0 }

// probe: every partition takes a write.
func (w *world) probe(topics []*client.Topic) {
	if w.violated() {
		return
	}
	p := client.NewProducer(w.cluster, probeClient, client.ProducerOptions{Topics: w.with(topics), Idempotent: w.anyProducer(), Acks: -1, Records: 3, ValueBytes: 30, InFlight: 5, Spread: 64})
	p.Start()
	w.await(convergeLimit, "a probe of each partition", p.Probed)
	p.Stop()
}

// pollLimit is how long after a batch was acknowledged a fetch that waited for it may be
// answered: well before its wait is over.
const pollLimit = 2 * time.Second

// poll: a fetch that waits at the end of a partition is answered once there is data.
func (w *world) poll(topics []*client.Topic) {
	if w.violated() || len(topics) == 0 {
		return
	}
	topic := topics[w.draws.Below(int64(len(topics)))]
	part := topic.Partitions[w.draws.Below(int64(len(topic.Partitions)))]
	minBytes := [...]int32{1, 70}[w.draws.Below(2)]
	poller := client.NewPoller(w.cluster, pollerClient, part, w.beside(topics, topic), minBytes)
	poller.Start()
	if !w.await(convergeLimit, "a fetch at the end of "+part.History.Name, poller.Waiting) {
		return
	}
	w.run(w.draws.Duration(50*time.Millisecond, 300*time.Millisecond), never)
	p := client.NewProducer(w.cluster, pollProducer, client.ProducerOptions{Topics: []*client.Topic{topic}, Idempotent: w.anyProducer(), Acks: -1, Records: 3, ValueBytes: 60, InFlight: 5, Spread: 64})
	p.Start()
	if !w.await(convergeLimit, "a batch that a reader waits for", p.Probed) {
		return
	}
	acknowledged := w.queue.Now()
	if w.await(convergeLimit, "a reader that waits for a batch", poller.Done) && poller.At().Sub(acknowledged) > pollLimit {
		w.violate(checker.Violation{Invariant: "latency", Text: fmt.Sprintf(
			"%s: client %d waited for %d bytes at the end, a batch was acknowledged at %v, and its fetch was answered only at %v",
			part.History.Name, pollerClient, minBytes, time.Duration(acknowledged), time.Duration(poller.At()))})
	}
	p.Stop()
	poller.Stop()
}

// beside is a partition of another topic, which the poller has in a fetch session, in half of all runs; nil: none.
func (w *world) beside(topics []*client.Topic, polled *client.Topic) *client.Partition {
	other := topics[w.draws.Below(int64(len(topics)))]
	if other == polled || w.draws.Below(2) == 0 {
		return nil
	}
	return other.Partitions[w.draws.Below(int64(len(other.Partitions)))]
}

// drain reads everything back, by several readers, each of which waits for the store
// as often as its partitions have objects.
func (w *world) drain(topics []*client.Topic) {
	if w.violated() || len(topics) == 0 {
		return
	}
	var shares [drainers][]*client.Partition
	n := 0
	for _, t := range w.with(topics) {
		for _, p := range t.Partitions {
			shares[n%drainers] = append(shares[n%drainers], p)
			n++
		}
	}
	first := drainClient + drainers*len(topics[0].Partitions[0].History.Drains)
	sizes := [...]int32{1 << 20, 3000, 64 << 10}
	bytes := sizes[w.draws.Below(3)]
	committed := len(w.cluster.Transactions) > 0 && w.draws.PerMille(500)
	var all []*client.Drainer
	for i, share := range shares {
		d := client.NewDrainer(w.cluster, first+i, share, bytes, committed)
		d.Start()
		all = append(all, d)
	}
	w.await(drainLimit, "a whole read of the log", func() bool { return !slices.ContainsFunc(all, func(d *client.Drainer) bool { return !d.Done() }) })
	for _, d := range all {
		d.Stop()
	}
}

// restartAndDrain: what was acknowledged is there after a restart too, of either kind.
func (w *world) restartAndDrain(topics []*client.Topic) {
	for i := range w.plan.Config.Restarts {
		if w.violated() {
			return
		}
		// Let uploads get somewhere, or not.
		w.run(w.draws.Duration(0, 3*w.brokers[0].config.UploadInterval), never)
		compacted := i == w.plan.Config.Restarts-1 && w.draws.PerMille(500)
		if compacted {
			w.awaitCompacted()
		}
		if w.draws.PerMille(300) {
			w.stop()
		} else {
			w.crash(w.draws.PerMille(500))
		}
		if w.violated() {
			return
		}
		w.boot()
		if !w.await(startLimit, "a restart", w.ready) {
			return
		}
		w.drain(topics)
		w.readOffsets()
		w.readKept(compacted)
		w.verify()
	}
	for _, o := range w.operators {
		o.Stop()
	}
}

// compactLimit is how long after the last write it may take until all of a topic is compacted.
const compactLimit = 5 * time.Minute

// awaitCompacted: with any dirty byte being worth it, all that keepers wrote is compacted in the end.
func (w *world) awaitCompacted() {
	if w.violated() || w.level() < controller.CleaningLevel {
		return
	}
	w.await(compactLimit, "the compaction of all that keepers wrote", func() bool {
		for i, k := range w.keepers {
			if w.cleaned(w.kept[i]) < k.Read() {
				return false
			}
		}
		return true
	})
}

// cleaned is how far a keeper's topic is compacted. What was lost behind that has nothing to be compacted.
func (w *world) cleaned(topic *client.Topic) int64 {
	n := w.imageHolder()
	if n == nil {
		return 0
	}
	t, ok := n.Image().Topic(topic.Name)
	if !ok {
		return 0
	}
	s, _ := n.Image().Stream(t.Partitions[0].Stream)
	cleaned := s.Cleaned
	for i := range s.Parts {
		if p := &s.Parts[i]; p.Lost() && p.Start == cleaned {
			cleaned = p.End
		}
	}
	return cleaned
}

// readKept has keepers read their topics once more.
func (w *world) readKept(compacted bool) {
	if w.violated() || len(w.keepers) == 0 {
		return
	}
	for i, k := range w.keepers {
		if compacted {
			k.Again(w.cleaned(w.kept[i]))
		} else {
			k.Again(0)
		}
	}
	w.await(convergeLimit, "a reading of each compacted topic", func() bool { return keepersIdle(w.keepers) })
	for _, k := range w.keepers {
		k.Stop()
	}
}

// verify: what operators changed is in force after a restart.
func (w *world) verify() {
	if w.violated() || len(w.operators) == 0 {
		return
	}
	for _, o := range w.operators {
		o.Verify()
	}
	w.await(convergeLimit, "what operators changed to be described", func() bool { return operatorsIdle(w.operators) })
}

// stop shuts the brokers down cleanly.
func (w *world) stop() {
	w.shutdown(startLimit, "a clean shutdown")
}

// shutdown tells every broker to end, and waits for it.
func (w *world) shutdown(limit time.Duration, what string) {
	up := 0
	w.endZombies()
	for _, b := range w.brokers {
		if b.machine.Running() {
			up++
			b.shutdown(func() { up-- })
		}
	}
	w.await(limit, what, func() bool { return up == 0 })
}

// settle lets the store come to rest, audits it, and ends the node cleanly.
func (w *world) settle([]*client.Topic) {
	if w.violated() {
		return
	}
	w.endZombies()
	w.run(store.LateMax, never)
	w.await(SweepLimit, "late requests to the object store", w.store.Settled)
	w.awaitDrains()
	w.compareImages()
	w.audit()
	if !w.violated() {
		w.stop()
	}
}

// awaitDrains: a broker that is drained leads nothing in the end, as long as another is not.
func (w *world) awaitDrains() {
	w.await(convergeLimit, "drained brokers to lead nothing", func() bool {
		n := w.imageHolder()
		return n == nil || !drainedLeads(n.Image())
	})
}

func drainedLeads(image *metadata.Image) bool {
	takers := controller.Takers(image, image.Brokers())
	for _, t := range image.Topics() {
		for i := range t.Partitions {
			if !slices.ContainsFunc(takers, func(b *metadata.Broker) bool { return b.ID == t.Partitions[i].Leader }) {
				return true
			}
		}
	}
	return false
}

// checkLosses: a store that keeps everything is never told to have lost something.
func (w *world) checkLosses() {
	if told := w.queue.Marks["stream read: an object is gone"]; told > 0 && w.store.Discarded == 0 && !w.violated() {
		w.violate(checker.Violation{Invariant: "I1", Text: fmt.Sprintf("%d times a broker said that an object is gone; none ever was", told)})
	}
}

// checkMarkers: no partition refuses a marker of a coordinator. Nobody else writes any.
func (w *world) checkMarkers() {
	if refused := w.queue.Marks["txn: a marker was refused"]; refused > 0 && !w.violated() {
		w.violate(checker.Violation{Invariant: "I7", Text: fmt.Sprintf("%d times a partition refused the marker of a transaction's coordinator as out of date", refused)})
	}
}

// checkProposals: what a broker proposed through the quorum's leader is in the log once at most.
func (w *world) checkProposals() {
	if twice := w.queue.Marks["node: a proposal was applied twice"]; twice > 0 && !w.violated() {
		w.violate(checker.Violation{Invariant: "proposal", Text: fmt.Sprintf("%d times a broker applied a proposal of its own that it had applied before", twice)})
	}
}

// checkNever finds the marks that the plan forbids.
func (w *world) checkNever() {
	for _, mark := range w.plan.Never {
		if hits := w.queue.Marks[mark]; hits > 0 && !w.violated() {
			w.violate(checker.Violation{Invariant: "never", Text: fmt.Sprintf("reached %d times, against the plan: %s", hits, mark)})
		}
	}
}

// check hands every partition's history to the checkers.
func (w *world) check() (linear int) {
	w.noteLost()
	var histories []*checker.Partition
	for _, p := range w.cluster.Partitions {
		histories = append(histories, p.History)
	}
	for _, v := range checker.CheckTransactions(w.cluster.Transactions, histories) {
		w.violate(v)
	}
	for _, g := range w.cluster.Groups {
		for _, v := range checker.CheckGroup(g, w.cluster.Transactions) {
			w.violate(v)
		}
	}
	for _, k := range w.keepers {
		for _, v := range checker.CheckKeyed(k.History()) {
			w.violate(v)
		}
	}
	for _, p := range w.cluster.Partitions {
		for _, v := range checker.CheckLog(p.History) {
			w.violate(v)
		}
		if w.violated() || w.options.NoLinear {
			continue
		}
		v, took := checker.CheckLinear(p.History)
		if v != nil {
			w.violate(*v)
		}
		if took {
			linear++
		}
	}
	return linear
}
