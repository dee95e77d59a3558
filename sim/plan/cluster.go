package plan

import (
	"cmp"
	"slices"
	"time"

	"weir/faults"
	"weir/sim/event"
)

// ClusterSwarm draws a seed's plan of a cluster of several brokers in three zones: clients of every kind, and faults of
// machines, zones and the links between them.
//
// The fault atlas: every fault ends, but that a zone may be lost for good, where a majority of the voters is left and others can read
// the logs of the dead. (Where each log is on its machine's own disk, the partitions of a broker that is away wait for its
// return, or until an administrator gives up what only a lost log held.) Machines join while the clients work. Clocks differ by less than the
// brokers are told; a broker whose clock lies may serve stale
// reads. No disk is exchanged for an older copy.
func ClusterSwarm(seed uint64) *Plan {
	s := &swarm{rand: event.SeedRand(seed)}
	p := &Plan{}
	s.config(&p.Config)
	s.tuning(&p.Config)
	s.topics(p)
	s.workloads(p)
	s.coordinated(p)
	s.compacted(p)
	s.machines(p)
	s.members(p)
	s.clusterFaults(p)
	s.lostLogs(p)
	s.lostQuorum(p)
	s.mixed(p)
	return p
}

// lostQuorum lets the metadata disks of all brokers be lost, in one seed of sixteen of those that may lose them, and the cluster be
// rebuilt from the object store. Nothing that was acknowledged is lost.
func (s *swarm) lostQuorum(p *Plan) {
	d := s.rand.Stream("plan lost quorum", 0)
	if p.Config.ShipAsync != 0 || p.Config.LostZone != 0 || !d.PerMille(60) {
		return // nobody rebuilds a cluster on a machine that is lost for good
	}
	p.add(Strike{Kind: "meta-lost", At: d.Duration(0, p.Config.Duration), For: d.Duration(10*time.Millisecond, 2*p.Config.Session)})
}

// lostLogs lets one seed in eight of those whose logs are on disks of their own lose one or two of these. Groups and transactions have
// no part in it: what they were promised may be lost with the log of their coordinator. Nor has a breaker, whose reader takes no gap.
func (s *swarm) lostLogs(p *Plan) {
	d := s.rand.Stream("plan lost logs", 0)
	if p.Config.WALShared != 0 || p.Config.WALObject != 0 || !d.PerMille(125) {
		return
	}
	p.Config.Ahead = pick[int64](&d, 1000, 5000)
	p.Workloads = slices.DeleteFunc(p.Workloads, func(w Workload) bool {
		return w.Kind == "member" || w.Kind == "pipe" || w.Kind == "transactor" || w.Kind == "committer" || w.Kind == "breaker"
	})
	for i := range p.Workloads {
		p.Workloads[i].Transacts = 0 // a keeper's transactions have a coordinator, too
	}
	for range d.Between(1, 2) {
		p.add(Strike{
			Kind: pick(&d, LossKinds...), At: d.Duration(0, p.Config.Duration), For: d.Duration(10*time.Millisecond, 2*p.Config.Session),
			Node: d.Between(1, int64(len(p.Brokers))),
		})
	}
}

// mixed lets one seed in five begin with an older release, and upgrade its brokers one after another; some keep the level of the older
// one, some do not upgrade all, and of those that raise it some try too early. Machines that join are of the newest release. A log can
// be given up, and a quorum be found by addresses, only by the newest one.
func (s *swarm) mixed(p *Plan) {
	d := s.rand.Stream("plan mixed versions", 0)
	if p.Config.Bootstrap != 0 || p.loses() || !d.PerMille(200) {
		return
	}
	release, whole := d.Between(1, 3), d.PerMille(800)
	at, step := p.Config.Duration/20, p.Config.Duration*7/10/time.Duration(len(p.Brokers))
	for i := range p.Brokers {
		b, each := &p.Brokers[i], s.rand.Stream("plan upgrade", uint64(i))
		if b.Start > 0 {
			continue
		}
		b.Release = release
		if whole || each.PerMille(500) {
			at += each.Duration(0, step)
			b.Upgrade = at
		}
	}
	if !whole || d.PerMille(250) {
		return
	}
	p.Config.Finalize = pick(&d, at, at, d.Duration(p.Config.Duration/20, at))
	if d.PerMille(300) {
		p.Config.Downgrade = d.Between(1, int64(len(p.Brokers)))
	}
}

// loses reports whether a log is lost for good.
func (p *Plan) loses() bool {
	return slices.ContainsFunc(p.Faults, func(f faults.Fault) bool {
		strike, err := strikeOf(&f)
		return err == nil && slices.Contains(LossKinds, strike.Kind)
	})
}

const (
	zones = 3
	// driftMax is how much a clock may differ from true time, parts per million: two of them by less than twice that.
	driftMax = 4500
	// calmPerMille of the worlds have no faults.
	calmPerMille = 100
	// brokersMax is how many brokers a drawn cluster has at most.
	brokersMax = 7
)

