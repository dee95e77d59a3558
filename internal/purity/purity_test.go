package purity_test

import (
	"testing"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"

	"weir/internal/purity"
)

// The analyzer's own cases: each line with a want comment must be found, and no other.
func TestAnalyzer(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), purity.Analyzer, "goroutines", "outside", "order", "floats", "escapes", "clean")
}

// Every package of the core is pure.
func TestCoreIsPure(t *testing.T) {
	config := &packages.Config{Mode: packages.LoadSyntax | packages.NeedModule, Dir: "../.."}
	loaded, err := packages.Load(config, "./core/...")
	if err != nil {
		t.Fatal(err)
	}
	pure := loaded[:0]
	for _, p := range loaded {
		if !testKit[p.PkgPath] {
			pure = append(pure, p)
		}
	}
	if len(pure) < 5 || packages.PrintErrors(pure) > 0 {
		t.Fatalf("loaded %d packages of the core, some perhaps broken", len(pure))
	}
	graph, err := checker.Analyze([]*analysis.Analyzer{purity.Analyzer}, pure, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range graph.Roots {
		for _, d := range root.Diagnostics {
			t.Errorf("%s: %s", root.Package.Fset.Position(d.Pos), d.Message)
		}
	}
}

// testKit are packages below core/ that only tests import.
var testKit = map[string]bool{
	"weir/core/env/envtest": true, // contract tests, which real implementations pass too
}
