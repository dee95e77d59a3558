package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// Members are removed in a time that is proportional to their number: with work that is quadratic, each of these takes minutes.
func TestManyMembersGoTogether(t *testing.T) {
	const many = 60_000
	for name, remove := range map[string]func(*rig, []string){
		"silent": func(r *rig, _ []string) { r.pass(time.Hour) },
		"silent after a load": func(r *rig, _ []string) {
			r.reload()
			r.pass(time.Hour)
		},
		"absent from a rebalance": func(r *rig, ids []string) {
			r.join(ids[0])
			r.pass(31 * time.Second)
		},
		"without a sync": func(r *rig, ids []string) {
			for _, id := range ids {
				r.join(id)
			}
			r.pass(31 * time.Second)
			r.pass(31 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ids, _ := r.stable(many, timeouts(25*time.Minute, 30*time.Second))
			remove(r, ids)
			if g := r.machine().groups["g"]; g != nil {
				c, _ := g.members.(*classic)
				require.LessOrEqual(t, len(c.members), 1)
				require.LessOrEqual(t, c.owing, len(c.members))
			}
			require.Equal(t, r.machine().recount(), r.Memory.Held())
		})
	}
}

// Members of a consumer group whose sessions end together go, also if their tombstones do not fit into one batch.
func TestManyConsumersExpireTogether(t *testing.T) {
	const many = 40
	r := newConsumerRig(t)
	r.log.BytesMax = 1 << 20
	for i := range many {
		id := fmt.Sprint(strings.Repeat("m", 30_000), i)
		require.EqualValues(t, wire.None, r.heartbeat(id, 0, joins("a")).ErrorCode)
	}
	r.pass(time.Minute)
	for range many {
		r.pass(time.Second)
	}
	require.Empty(t, r.machine().consumerOf("g").group.Members())
	require.Equal(t, r.machine().recount(), r.Memory.Held())
	r.reload()
	require.Empty(t, r.machine().consumerOf("g").group.Members())
}

// BenchmarkListGroupsByManyStates is a request of a megabyte: each group looked through all of it, a minute for 10,000 groups.
func BenchmarkListGroupsByManyStates(b *testing.B) {
	words := make([]string, 1<<20)
	for b.Loop() {
		f := NewFilter(words)
		for range 10_000 {
			if f.passes("Stable") {
				b.Fatal("no word names the state")
			}
		}
	}
}
