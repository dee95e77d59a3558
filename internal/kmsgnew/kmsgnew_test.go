package kmsgnew_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"

	"weir/internal/kmsgnew"
)

// The analyzer's own cases: each line with a want comment must be found, and no other.
func TestAnalyzer(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), kmsgnew.Analyzer, "answers")
}

// The core makes every answer by kmsg's constructors.
func TestCoreUsesConstructors(t *testing.T) {
	loaded, err := packages.Load(&packages.Config{Mode: packages.LoadSyntax, Dir: "../.."}, "./core/...")
	require.NoError(t, err)
	require.Greater(t, len(loaded), 5)
	require.Zero(t, packages.PrintErrors(loaded))
	graph, err := checker.Analyze([]*analysis.Analyzer{kmsgnew.Analyzer}, loaded, nil)
	require.NoError(t, err)
	for _, root := range graph.Roots {
		for _, d := range root.Diagnostics {
			t.Errorf("%s: %s", root.Package.Fset.Position(d.Pos), d.Message)
		}
	}
}
