package main

import "testing"

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
