package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/bill"
	"weir/core/env"
	"weir/sim/plan"
)

// TestTheBillOfARun: every request of a run is on its bill, under a purpose, and what was written and stored is known.
func TestTheBillOfARun(t *testing.T) {
	r := Run(1, plan.Reference(), Options{NoLinear: true})
	require.True(t, r.OK(), r.Violations)
	a := r.Account
	puts := int64(0)
	for purpose := range env.Purposes {
		puts += a.Requests[bill.Put][purpose]
	}
	require.Equal(t, r.Puts, puts)
	require.Zero(t, a.Of(env.PurposeUnstated))
	for _, purpose := range []env.Purpose{env.PurposeUpload, env.PurposeShipment, env.PurposeFounding, env.PurposeCatchUp, env.PurposeSweep} {
		require.Positive(t, a.Of(purpose), "%v", purpose)
	}
	require.Greater(t, a.Sent[env.PurposeUpload], a.Written, "an object holds batches, and an index")
	require.Positive(t, a.Written)
	require.Positive(t, a.Stored)
	require.Equal(t, r.Sim, a.Over)
}
