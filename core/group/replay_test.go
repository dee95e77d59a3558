package group

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/coordinator/coordinatortest"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// durable is everything of a machine that its log must give again.
func (m *Machine) durable() string {
	var b strings.Builder
	for _, g := range m.sorted() {
		entries := []string{}
		if g.members != nil {
			for _, e := range g.members.entries() {
				entries = append(entries, fmt.Sprintf("%x=%x", e.Key, e.Value))
			}
		}
		if len(entries) == 0 && len(g.offsets) == 0 && len(g.staged) == 0 {
			continue // ids were handed out
		}
		fmt.Fprintf(&b, "group %s %v\n", g.id, entries)
		w := g.walk()
		for tp, ok := w.next(g); ok; tp, ok = w.next(g) {
			if g.offset(tp) == nil {
				fmt.Fprintf(&b, "  staged %v\n", tp)
				continue
			}
			o := *g.offset(tp)
			o.at = 0
			fmt.Fprintf(&b, "  %v %+v\n", tp, o)
		}
	}
	for _, producer := range slices.Sorted(maps.Keys(m.open)) {
		t := m.open[producer]
		t.shorten()
		for _, at := range t.order {
			fmt.Fprintf(&b, "%d stages %v %d\n", producer, at, t.values[at].value)
		}
	}
	return b.String()
}

// history is a machine that is driven at random, with what was durable at each end of the log.
type history struct {
	*rig
	known map[int64]string
	ids   []string
}

// settle makes everything durable, and notes the state at that end.
func (h *history) settle() {
	for range 4 {
		h.log.Durable()
		h.Turn()
		h.known[h.log.HighWatermark()] = h.machine().durable()
	}
	require.Equal(h.t, h.machine().recount(), h.Memory.Held())
}

func (h *history) step(t *rapid.T) {
	m := h.machine()
	id := func() string {
		if len(h.ids) == 0 {
			return ""
		}
		return rapid.SampledFrom(h.ids).Draw(t, "member")
	}
	generation := int32(0)
	if g := m.groups["g"]; g != nil && g.members != nil {
		generation = g.members.(*classic).generation
	}
	topic, partition := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic"), int32(rapid.IntRange(0, 1).Draw(t, "partition"))
	switch rapid.IntRange(0, 12).Draw(t, "step") {
	case 0, 1:
		j := h.join(id())
		h.pass(3 * time.Second)
		if j.out != nil && j.out.ErrorCode == 0 {
			h.ids = append(h.ids, j.out.MemberID)
		}
	case 2:
		h.join("", static("i"))
	case 3, 4:
		h.sync(id(), generation, h.ids...)
	case 5:
		h.leave(id())
	case 6, 7, 8:
		h.commit(topic, partition, int64(rapid.IntRange(0, 99).Draw(t, "offset")), by(id(), generation), func(q *kmsg.OffsetCommitRequest) {
			if rapid.Bool().Draw(t, "simple") {
				q.Group, q.MemberID, q.Generation = "simple", "", -1
			}
		})
	case 9, 10:
		producer := int64(rapid.IntRange(1, 2).Draw(t, "producer"))
		h.stage(producer, topic, partition, int64(rapid.IntRange(100, 199).Draw(t, "offset")))
	case 11:
		h.log.AppendMarker(int64(rapid.IntRange(1, 2).Draw(t, "producer")), 0, rapid.Bool().Draw(t, "commit"))
		h.Turn()
	default:
		switch rapid.IntRange(0, 4).Draw(t, "rare") {
		case 0:
			m.DeleteGroup(rapid.SampledFrom([]string{"g", "simple"}).Draw(t, "group"), func(wire.Code) {})
		case 1:
			h.deleteOffsets(topic, partition)
		case 2:
			h.pass(time.Duration(rapid.IntRange(1, 100).Draw(t, "hours")) * time.Hour)
		case 3:
			h.log.Refuse = wire.RequestTimedOut
			h.commit(topic, partition, 1)
			h.log.Refuse = wire.None
		default:
			h.reload()
			h.ids = nil
		}
	}
}

// What a machine loads is what it has served, wherever its log ends, and however it was shortened.
func TestReplayIsWhatWasServed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{rig: newRig(t), known: map[int64]string{}}
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			h.step(rt)
			h.settle()
		}
		for _, end := range slices.Sorted(maps.Keys(h.known)) {
			if end < h.log.LogStart() || h.shortened(end) {
				continue
			}
			r := &rig{t: t, config: h.config, image: h.image}
			r.open(h.log.At(end), &coordinatortest.Clock{At: h.Clock.At})
			require.Equal(t, h.known[end], r.machine().durable(), "at %d of %d", end, h.log.LogEnd())
			require.Equal(t, r.machine().recount(), r.Memory.Held())
			if end == h.log.LogEnd() {
				require.Equal(t, h.machine().recountDurable(), r.machine().recountDurable())
			}
		}
	})
}

// shortened reports whether the log, as it was cut later, lacks what the state at this end rests on: the copies above
// the cut come after it.
func (h *history) shortened(end int64) bool { return h.log.LogStart() > 0 && end < h.log.LogEnd() }

// A committed offset below a staged one is not copied when the log is shortened, and the log stays that long: a marker that
// is in the log already could come before the copy.
func TestShortenedLogKeepsWhatIsBelowStagedOffsets(t *testing.T) {
	r := newRig(t)
	r.commit("b", 0, 7)
	r.stage(7, "b", 0, 8)
	for i := range 200 { // the log is written anew and cut
		r.commit("a", 0, int64(i))
		r.Turn()
	}
	require.Zero(t, r.log.LogStart())
	r.marker(7, false)
	r.reload()
	require.EqualValues(t, 7, r.offset("b", 0))
	for i := range 200 {
		r.commit("a", 0, int64(i))
		r.Turn()
	}
	require.Positive(t, r.log.LogStart(), "nothing is staged: it is cut")
	r.reload()
	require.EqualValues(t, 7, r.offset("b", 0))
	require.EqualValues(t, 199, r.offset("a", 0))
}

// A member id has more bytes than the instance id that it is made of, which may be as long as a string can be.
func TestGroupOfALongInstanceIDIsReadAgain(t *testing.T) {
	r := newRig(t)
	j := r.join("", static(strings.Repeat("i", 32767)))
	r.Clock.At = r.Clock.At.Add(time.Minute)
	r.Turn()
	require.Equal(t, wire.Code(wire.None), j.code())
	require.Equal(t, wire.Code(wire.None), r.sync(j.out.MemberID, j.out.Generation, j.out.MemberID).code())
	r.open(r.log.Reopen(), r.Clock)
	r.Turn()
	require.Contains(t, r.machine().durable(), "group g")
}
