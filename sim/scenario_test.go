package sim

import (
	"os"
	"path/filepath"
	"testing"

	"weir/sim/plan"
)

// scenarioSeeds are run for each scenario: a story is told in several ways.
const scenarioSeeds = 3

// TestScenarios runs the stories under testdata/scenarios; each says in its head
// which rule of the protocol it is about.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.plan")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			for seed := uint64(1); seed <= scenarioSeeds; seed++ {
				r := Run(seed, p, scenarioOptions())
				for _, v := range r.Violations {
					t.Fatalf("weir-sim run -seed %d -plan sim/%s: %v", seed, file, v)
				}
				if r.Acked == 0 || r.Faults == 0 {
					t.Errorf("seed %d: %d batches acknowledged, %d faults: the story was not told", seed, r.Acked, r.Faults)
				}
			}
		})
	}
}

func scenarioOptions() Options { return Options{Build: buildFake(&fakeDisk{}, "")} }
