package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/faults"
)

// Whatever the swarm draws is a fault, and the same strike again.
func TestStrikesAreFaults(t *testing.T) {
	for seed := uint64(0); seed < 300; seed++ {
		for _, p := range []*Plan{Swarm(seed), ClusterSwarm(seed)} {
			strikes, err := p.Strikes()
			require.NoError(t, err)
			for _, s := range strikes {
				f, err := s.fault()
				require.NoError(t, err)
				again, err := strikeOf(&f)
				require.NoError(t, err)
				require.Equal(t, s, again, "%v", f)
			}
		}
	}
}

func TestEachKindIsInTheTable(t *testing.T) {
	all := slices.Concat(FaultKinds, ClusterFaultKinds, LossKinds)
	for _, name := range all {
		require.Equal(t, name, kindOf(name).name)
	}
	require.Len(t, kinds, len(all))
}

// What plans said before there was a vocabulary is still understood.
func TestPlansInStrikes(t *testing.T) {
	for line, want := range map[string]string{
		"fault wal-slow at=1s for=2s rate=20000 node=2":          "fault disk:wal@node:2 slow at=1s for=2s times=20",
		"fault meta-stall at=1s rate=5000 amount=20ms":           "fault disk:meta stall at=1s rate=0.5% by=20ms",
		"fault store-refuse at=1s for=7s rate=1000":              "fault store refuse at=1s for=7s",
		"fault store-late at=1s for=7s rate=200":                 "fault store late at=1s for=7s rate=20%",
		"fault crash-super at=2s for=20ms early=1":               "fault nodes crash at=2s for=20ms since=boot when=super",
		"fault cut-in at=2s for=1s client=3 zone=2":              "fault link:client:3->zone:2 cut at=2s for=1s",
		"fault cut-out at=2s for=1s client=-1":                   "fault link:nodes->clients cut at=2s for=1s",
		"fault cut at=2s":                                        "fault link:client:0<->nodes cut at=2s",
		"fault stall at=2s client=1":                             "fault link:nodes->client:1 stall at=2s",
		"fault meta-lost at=2s for=1s amount=1s":                 "fault disk:meta lose at=2s for=1s",
		"fault disks-old at=2s for=1s amount=1s":                 "fault disk:* restore at=2s for=1s by=1s",
		"fault clock-step at=6s amount=-1h0m0s":                  "fault clock step at=6s by=-1h0m0s",
		"fault store-uplink at=1s for=38s rate=200000":           "fault store uplink at=1s for=38s bytes=200000",
		"fault net-slow at=0s for=3s rate=3000 client=-1 node=1": "fault link:clients<->node:1 slow for=3s times=3",
		"fault store-late at=1s for=7s rate=200 node=2":          "fault store@node:2 late at=1s for=7s rate=20%",
		"fault peer-cut at=1s for=2s node=2":                     "fault link:nodes<->node:2 cut at=1s for=2s",
		"fault peer-cut-in at=1s for=2s zone=3":                  "fault link:nodes->zone:3 cut at=1s for=2s",
		"fault peer-cut-out at=1s for=2s node=2":                 "fault link:node:2->nodes cut at=1s for=2s",
		"fault peer-slow at=1s for=2s node=2 rate=20000":         "fault link:nodes<->node:2 slow at=1s for=2s times=20",
		"fault peer-reset at=1s node=2":                          "fault link:nodes<->node:2 reset at=1s",
		"fault isolate at=1s for=2s zone=1":                      "fault zone:1 isolate at=1s for=2s",
		"fault clock-drift at=1s for=2s node=1 rate=-4500":       "fault clock@node:1 drift at=1s for=2s by=-4.5ms",
	} {
		p, err := Parse(line)
		require.NoError(t, err, line)
		require.Equal(t, "config\n"+want+"\n", p.String())
		again, err := Parse(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	}
}

// A fault that makes sense, and that the simulator cannot do, is refused with the reason, and nothing panics.
func TestWhatTheSimulatorCannotDo(t *testing.T) {
	for line, why := range map[string]string{
		"fault link:node:1->node:2 cut":          "with all others",
		"fault link:zone:1<->zone:2 cut":         "with all others",
		"fault link:nodes<->nodes cut":           "with all others",
		"fault link:nodes->node:2 slow times=2":  "both ways",
		"fault link:node:2->nodes stall":         "what clients read",
		"fault peer-cut at=1s":                   "one side",
		"fault link:*->node:2 cut":               "between clients and brokers",
		"fault link:clients->* cut":              "between clients and brokers",
		"fault link:clients->nodes slow times=2": "both ways",
		"fault link:clients->nodes stall":        "what clients read",
		"fault store@node:2 uplink bytes=9":      "as wide for all brokers",
		"fault store-uplink rate=9 zone=2":       "as wide for all brokers",
		"fault node:0 crash":                     "numbered from 1",
		"fault zone:b crash":                     "numbers from 1",
		"fault zone:01 crash":                    "numbers from 1",
		"fault clock drift by=1ns":               "whole millionths",
		"fault disk:* full":                      "no such fault",
		"fault store stall by=1s":                "no such fault",
		"fault disk:wal slow times=2 rate=1%":    "strikes all operations",
		"fault store refuse rate=0.01%":          "tenths of a percent",
		"fault store-refuse at=1s":               "strikes nothing",
		"fault store explode":                    "no effect",
		"fault wal-slow rate=x":                  "rate",
	} {
		_, err := Parse(line)
		require.ErrorContains(t, err, why, line)
		require.ErrorContains(t, err, "line 1")
	}
}

// Two ends of a link that is struck both ways may be named in either order.
func TestLinksHaveNoFirstEnd(t *testing.T) {
	strike := func(line string) Strike {
		f, err := faults.Parse(line)
		require.NoError(t, err)
		s, err := strikeOf(&f)
		require.NoError(t, err)
		return s
	}
	require.Equal(t, strike("link:client:4<->node:2 cut at=1s"), strike("link:node:2<->client:4 cut at=1s"))
	require.Equal(t, Strike{Kind: "cut", Client: 4, Node: 2, At: time.Second}, strike("link:node:2<->client:4 cut at=1s"))
	require.Equal(t, strike("link:nodes<->node:2 slow times=3"), strike("link:node:2<->nodes slow times=3"))
}

// Resetting and removing keep a plan one that runs.
func TestShrunkPlansStayPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.SampledFrom([]func(uint64) *Plan{Swarm, ClusterSwarm}).Draw(t, "swarm")
		p := draw(rapid.Uint64Range(0, 1000).Draw(t, "seed"))
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			if n := p.Settings(); n > 0 {
				p = p.Reset(rapid.IntRange(0, n-1).Draw(t, "setting"))
			}
		}
		_, err := p.Strikes()
		require.NoError(t, err)
		_, err = Parse(p.String())
		require.NoError(t, err)
	})
}
