package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/sim/plan"
)

// scenarioSeeds are run for each scenario: a story is told in several ways.
const scenarioSeeds = 4

// TestScenarios runs the stories under testdata/scenarios on the real node; each says
// in its head which rule of the protocol it is about, and names the marks without
// which it was not told ("tells").
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.plan")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".plan"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			hits := map[string]int64{}
			for seed := uint64(1); seed <= scenarioSeeds; seed++ {
				r := runScenario(t, seed, file, p)
				for mark, n := range r.Marks {
					hits[mark] += n
				}
			}
			for _, mark := range marksNamed(string(text), "# tells: ") {
				if hits[mark] == 0 {
					t.Errorf("never in %d seeds: %s", scenarioSeeds, mark)
				}
			}
		})
	}
}

func runScenario(t *testing.T, seed uint64, file string, p *plan.Plan) *Result {
	t.Helper()
	r := Run(seed, p, Options{})
	for _, v := range r.Violations {
		t.Fatalf("weir-sim run -seed %d -plan sim/%s: %v", seed, file, v)
	}
	if r.Acked == 0 || r.Faults == 0 {
		t.Errorf("seed %d: %d batches acknowledged, %d faults: the story was not told", seed, r.Acked, r.Faults)
	}
	return r
}

// marksNamed reads the lines of a scenario that name a mark behind head.
func marksNamed(text, head string) (marks []string) {
	for line := range strings.Lines(text) {
		if mark, ok := strings.CutPrefix(strings.TrimSpace(line), head); ok {
			marks = append(marks, mark)
		}
	}
	return marks
}
