package faults

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawParty(t *rapid.T, ofLink bool) Party {
	last := Zone
	if ofLink {
		last = Anyone
	}
	p := Party{Role: Role(rapid.IntRange(0, int(last)).Draw(t, "role"))}
	switch p.Role {
	case Node:
		p.Number = rapid.Int64Range(0, 1<<40).Draw(t, "node")
	case Client:
		p.Number = rapid.Int64Range(0, 60).Draw(t, "client")
	case Zone:
		p.Zone = rapid.StringMatching(`[a-zA-Z0-9]([a-z0-9._-]{0,5}[a-z0-9])?`).Draw(t, "zone")
	}
	return p
}

// drawFault draws any fault that makes sense.
func drawFault(t *rapid.T) Fault {
	f := Fault{Target: Target{Kind: Kind(rapid.IntRange(0, len(effects)-1).Draw(t, "kind"))}}
	f.Target.At = drawParty(t, f.Target.Kind == Link)
	switch f.Target.Kind {
	case Disks:
		f.Target.Disk = rapid.SampledFrom([]string{WAL, Meta, AllDisks}).Draw(t, "disk")
	case Link:
		f.Target.To, f.Target.Both = drawParty(t, true), rapid.Bool().Draw(t, "both")
	}
	f.Effect = Effect(rapid.SampledFrom(effectsOf(f.Target.Kind)).Draw(t, "effect"))
	f.At = time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "at"))
	f.Since = Origin(rapid.IntRange(0, 1).Draw(t, "since"))
	some := func(name string, set bool, least, most int64) int64 {
		if !set {
			return 0
		}
		return rapid.Int64Range(least, most).Draw(t, name)
	}
	has := effects[f.Target.Kind][f.Effect]
	f.For = time.Duration(some("for", !has.instant, 0, 1<<50))
	f.Rate = Rate(some("rate", has.rate, 0, int64(All)))
	f.When = Moment(some("when", has.when, 0, int64(NextSuperblock)))
	f.By = time.Duration(some("by", has.by, 1, int64(time.Second)-1))
	f.Times = Times(some("times", has.times, 1, 1<<40))
	f.Bytes = some("bytes", has.bytes, 1, 1<<50)
	return f
}

// Text and data are the same thing.
func TestTextFormIsWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFault(t)
		if f.Target.validate() != nil { // a link without a broker
			t.Skip("no fault that makes sense")
		}
		require.NoError(t, f.Validate())
		got, err := Parse(f.String())
		require.NoError(t, err)
		require.Equal(t, f, got)
	})
}

func TestPlanIsALineForEachFault(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := Plan(rapid.SliceOf(rapid.Custom(drawFault)).Draw(t, "plan"))
		plan = slices.DeleteFunc(plan, func(f Fault) bool { return f.Validate() != nil })
		got, err := ParsePlan("# a comment\n\n" + plan.String())
		require.NoError(t, err)
		require.Equal(t, plan.String(), got.String())
		require.Len(t, got, len(plan))
	})
}

// What is taken makes sense, and is written as it is read.
func FuzzParse(f *testing.F) {
	for _, line := range examples {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		fault, err := Parse(line)
		if err != nil {
			return
		}
		require.NoError(t, fault.Validate())
		again, err := Parse(fault.String())
		require.NoError(t, err)
		require.Equal(t, fault, again)
	})
}

// examples are lines in the form in which they are printed.
var examples = []string{
	"disk:wal sync-error at=3s rate=0.1%",
	"disk:meta@zone:b stall at=1s for=2s rate=12.5% by=500ms",
	"disk:* restore at=5s for=1s by=2s",
	"store@node:2 lost-after at=1s for=10s rate=20%",
	"store slow for=10s times=2.5",
	"store uplink at=1s bytes=200000",
	"link:zone:a->node:2 cut at=5s for=2s",
	"link:clients<->nodes reset at=1s",
	"link:client:0->* slow since=boot times=20",
	"nodes kill at=4s for=50ms when=put",
	"node:3 pause at=1s for=15s",
	"zone:rack-1.b crash at=2s for=1m0s",
	"clock@node:2 drift at=1s for=5s by=-200µs",
	"clock step at=6s by=-1h0m0s",
}

func TestExamples(t *testing.T) {
	for _, line := range examples {
		f, err := Parse(line)
		require.NoError(t, err)
		require.Equal(t, line, f.String())
	}
}

func TestNonsenseIsRefusedWithItsReason(t *testing.T) {
	for line, why := range map[string]string{
		"":                                     "a target, an effect",
		"store":                                "a target, an effect",
		"moon eclipse":                         `"moon" is no target`,
		"node crash":                           `"node" is no target`,
		"node:x crash":                         "has no number",
		"node:-1 crash":                        "numbered from 0",
		"node:1@node:2 crash":                  "only disks, store and clock",
		"zone: crash":                          "a zone's name",
		"zone:a/b crash":                       "a zone's name",
		"clients crash":                        "only links have clients",
		"store@clients refuse":                 "only links have clients",
		"disk:usb slow times=2":                "disk:wal, disk:meta",
		"link:nodes cut":                       "link:A->B",
		"link:clients->client:1 cut":           "must be a broker",
		"store explode":                        "it has corrupt, deny-get",
		"disk:wal reset":                       "no effect",
		"store refuse at":                      "not name=value",
		"store refuse at=1s at=2s":             "twice",
		"store refuse colour=red":              "no such field",
		"store refuse rate=0.5":                "no percentage",
		"store refuse rate=0%":                 "strikes nothing",
		"store refuse rate=101%":               "between 0.0001% and 100%",
		"store refuse rate=0.00001%":           "more than 4 digits",
		"store refuse rate=-1%":                "not a number",
		"store refuse at=-1s":                  "negative",
		"store refuse at=soon":                 "at: ",
		"store refuse by=1s":                   "takes no by",
		"store slow":                           "needs times",
		"store slow times=x":                   "not a number",
		"store uplink":                         "needs bytes",
		"disk:wal stall":                       "needs by",
		"disk:wal stall by=-1s":                "only clocks go back",
		"disk:wal full rate=1%":                "takes no rate",
		"nodes crash when=lunch":               "none of put wal meta super",
		"nodes pause when=put":                 "takes no when",
		"link:nodes->clients reset for=1s":     "takes no for",
		"clock step":                           "needs by",
		"clock drift by=1s":                    "less than a second",
		"store refuse since=noon":              "none of serving boot",
		"link:zone:a->zone:b cut rate=5%":      "takes no rate",
		"disk:wal@node:1@node:2 full":          "has no number",
		"store refuse rate=99999999999999999%": "not a number",
	} {
		_, err := Parse(line)
		require.ErrorContains(t, err, why, line)
	}
	_, err := ParsePlan("\n# fine\nstore refuse\nstore\n")
	require.ErrorContains(t, err, "line 4")
}

// Each effect that the vocabulary has is explained where it is documented.
func TestEveryEffectIsDocumented(t *testing.T) {
	for kind := range effects {
		for _, effect := range effectsOf(Kind(kind)) {
			require.True(t, strings.Contains(packageComment(t), effect), effect)
		}
	}
}

func packageComment(t *testing.T) string {
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	return string(text)
}
