package sim

import (
	"fmt"
	"strings"
	"testing"

	"weir/sim/plan"
)

// calmDisks leaves out what the fake broker, which uses no disk, would not notice.
func fakeRun(seed uint64, defect string) *Result {
	return Run(seed, nil, Options{Build: buildFake(&fakeDisk{}, defect)})
}

func TestASoundBrokerIsFoundSound(t *testing.T) {
	for seed := uint64(1); seed <= 30; seed++ {
		r := fakeRun(seed, "")
		if !r.OK() {
			t.Fatalf("seed %d: %v", seed, r.Violations[0])
		}
		if r.Operations < 50 {
			t.Errorf("seed %d: %d operations", seed, r.Operations)
		}
	}
}

func TestSameSeedSameHash(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		a, b := fakeRun(seed, ""), fakeRun(seed, "")
		if a.Hash != b.Hash || a.Events != b.Events {
			t.Fatalf("seed %d: hash %x and %x, %d and %d events", seed, a.Hash, b.Hash, a.Events, b.Events)
		}
	}
}

// TestPlantedDefects: each defect of the fake broker is found within a few seeds.
func TestPlantedDefects(t *testing.T) {
	tests := []struct{ defect, invariant string }{
		{"lose the tail at a crash", "I1 I2 I3 I6"},
		{"forget producers at a restart", "I6"},
		{"no window of duplicates", "I6"},
		{"acknowledge and forget", "I1 I2"},
		{"append twice", "I6 I2"},
		{"damage a byte", "I2"},
		{"serve above the high watermark", "I3 I1"},
		{"stale high watermark", "I3"},
		{"skip a batch", "I1"},
		{"trim too far", "I1"},
	}
	for _, test := range tests {
		t.Run(test.defect, func(t *testing.T) {
			for seed := uint64(1); seed <= 40; seed++ {
				r := fakeRun(seed, test.defect)
				if r.OK() {
					continue
				}
				if v := r.Violations[0]; !strings.Contains(test.invariant, v.Invariant) {
					t.Fatalf("seed %d: found %v, want one of %s", seed, v, test.invariant)
				}
				t.Logf("seed %d: %v", seed, r.Violations[0])
				return
			}
			t.Fatal("not found in 40 seeds")
		})
	}
}

// BenchmarkSimulator is the simulator's own cost: the reference plan on a broker
// that costs next to nothing.
func BenchmarkSimulator(b *testing.B) {
	b.ReportAllocs()
	var operations int64
	for i := range b.N {
		r := Run(uint64(i+1), plan.Reference(), Options{Build: buildFake(&fakeDisk{}, "")})
		if !r.OK() {
			b.Fatal(fmt.Sprint(r.Violations[0]))
		}
		operations += r.Operations
	}
	b.ReportMetric(float64(operations)/b.Elapsed().Seconds(), "ops/s")
}
