package sim

import (
	"fmt"
	"io"
	"time"

	"weir/core/metadata"
	"weir/sim/checker"
	"weir/sim/plan"
)

// ScaleOptions are a run of [Scale].
type ScaleOptions struct {
	Seed       uint64
	Brokers    int // 3 and up, spread over three zones
	Partitions int // 1,000 and up, in topics of a thousand
	// Stopwatch is a clock of the real world, for what the simulated one does not show: what turns cost.
	Stopwatch func() time.Duration
	Echo      io.Writer // gets the brokers' log; nil: nowhere
}

// ScaleResult is what [Scale] saw. Times are simulated, but those of turns.
type ScaleResult struct {
	Partitions int
	Created    time.Duration // until every topic has leaders
	Detected   time.Duration // from the loss of a zone until its brokers are fenced
	Taken      time.Duration // from then until living brokers lead every partition
	Balanced   time.Duration // from the zone's return until no broker leads more than a tenth above its share; 0: not within BalanceLimit
	Records    uint64        // of the quorum's log
	ImageBytes int           // of the metadata's snapshot
	Controller time.Duration // of all turns of the active controller's broker
	Longest    time.Duration // turn of any broker that served
	Moved      int           // leaders that are not where they were before the zone was lost
	Violations []checker.Violation
}

// BalanceLimit bounds how long Scale waits for the leaders to be spread again.
const BalanceLimit = time.Hour

// scaleZone is the zone that is lost. Voters are the first brokers, one in each zone: a majority of them stays.
const scaleZone = 2

// Scale creates many partitions in a cluster, fails one of its zones, lets it come back, and measures each.
func Scale(o ScaleOptions) *ScaleResult {
	w := newWorld(o.Seed, scalePlan(o), Options{Build: realNode, Echo: o.Echo, NoLinear: true})
	s := &scale{world: w, r: &ScaleResult{Partitions: o.Partitions}, stopwatch: o.Stopwatch}
	for _, b := range w.brokers {
		b.machine.Around = s.turn(b)
		b.config.Cluster.BalanceMoves = 0 // as many as in production
	}
	w.guard(s.story)
	for _, b := range w.brokers {
		if b.machine.Running() {
			w.guard(b.machine.Crash)
		}
	}
	w.guard(func() { w.check() })
	s.r.Violations = w.violations
	return s.r
}

func scalePlan(o ScaleOptions) *plan.Plan {
	p := &plan.Plan{Config: plan.Config{
		Session: time.Second, Election: 200 * time.Millisecond, WALShared: 1, WALBytes: 64 << 20, CacheBytes: 256 << 20,
		UploadBytes: 8 << 20, UploadInterval: 250 * time.Millisecond,
	}}
	for i := range o.Brokers {
		p.Brokers = append(p.Brokers, plan.Broker{Zone: int64(i%3 + 1)})
	}
	for i := 0; i < o.Partitions; i += 1000 {
		p.Topics = append(p.Topics, plan.Topic{Name: fmt.Sprintf("t%d", i/1000), Partitions: int64(min(1000, o.Partitions-i))})
	}
	p.Workloads = []plan.Workload{{Kind: "producer", PerSecond: 50, Records: 5, ValueBytes: 200, InFlight: 5, Spread: 20, Idempotent: 1}}
	return p
}

type scale struct {
	*world
	r         *ScaleResult
	stopwatch func() time.Duration
}

// turn measures the turns of a broker. The start's are left out: nobody waits for them.
func (s *scale) turn(b *broker) func(func()) {
	return func(turn func()) {
		began := s.stopwatch()
		turn()
		took := s.stopwatch() - began
		if n, ok := coreOf(b.machine.Node()); ok && b.ready {
			s.r.Longest = max(s.r.Longest, took)
			if n.Controls() {
				s.r.Controller += took
			}
		}
	}
}

func (s *scale) story() {
	s.boot()
	if !s.await(startLimit, "the first start", s.ready) {
		return
	}
	since := s.queue.Now()
	topics := s.createTopics()
	s.r.Created = s.queue.Now().Sub(since)
	if s.violated() {
		return
	}
	c := s.startClients(topics)
	s.run(5*time.Second, never)
	before := s.leaders()
	s.failZone()
	s.returnZone()
	for i, leader := range s.leaders() {
		if leader != before[i] {
			s.r.Moved++
		}
	}
	c.end()
	s.await(convergeLimit, "the answers that producers wait for", c.idle)
	c.stop()
	s.probe(topics)
	image := s.imageHolder().Image()
	s.r.Records, s.r.ImageBytes = image.AppliedIndex(), len(image.AppendSnapshot(nil))
}

func (s *scale) failZone() {
	since := s.queue.Now()
	for _, b := range s.brokers {
		if b.zone == scaleZone {
			b.wanted = false
			b.crash(true)
		}
	}
	s.awaitLook(convergeLimit, "the lost brokers to be fenced", func() bool { return s.lost(func(e metadata.BrokerID) bool { return !s.alive(e) }) })
	s.r.Detected, since = s.queue.Now().Sub(since), s.queue.Now()
	s.awaitLook(convergeLimit, "leaders of every partition", func() bool {
		return s.led(func(leader metadata.BrokerID) bool { return s.alive(leader) })
	})
	s.r.Taken = s.queue.Now().Sub(since)
}

func (s *scale) returnZone() {
	for _, b := range s.brokers {
		if b.zone == scaleZone {
			b.wanted = true
			b.boot()
		}
	}
	s.await(startLimit, "the zone to be back", s.ready)
	since, share := s.queue.Now(), s.r.Partitions/len(s.brokers)
	if s.look(BalanceLimit, func() bool {
		leads, most := map[metadata.BrokerID]int{}, 0
		s.led(func(leader metadata.BrokerID) bool {
			leads[leader]++
			most = max(most, leads[leader])
			return true
		})
		return most <= share+share*imbalancePercent/100+1
	}) {
		s.r.Balanced = s.queue.Now().Sub(since)
	}
}

// lost reports whether something holds for every broker of the zone that is lost.
func (s *scale) lost(holds func(metadata.BrokerID) bool) bool {
	for _, b := range s.brokers {
		if b.zone == scaleZone && !holds(metadata.BrokerID(b.config.NodeID)) {
			return false
		}
	}
	return true
}

// alive reports whether the image has a current epoch of a broker.
func (s *scale) alive(id metadata.BrokerID) bool {
	b, ok := s.imageHolder().Image().Broker(id)
	return ok && b.Ready()
}

// led reports whether something holds for the leader of every partition.
func (s *scale) led(holds func(metadata.BrokerID) bool) bool {
	for _, t := range s.imageHolder().Image().Topics() {
		for i := range t.Partitions {
			if !holds(t.Partitions[i].Leader) {
				return false
			}
		}
	}
	return true
}

func (s *scale) leaders() (leaders []metadata.BrokerID) {
	s.led(func(leader metadata.BrokerID) bool {
		leaders = append(leaders, leader)
		return true
	})
	return leaders
}

const lookEvery = 10 * time.Millisecond

// look runs until something holds that is dear to find out.
func (s *scale) look(limit time.Duration, holds func() bool) bool {
	for until := s.queue.Now().Add(limit); s.queue.Now() < until && !s.violated(); s.run(lookEvery, never) {
		if holds() {
			return true
		}
	}
	return false
}

func (s *scale) awaitLook(limit time.Duration, what string, holds func() bool) {
	if !s.look(limit, holds) {
		s.late(limit, what)
	}
}
