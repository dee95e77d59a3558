package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/sim/plan"
)

// A broker that is away for longer than its session is fenced, and another recovers its log: that is what is seen of the
// kill. A fault that nobody notices has no effect.
func TestEffectsOfFaults(t *testing.T) {
	p, err := plan.Parse(`
config duration=12s wal=4194304 wal-shared=1 session=1s restarts=0
broker zone=1
broker zone=2
broker zone=3
topic name=t partitions=6
client producer rate=50 records=4 value=100 in-flight=5 spread=6 idempotent=1
fault clock-step node=1 at=500ms amount=1s
fault kill node=2 at=5s for=4s
`)
	require.NoError(t, err)
	r := Run(1, p, Options{})
	require.True(t, r.OK(), r.Violations)
	kill := r.Effects["kill"]
	require.Equal(t, Effect{Injected: 1, Retries: 1, Fences: 1, Failovers: 1, Moves: kill.Moves}, *kill)
	require.Equal(t, int64(1), r.Effects["clock-step"].None)

	sum := Effect{}
	sum.Add(kill)
	sum.Add(kill)
	require.Equal(t, int64(2), sum.Failovers)
}
