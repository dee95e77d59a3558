package plan

import (
	"time"

	"weir/sim/event"
)

// ClusterSwarm draws a seed's plan of a cluster of several brokers in three zones: clients of every kind, and faults of
// machines, zones and the links between them.
//
// The fault atlas: each log is on its machine's own disk, so that the partitions of a broker that is away wait for its
// return. Every fault ends. Clocks differ by less than the brokers are told; a broker whose clock lies may serve stale
// reads. No disk is exchanged for an older copy.
func ClusterSwarm(seed uint64) *Plan {
	s := &swarm{rand: event.SeedRand(seed)}
	p := &Plan{}
	s.config(&p.Config)
	s.tuning(&p.Config)
	s.topics(p)
	s.workloads(p)
	s.coordinated(p)
	s.machines(p)
	s.clusterFaults(p)
	return p
}

const (
	zones = 3
	// driftMax is how much a clock may differ from true time, parts per million: two of them by less than twice that.
	driftMax = 4500
)

// machines draws the brokers and how soon they take each other for dead, and spreads the clients over the zones.
func (s *swarm) machines(p *Plan) {
	d := s.rand.Stream("plan machines", 0)
	p.Config.Session = d.Duration(time.Second, 4*time.Second)
	p.Config.Election = pick(&d, 0, p.Config.Session/4)
	if p.Config.WALShared = min(d.Below(3), 1); p.Config.WALShared != 0 {
		p.Config.VolumeBytes, p.Config.WALDiskBytes = 0, 5*p.Config.WALDiskBytes // one volume for all logs
		if p.Config.WALDiskBytes > 0 {                                           // what one broker's log takes another cannot have: all have to fit, with their reserves and the fences of ended ones
			p.Config.WALDiskBytes = max(p.Config.WALDiskBytes, 5*(p.Config.WALBytes+512<<10)) + 1<<20
		}
	}
	if b := s.rand.Stream("plan bootstrap", 0); b.PerMille(300) {
		p.Config.Bootstrap = 1
	}
	first := d.Below(zones)
	for i := range d.Between(3, 5) {
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

// clusterFaults draws which kinds this seed has, none in a tenth of the seeds, and then the faults of each kind.
func (s *swarm) clusterFaults(p *Plan) {
	d := s.rand.Stream("plan cluster faults", 0)
	if d.PerMille(100) {
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
