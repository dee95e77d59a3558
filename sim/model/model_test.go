package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// statesMin is how many states a search without defects must visit: else the model has lost its steps.
const statesMin = 1000

func TestSlotsAndSeals(t *testing.T) { searchAll(t, slotRules, searchSlots) }

func TestLeasesAndFences(t *testing.T) { searchAll(t, leaseRules, searchLeases) }

// searchAll searches a model with all rules, and without each of them.
func searchAll(t *testing.T, all []string, search func(rules) finding) {
	f := search(nil)
	require.Empty(t, f.broken, "with all rules kept:\n  %s", strings.Join(f.trace, "\n  "))
	require.Greater(t, f.states, statesMin)
	t.Logf("%d states", f.states)
	for _, rule := range all {
		t.Run(rule, func(t *testing.T) {
			f := search(rules{rule: true})
			require.NotEmpty(t, f.broken, "nothing breaks without it in %d states", f.states)
			t.Logf("%s, after %d states:\n  %s", f.broken, f.states, strings.Join(f.trace, "\n  "))
		})
	}
}