// machines draws the brokers and how soon they take each other for dead, and spreads the clients over the zones.
func (s *swarm) machines(p *Plan) {
	d := s.rand.Stream("plan machines", 0)
	p.Config.Session = d.Duration(time.Second, 4*time.Second)
	p.Config.Election = pick(&d, 0, p.Config.Session/4)
	if p.Config.WALShared = min(d.Below(3), 1); p.Config.WALShared != 0 {
		p.Config.VolumeBytes, p.Config.WALDiskBytes = 0, brokersMax*p.Config.WALDiskBytes // one volume for all logs
		if p.Config.WALDiskBytes > 0 {                                                    // what one broker's log takes another cannot have: all have to fit, with their reserves and the fences of ended ones
			p.Config.WALDiskBytes = max(p.Config.WALDiskBytes, brokersMax*(p.Config.WALBytes+512<<10)) + 1<<20
		}
	}
	if b := s.rand.Stream("plan bootstrap", 0); b.PerMille(300) {
		p.Config.Bootstrap = 1
	}
	first := d.Below(zones)
	for i := range pick[int64](&d, 3, 3, 4, 5, 6, brokersMax) {
		b := Broker{Zone: 1 + (first+i)%zones}
		if each := s.rand.Stream("plan machine", uint64(i)); each.PerMille(500) {
			b.DriftPPM = each.Between(-driftMax, driftMax) - p.Config.DriftPPM
		}
		p.Brokers = append(p.Brokers, b)
	}
	for i := range p.Workloads {
		place := s.rand.Stream("plan cluster zone", uint64(i))
		p.Workloads[i].Zone = place.Below(zones + 1)
	}
}

// members draws who votes, which machines come late, and whether a zone is lost for good.
func (s *swarm) members(p *Plan) {
	d := s.rand.Stream("plan members", 0)
	if p.Config.Voters = pick[int64](&d, 0, 0, 0, 1, 5); int(p.Config.Voters) > len(p.Brokers) {
		p.Config.Voters = 0
	}
	voters := min(int(cmp.Or(p.Config.Voters, 3)), len(p.Brokers))
	if calm := s.rand.Stream("plan cluster faults", 0); calm.PerMille(calmPerMille) {
		return // as clusterFaults draws
	}
	for i := voters; i < len(p.Brokers); i++ {
		if each := s.rand.Stream("plan member", uint64(i)); each.PerMille(300) {
			p.Brokers[i].Start = each.Duration(p.Config.Duration/10, p.Config.Duration*8/10)
		}
	}
	if zone := d.Between(1, zones); d.PerMille(150) && p.survives(zone, voters) {
		p.Config.LostZone, p.Config.LostAt = zone, d.Duration(p.Config.Duration/10, p.Config.Duration*9/10)
		p.Config.LostHow = d.Below(3)
	}
	if p.Config.LostZone == 0 && voters >= 3 { // else those that are left might be no majority
		p.Config.RemoveVoters = d.Below(2)
	}
}

// survives reports whether a cluster comes back to work without a zone: a majority of its voters is left, which are the first machines, and so are
// the logs of the others.
func (p *Plan) survives(zone int64, voters int) bool {
	left := 0
	for _, b := range p.Brokers[:voters] {
		if b.Zone != zone {
			left++
		}
	}
	return 2*left > voters && (p.Config.WALShared != 0 || p.Config.WALObject == 1)
}

// clusterFaults draws which kinds this seed has, none in a tenth of the seeds, and then the faults of each kind.
func (s *swarm) clusterFaults(p *Plan) {
	d := s.rand.Stream("plan cluster faults", 0)
	if d.PerMille(calmPerMille) {
		return
	}
	odds := pick[int64](&d, 60, 150, 300)
	for i, kind := range append(append([]string(nil), ClusterFaultKinds...), FaultKinds...) {
		each := s.rand.Stream("plan cluster fault", uint64(i))
		if needsWait(kind) || !each.PerMille(odds) {
			continue
		}
		for range each.Between(1, 4) {
			p.add(drawClusterStrike(&each, kind, p))
		}
	}
}

func drawClusterStrike(d *event.Stream, kind string, p *Plan) Strike {
	f := drawStrike(d, kind, p)
	switch target := d.Below(10); {
	case target < 6:
		f.Node = d.Between(1, int64(len(p.Brokers)))
	case target < 9:
		f.Zone = d.Between(1, zones)
	}
	if f.Node == 0 && f.Zone == 0 && betweenMachines(kind) {
		f.Node = d.Between(1, int64(len(p.Brokers))) // it needs a side
	}
	if forAll(kind) {
		f.Node, f.Zone = 0, 0
	}
	switch kind {
	case "clock-drift":
		if f.Rate = d.Between(-driftMax, driftMax); f.Rate == 0 {
			f.Rate = 1 // none is no fault
		}
	case "peer-slow":
		f.Rate = pick[int64](d, 3000, 20_000, 100_000)
	case "peer-reset":
		f.For = 0
	}
	if outlasts(kind) && d.PerMille(400) {
		f.For = d.Duration(p.Config.Session, 3*p.Config.Session)
	}
	return f
}

// betweenMachines reports whether a fault is one of the links between those that it strikes and others.
func betweenMachines(kind string) bool {
	switch kind {
	case "peer-cut", "peer-cut-in", "peer-cut-out", "peer-slow", "peer-reset", "isolate":
		return true
	}
	return false
}

// outlasts reports whether a fault silences a broker: some of them last longer than its session.
func outlasts(kind string) bool {
	switch kind {
	case "crash", "kill", "pause", "isolate", "peer-cut", "peer-cut-in", "peer-cut-out":
		return true
	}
	return false
}
