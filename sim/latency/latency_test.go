package latency

import (
	"slices"
	"testing"
	"time"

	"weir/sim/event"
)

func TestDrawFollowsItsRow(t *testing.T) {
	for _, p := range []*Profile{&DiskWrite, &StorePut, &StoreGet, &LinkZone, &Compute} {
		s := event.SeedRand(1).Stream(p.Name, 0)
		draws := make([]time.Duration, 100_000)
		for i := range draws {
			draws[i] = p.Draw(&s)
		}
		slices.Sort(draws)
		for i, share := range map[int]int{2: 50_000, 3: 90_000, 4: 99_000} {
			want, got := p.Quantile(i), draws[share]
			if got < want*6/10 || got > want*16/10 {
				t.Errorf("%s: quantile %d is %v, table says %v", p.Name, i, got, want)
			}
		}
		if draws[0] < p.Quantile(0) || draws[len(draws)-1] > p.Quantile(7) {
			t.Errorf("%s: drew outside its bounds", p.Name)
		}
	}
}
