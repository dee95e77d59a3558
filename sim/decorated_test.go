package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/node"
	"weir/faults"
	"weir/sim/machine"
	"weir/sim/plan"
)

// decorated is a node behind an injector of faults.
type decorated struct {
	faults.Loop
	node machine.Node
}

func (d decorated) Shutdown(done func()) { d.node.Shutdown(done) }
func (d decorated) Abandon()             { d.node.Abandon() }
func (d decorated) Core() *node.Node     { return d.node.(*node.Node) }

// decorate builds nodes whose environment has the decorators of package faults. The plan is that of the first incarnation;
// those that follow have none. The node's metrics are left in metrics, if one is given.
func decorate(t *testing.T, p faults.Plan, metrics ...*env.Metrics) Build {
	return func(e env.Env, o NodeOptions) machine.Node {
		for _, m := range metrics {
			*m = e.Metrics
		}
		i, err := faults.NewInjector(p, faults.Options{Place: faults.Place{Node: 1, Zone: "1"}, Env: e})
		require.NoError(t, err)
		p = nil
		ready := o.Ready
		o.Ready = func(address string) {
			i.Begin(faults.Serving)
			ready(address)
		}
		n := realNode(i.Env(), o)
		return decorated{i.Drive(n), n}
	}
}

// Decorators that have nothing to do change nothing: the trace is the same.
func TestSilentDecorators(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		p := plan.Swarm(seed)
		want := Run(seed, p, Options{NoLinear: true})
		require.True(t, want.OK(), want.Violations)
		got := Run(seed, p, Options{NoLinear: true, Build: decorate(t, nil)})
		require.True(t, got.OK(), got.Violations)
		require.Equal(t, want.Hash, got.Hash, "seed %d", seed)
	}
}

// badWeather is what a broker of the real world may be told to do to itself, all of it over before the clients end.
const badWeather = `
disk:wal slow at=300ms for=2s rate=30% times=5
disk:meta stall at=500ms for=2s rate=10% by=50ms
disk:wal full at=2s for=300ms
store refuse at=200ms for=3s rate=20%
store lost-after for=3s rate=10%
store lost-before for=3s rate=10%
store late for=3s rate=10%
store short for=3s rate=40%
store corrupt for=3s rate=30%
store slow at=1s for=2s rate=50% times=3
store stall at=1s for=2s rate=10% by=200ms
store deny-get at=1s for=500ms
store deny-put at=1500ms for=500ms
store uplink at=2s for=1s bytes=200000
store downlink at=2s for=1s bytes=200000
link:clients->nodes cut at=1s for=300ms
link:nodes->clients stall at=2s for=300ms
link:clients<->nodes reset at=2500ms
clock drift at=500ms for=3s by=200us
`

// What decorators do is what package env allows: under all of it nothing that was acknowledged is lost, and whatever is
// submitted completes once.
func TestDecoratorsKeepTheContract(t *testing.T) {
	weather, err := faults.ParsePlan(badWeather)
	require.NoError(t, err)
	struck := map[string]int64{}
	for seed := uint64(1); seed <= 8; seed++ {
		p := plan.Swarm(seed)
		p.Faults = nil
		r := Run(seed, p, Options{NoLinear: true, Build: decorate(t, weather)})
		require.True(t, r.OK(), "seed %d: %v\n%s", seed, r.Violations, strings.Join(r.Log, "\n"))
		var metrics env.Metrics
		again := Run(seed, p, Options{NoLinear: true, Build: decorate(t, weather, &metrics)})
		require.Equal(t, r.Hash, again.Hash, "the same faults strike the same operations")
		for _, f := range weather {
			name := fmt.Sprintf(`weir_faults_injected_total{effect="%s",target="%v"}`, f.Effect, f.Target)
			struck[f.String()] += metrics.(*machine.Metrics).Value(name).Sum
		}
	}
	for _, f := range weather {
		if f.Target.Kind != faults.Clock {
			require.Positive(t, struck[f.String()], "%v never struck", f)
		}
	}
}

// A failing sync ends the incarnation, and its successor has everything.
func TestDecoratedSyncError(t *testing.T) {
	p := plan.Reference()
	p.Config.Duration = 6 * time.Second
	r := Run(1, p, Options{NoLinear: true, Build: decorate(t, faults.Plan{{
		Target: faults.Target{Kind: faults.Disks, Disk: faults.WAL}, Effect: faults.SyncError, At: 2 * time.Second, For: time.Second,
	}})})
	require.True(t, r.OK(), r.Violations)
	require.Positive(t, r.Marks["world: the node gave up"])
}
