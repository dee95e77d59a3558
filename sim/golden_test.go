package sim

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "renew the hashes of the golden seeds")

const (
	goldenFile  = "testdata/golden.txt"
	goldenSeeds = 10
)

// TestGoldenSeeds: the same commit gives the same traces everywhere, at any GOMAXPROCS,
// with and without the race detector. A change of what the broker or the simulator does
// changes the hashes, and that is no fault:
//
//	go test ./sim -run Golden -update
func TestGoldenSeeds(t *testing.T) {
	var got strings.Builder
	for seed := uint64(1); seed <= goldenSeeds; seed++ {
		r := Run(seed, nil, Options{NoLinear: true})
		if !r.OK() {
			t.Fatalf("seed %d: %v", seed, r.Violations[0])
		}
		fmt.Fprintf(&got, "seed=%d hash=%016x events=%d sim=%v ops=%d faults=%d\n", seed, r.Hash, r.Events, r.Sim, r.Operations, r.Faults)
	}
	if *update {
		if err := os.WriteFile(goldenFile, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the golden seeds gave\n%swant\n%sIf the broker or the simulator was changed on purpose: go test ./sim -run Golden -update", got.String(), want)
	}
}
