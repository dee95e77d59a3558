package plan

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTextFormIsWhole(t *testing.T) {
	for seed := uint64(0); seed < 300; seed++ {
		for _, p := range []*Plan{Swarm(seed), ClusterSwarm(seed)} {
			q, err := Parse(p.String())
			if err != nil {
				t.Fatal(err)
			}
			if q.String() != p.String() {
				t.Fatalf("seed %d: parsed\n%s\nfrom\n%s", seed, q, p)
			}
		}
	}
}

func TestClusterSwarmDrawsWhatItSays(t *testing.T) {
	faults, sizes := map[string]int{}, map[int]int{}
	voters, lost, joins, removals := map[int64]int{}, 0, 0, 0
	calm := 0
	for seed := uint64(0); seed < 600; seed++ {
		p := ClusterSwarm(seed)
		sizes[len(p.Brokers)]++
		voters[p.Config.Voters]++
		if p.Config.RemoveVoters != 0 {
			removals++
			require.Zero(t, p.Config.LostZone, "those that are left may be no majority")
		}
		if p.Config.LostZone != 0 {
			lost++
		}
		for i := range p.Brokers {
			if p.Brokers[i].Start == 0 {
				continue
			}
			joins++
			if votes := cmp.Or(p.Config.Voters, 3); int64(i) < votes {
				t.Errorf("seed %d: machine %d votes, and comes late", seed, i+1)
			}
		}
		if len(p.Faults) == 0 {
			calm++
		}
		zones := map[int64]bool{}
		for i := range p.Brokers {
			b := &p.Brokers[i]
			zones[b.Zone] = true
			if drift := p.Config.DriftPPM + b.DriftPPM; drift < -driftMax || drift > driftMax {
				t.Errorf("seed %d: a clock that drifts by %d ppm", seed, drift)
			}
		}
		if len(zones) != 3 || p.Config.Session == 0 {
			t.Errorf("seed %d: %d zones, sessions of %v", seed, len(zones), p.Config.Session)
		}
		strikes, err := p.Strikes()
		if err != nil {
			t.Fatal(err)
		}
		for i := range strikes {
			f := &strikes[i]
			faults[f.Kind]++
			if betweenMachines(f.Kind) && f.Node == 0 && f.Zone == 0 {
				t.Errorf("seed %d: %s strikes all, so that there is nobody on the other side", seed, f.Kind)
			}
		}
	}
	for _, kind := range slices.Concat(ClusterFaultKinds, FaultKinds, LossKinds) {
		if drawn, copied := faults[kind] > 0, needsWait(kind) && kind != "meta-lost"; drawn == copied {
			t.Errorf("drew %s %d times", kind, faults[kind])
		}
	}
	if len(voters) != 3 || lost < 30 || joins < 100 || removals < 100 {
		t.Errorf("drew voters %v, %d lost zones, %d machines that join, %d plans in which voters are removed", voters, lost, joins, removals)
	}
	if len(sizes) != 5 || calm < 30 || calm > 90 {
		t.Errorf("drew clusters of %v brokers, %d calm ones", sizes, calm)
	}
}

func TestSwarmDrawsEveryKind(t *testing.T) {
	faults, clients := map[string]int{}, map[string]int{}
	calm := 0
	for seed := uint64(0); seed < 300; seed++ {
		p := Swarm(seed)
		if len(p.Faults) == 0 {
			calm++
		}
		strikes, err := p.Strikes()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range strikes {
			faults[s.Kind]++
		}
		for _, w := range p.Workloads {
			clients[w.Kind]++
		}
	}
	for _, kind := range FaultKinds {
		if faults[kind] == 0 {
			t.Errorf("never drew %s", kind)
		}
	}
	if len(clients) != len(WorkloadKinds) || calm == 0 {
		t.Errorf("drew clients %v, %d calm runs", clients, calm)
	}
}

func TestWithoutRemovesOneElement(t *testing.T) {
	p := Swarm(3)
	for i := range p.Elements() {
		if q := p.Without(i); q.Elements() != p.Elements()-1 {
			t.Fatalf("element %d: %d left of %d", i, q.Elements(), p.Elements())
		}
	}
}

func TestResetChangesOneSetting(t *testing.T) {
	p := Swarm(3)
	before := p.String()
	for i := range p.Settings() {
		if q := p.Reset(i); q.Settings() != p.Settings()-1 {
			t.Fatalf("setting %d: %d left of %d", i, q.Settings(), p.Settings())
		}
	}
	if p.String() != before {
		t.Error("a reset changed the plan that it came from")
	}
}

func TestParseRefusesNonsense(t *testing.T) {
	for _, text := range []string{"nonsense", "fault", "fault earthquake", "config wal", "config wal=x", "config moon=1", "client ghost"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
