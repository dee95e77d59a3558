package main

import (
	"fmt"
	"testing"
)

// Every rule of the protocol is broken on purpose by a defect, and has a scenario that tells its story. A rule that nothing
// breaks may be kept by nobody.
func TestEveryRuleIsBrokenAndTold(t *testing.T) {
	rules, err := loadRules("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) < 20 {
		t.Fatalf("core/doc.go states %d rules", len(rules))
	}
	for _, r := range rules {
		switch {
		case r.unbuilt:
		case len(r.defects) == 0:
			t.Errorf("%s: no defect in sim/mutants names it", r.name)
		case len(r.stories) == 0:
			t.Errorf("%s: no scenario in sim/testdata/scenarios names it", r.name)
		}
	}
}

// Random seeds have a defect of each of the rules R1 to R20 to hunt.
func TestEveryRuleIsHuntedBySeeds(t *testing.T) {
	rules, err := loadRules("../..")
	if err != nil {
		t.Fatal(err)
	}
	all, err := load("../../sim/mutants")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range rules {
		known[r.name] = true
	}
	for _, m := range all {
		if m.rule != "" && !known[m.rule] {
			t.Errorf("%s: core/doc.go states no rule %s", m.name, m.rule)
		}
	}
	for number := 1; number <= 20; number++ {
		r := rule{name: fmt.Sprintf("R%d", number)}
		if len(r.hunted(all)) == 0 {
			t.Errorf("%s: no defect says that random seeds are to find it", r.name)
		}
	}
}
