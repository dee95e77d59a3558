package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A defect whose text is no longer in the source would be reported only by the
// next long run.
func TestEveryDefectStillApplies(t *testing.T) {
	root := "../.."
	all, err := load(filepath.Join(root, "sim/mutants"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		for _, p := range m.pieces {
			data, err := os.ReadFile(filepath.Join(root, p.file))
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
				continue
			}
			if n := strings.Count(string(data), p.from); n != 1 {
				t.Errorf("%s: %s has the text to replace %d times, not once", m.name, p.file, n)
			}
			if p.from == p.to {
				t.Errorf("%s: changes nothing", m.name)
			}
		}
	}
}

func TestPlantAndRestore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.go")
	if err := os.WriteFile(file, []byte("one\ntwo\nthree\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := parse("m", "# a story\n# args: -seeds 3\n--- a.go\ntwo\n+++\n2\n")
	if err != nil || len(m.args) != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	restore, err := m.plant(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != "one\n2\nthree\n" {
		t.Errorf("planted: %q", got)
	}
	restore()
	if got, _ := os.ReadFile(file); string(got) != "one\ntwo\nthree\n" {
		t.Errorf("restored: %q", got)
	}
	m.pieces[0].from = "e"
	if _, err := m.plant(dir); err == nil {
		t.Error("an ambiguous text was replaced")
	}
}
