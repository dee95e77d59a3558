package coordinator_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/coordinator"
	"weir/core/coordinator/coordinatortest"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// registers keep the newest value of each key; what a transaction wrote counts from its marker on.
type registers struct {
	values map[string]string
	staged map[int64]map[string]string
	served bool
	closed wire.Code
	last   int64
}

func newRegisters(*coordinator.Shard) coordinator.Machine {
	return &registers{values: map[string]string{}, staged: map[int64]map[string]string{}, last: -1}
}

func (m *registers) Apply(r *coordinator.Record) error {
	if r.Offset <= m.last {
		return fmt.Errorf("offset %d after %d", r.Offset, m.last)
	}
	m.last = r.Offset
	into := m.values
	if r.ProducerID >= 0 {
		if m.staged[r.ProducerID] == nil {
			m.staged[r.ProducerID] = map[string]string{}
		}
		into = m.staged[r.ProducerID]
	}
	if r.Value == nil {
		delete(into, string(r.Key))
		return nil
	}
	if string(r.Value) == "poison" {
		return errors.New("unknown version")
	}
	into[string(r.Key)] = string(r.Value)
	return nil
}

func (m *registers) ApplyMarker(k *coordinator.Marker) error {
	if k.Commit {
		maps.Copy(m.values, m.staged[k.ProducerID])
	}
	delete(m.staged, k.ProducerID)
	return nil
}

func (m *registers) Serve()               { m.served = true }
func (m *registers) Close(code wire.Code) { m.closed = code }
func (m *registers) Keys() []string       { return slices.Sorted(maps.Keys(m.values)) }
func (m *registers) Rewrite(key string) ([]coordinator.Entry, coordinator.Next) {
	if v, ok := m.values[key]; ok {
		return []coordinator.Entry{{Key: []byte(key), Value: []byte(v)}}, nil
	}
	return nil, nil
}

func open(log *coordinatortest.Log) *coordinatortest.Cluster {
	return coordinatortest.Open("__consumer_offsets", []*coordinatortest.Log{log}, &coordinatortest.Clock{}, newRegisters)
}

func machine(c *coordinatortest.Cluster) *registers {
	s, _ := c.Runtime.Find("k")
	if s == nil {
		return nil
	}
	return s.Machine().(*registers)
}

func set(key, value string, done func(wire.Code)) *coordinator.Operation {
	return &coordinator.Operation{
		Key: key, Done: done,
		Decide: func() []coordinator.Entry {
			return []coordinator.Entry{{Key: []byte(key), Value: []byte(value)}}
		},
	}
}

func TestOperationIsAnsweredOnceItIsApplied(t *testing.T) {
	log := &coordinatortest.Log{Held: true}
	c := open(log)
	s, code := c.Runtime.Find("k")
	require.Equal(t, wire.Code(wire.None), code)
	var answers []string
	s.Do(set("k", "1", func(code wire.Code) { answers = append(answers, fmt.Sprint("first ", code, machine(c).values["k"])) }))
	s.Do(&coordinator.Operation{
		Key: "k",
		Decide: func() []coordinator.Entry {
			answers = append(answers, "decides on "+machine(c).values["k"])
			return nil
		},
		Done: func(wire.Code) { answers = append(answers, "second") },
	})
	s.Do(&coordinator.Operation{Key: "other", Decide: func() []coordinator.Entry { return nil }, Done: func(wire.Code) { answers = append(answers, "other") }})
	c.Turn()
	require.Equal(t, []string{"other"}, answers, "nothing is durable")
	log.Durable()
	c.Turn()
	require.Equal(t, []string{"other", "first 01", "decides on 1", "second"}, answers)
}

// What is being written counts until it is applied or refused, so that many requests together do not pass the bound; what a shard
// holds is given back when it closes.
func TestMemoryIsCounted(t *testing.T) {
	log := &coordinatortest.Log{Held: true}
	c := open(log)
	c.Memory.Max = 2000
	s, _ := c.Runtime.Find("k")
	s.Hold(500)
	s.Do(set("k", strings.Repeat("x", 1000), func(wire.Code) {}))
	require.Greater(t, c.Memory.Held(), int64(1500))
	require.True(t, s.Admits(100))
	require.False(t, s.Admits(500))
	require.True(t, s.Admits(0))
	require.True(t, s.Admits(-5))
	log.Durable()
	c.Turn()
	require.EqualValues(t, 500, c.Memory.Held())
	log.Refuse = wire.RequestTimedOut
	s.Do(set("k", strings.Repeat("x", 1000), func(wire.Code) {}))
	require.EqualValues(t, 500, c.Memory.Held())
	log.Refuse = wire.None
	s.Do(set("k", strings.Repeat("x", 1000), func(wire.Code) {}))
	log.Close()
	c.Turn()
	require.Zero(t, c.Memory.Held())
	s.Hold(100)
	require.Zero(t, c.Memory.Held(), "nobody gives back what a closed shard takes")
}

func TestSharedOperationsRunBesideEachOther(t *testing.T) {
	log := &coordinatortest.Log{Held: true}
	c := open(log)
	s, _ := c.Runtime.Find("k")
	var decided []string
	do := func(name string, shared bool) {
		op := set("k", name, func(wire.Code) {})
		decide := op.Decide
		op.Shared, op.Decide = shared, func() []coordinator.Entry { decided = append(decided, name); return decide() }
		s.Do(op)
	}
	do("a", true)
	do("b", true)
	do("exclusive", false)
	do("c", true)
	require.Equal(t, []string{"a", "b"}, decided)
	for range 4 {
		log.Durable()
		c.Turn()
	}
	require.Equal(t, []string{"a", "b", "exclusive", "c"}, decided)
	require.Equal(t, "c", machine(c).values["k"])
}

func TestClosingAnswersEverythingOnce(t *testing.T) {
	log := &coordinatortest.Log{Held: true}
	c := open(log)
	s, _ := c.Runtime.Find("k")
	answers := map[string]wire.Code{}
	for _, name := range []string{"written", "waits", "reads"} {
		op := set("k", name, func(code wire.Code) {
			_, again := answers[name]
			require.False(t, again)
			answers[name] = code
		})
		if name == "reads" {
			op.Decide = func() []coordinator.Entry { return nil }
		}
		s.Do(op)
	}
	c.Runtime.AwaitApplied(0, 1, func(code wire.Code) { answers["marker"] = code })
	m := machine(c)
	log.Close()
	c.Turn()
	require.Equal(t, map[string]wire.Code{"written": 16, "waits": 16, "reads": 16, "marker": 16}, answers)
	require.Equal(t, wire.Code(wire.NotCoordinator), m.closed)
	_, code := c.Runtime.Find("k")
	require.Equal(t, wire.Code(wire.NotCoordinator), code)
	s.Do(set("k", "late", func(code wire.Code) { answers["late"] = code }))
	require.Equal(t, wire.Code(wire.NotCoordinator), answers["late"])
}

func TestRefusedWriteLeavesNoTrace(t *testing.T) {
	log := &coordinatortest.Log{Refuse: wire.RequestTimedOut}
	c := open(log)
	s, _ := c.Runtime.Find("k")
	var got wire.Code
	s.Do(set("k", "1", func(code wire.Code) { got = code }))
	require.Equal(t, wire.Code(wire.CoordinatorNotAvailable), got)
	require.Empty(t, machine(c).values)
	log.Refuse = wire.None
	s.Do(set("k", "2", func(code wire.Code) { got = code }))
	c.Turn()
	require.Equal(t, wire.Code(wire.None), got)
	require.Equal(t, "2", machine(c).values["k"])
}

func TestLoadingAnswersUntilAllIsApplied(t *testing.T) {
	log := &coordinatortest.Log{}
	c := open(log)
	s, _ := c.Runtime.Find("k")
	s.Do(set("k", "1", func(wire.Code) {}))
	again := log.Reopen()
	again.ReadErr = errors.New("store is down")
	c = open(again)
	_, code := c.Runtime.Find("k")
	require.Equal(t, wire.Code(wire.CoordinatorLoadInProgress), code)
	again.ReadErr = nil
	c.Clock.At = c.Clock.At.Add(time.Minute)
	c.Turn()
	require.Equal(t, "1", machine(c).values["k"])
	require.True(t, machine(c).served)
}

func TestShardThatCannotUnderstandItsLogStops(t *testing.T) {
	log := &coordinatortest.Log{}
	c := open(log)
	s, _ := c.Runtime.Find("k")
	var got wire.Code
	s.Do(set("k", "poison", func(code wire.Code) { got = code }))
	require.Equal(t, wire.Code(wire.NotCoordinator), got)
	_, code := c.Runtime.Find("k")
	require.Equal(t, wire.Code(wire.NotCoordinator), code)
}

// What a shard loads is what was acknowledged, whenever it stopped, and however its log was cut.
func TestReplayEqualsWhatWasServed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := &coordinatortest.Log{Held: true}
		c := open(log)
		acknowledged, unknown := map[string]string{}, map[string][]string{}
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			s, _ := c.Runtime.Find("k")
			switch step := rapid.IntRange(0, 9).Draw(t, "step"); {
			case step < 5:
				key := string(rune('a' + rapid.IntRange(0, 18).Draw(t, "key")))
				value := fmt.Sprint(i, "-", string(make([]byte, 600)))
				op := set(key, value, func(code wire.Code) {
					if code == wire.None {
						acknowledged[key] = value
						unknown[key] = unknown[key][slices.Index(unknown[key], value)+1:]
					}
				})
				unknown[key] = append(unknown[key], value)
				s.Do(op)
			case step == 5:
				p := int64(rapid.IntRange(1, 2).Draw(t, "producer"))
				s.Do(&coordinator.Operation{
					Key: "t", Shared: true, Transactional: true, ProducerID: p, Done: func(wire.Code) {},
					Decide: func() []coordinator.Entry {
						return []coordinator.Entry{{Key: fmt.Append(nil, "t", p), Value: fmt.Append(nil, i)}}
					},
				})
			case step == 6:
				p := int64(rapid.IntRange(1, 2).Draw(t, "producer"))
				log.AppendMarker(p, 0, true)
			case step < 9:
				log.DurableFirst(rapid.IntRange(1, 12).Draw(t, "durable"))
				for range rapid.IntRange(1, 20).Draw(t, "turns") {
					c.Turn()
					log.DurableFirst(1)
				}
			default:
				log.Lose()
				c.Turn()
				log = log.Reopen()
				log.Held = true
				c = open(log)
				for range 20 {
					c.Turn()
				}
				m := machine(c)
				for key, value := range acknowledged {
					if m.values[key] != value {
						require.Contains(t, unknown[key], m.values[key], key)
					}
				}
				for key, value := range m.values {
					if key[0] != 't' {
						acknowledged[key], unknown[key] = value, nil
					}
				}
			}
		}
		for range 40 {
			log.Durable()
			c.Turn()
		}
		before := machine(c)
		after := open(log.Reopen())
		for range 40 {
			after.Turn()
		}
		require.Equal(t, before.values, machine(after).values)
		require.Equal(t, before.staged, machine(after).staged)
	})
}

// large is a machine whose one key takes several batches to be written anew.
type large struct{ registers }

func (m *large) Rewrite(string) (entries []coordinator.Entry, _ coordinator.Next) {
	for _, key := range slices.Sorted(maps.Keys(m.values)) {
		entries = append(entries, coordinator.Entry{Key: []byte(key), Value: []byte(m.values[key])})
	}
	return entries, nil
}

func (m *large) Keys() []string { return []string{"k"} }

// A log is cut only once all of a key is written anew: if a part of it is refused, what it says is still where it was.
func TestLogIsNotCutBelowWhatIsNotWrittenAnew(t *testing.T) {
	log := &coordinatortest.Log{}
	c := coordinatortest.Open("__consumer_offsets", []*coordinatortest.Log{log}, &coordinatortest.Clock{}, func(*coordinator.Shard) coordinator.Machine {
		return &large{*newRegisters(nil).(*registers)}
	})
	s, _ := c.Runtime.Find("k")
	s.Do(set("a", strings.Repeat("x", 100_000), func(wire.Code) {}))
	s.Do(set("b", strings.Repeat("x", 200_000), func(wire.Code) {}))
	s.Do(set("c", strings.Repeat("x", 100_000), func(wire.Code) {}))
	log.BytesMax = 150_000 // max.message.bytes was lowered: it takes a and c, but not b
	for range 20 {
		c.Turn()
	}
	require.Zero(t, log.LogStart())
	log.BytesMax = 250_000 // it takes each, but not two together
	for range 20 {
		s.Do(set("a", strings.Repeat("y", 200_000), func(wire.Code) {}))
		c.Turn()
	}
	require.Positive(t, log.LogStart())
	after, _ := open(log.Reopen()).Runtime.Find("k")
	require.Len(t, after.Machine().(*registers).values, 3)
}

// A turn of the loop applies a bounded part of the logs that are in memory, however many partitions open at once.
func TestALoadTakesTurns(t *testing.T) {
	var logs []*coordinatortest.Log
	for range 3 {
		log := &coordinatortest.Log{}
		for i := range 20 {
			log.AppendRecord(-1, fmt.Append(nil, i), make([]byte, 100<<10))
		}
		logs = append(logs, log)
	}
	var machines []*registers
	c := coordinatortest.Open("__consumer_offsets", make([]*coordinatortest.Log, len(logs)), &coordinatortest.Clock{}, func(*coordinator.Shard) coordinator.Machine {
		machines = append(machines, newRegisters(nil).(*registers))
		return machines[len(machines)-1]
	})
	copy(c.Logs, logs)
	c.Loop.Post(c.Runtime.ImageChanged)
	for loaded := 0; loaded < 3*20; {
		c.Loop.Turn(nil)
		now := 0
		for _, m := range machines {
			now += len(m.values)
		}
		require.LessOrEqual(t, now-loaded, 4) // 256 KiB, and what begins below that
		loaded = now
	}
	c.Turn()
	for _, m := range machines {
		require.True(t, m.served)
	}
}

// stepped is a machine with a key that is written anew in three steps, and many that have nothing to write.
type stepped struct {
	registers
	rewritten, steps int
}

func (m *stepped) Keys() (keys []string) {
	for i := range 1000 {
		keys = append(keys, fmt.Sprint("empty ", i))
	}
	return append(keys, "k")
}

func (m *stepped) Rewrite(key string) ([]coordinator.Entry, coordinator.Next) {
	m.rewritten++
	if key != "k" {
		return nil, nil
	}
	step := func() ([]coordinator.Entry, bool) {
		m.steps++
		return []coordinator.Entry{{Key: fmt.Append(nil, "step ", m.steps), Value: []byte("x")}}, m.steps == 3
	}
	entries, _ := step()
	return entries, step
}

// So does the writing anew, of many keys and of a large one. What waits for the key comes behind its last step.
func TestALogIsWrittenAnewInTurns(t *testing.T) {
	m := &stepped{registers: *newRegisters(nil).(*registers)}
	log := &coordinatortest.Log{}
	c := coordinatortest.Open("__consumer_offsets", []*coordinatortest.Log{log}, &coordinatortest.Clock{}, func(*coordinator.Shard) coordinator.Machine { return m })
	s, _ := c.Runtime.Find("k")
	s.Do(set("a", strings.Repeat("x", 100_000), func(wire.Code) {}))
	turns := 0
	for ; m.steps < 3; turns++ {
		rewritten, steps := m.rewritten, m.steps
		c.Loop.Turn(nil)
		require.LessOrEqual(t, m.rewritten-rewritten, 64)
		require.LessOrEqual(t, m.steps-steps, 1)
		if m.steps == 1 && steps == 0 {
			s.Do(set("k", "later", func(wire.Code) { require.Equal(t, "x", m.values["step 3"]) }))
		}
	}
	require.Greater(t, turns, 15)
	c.Turn()
	require.Equal(t, "later", m.values["k"])
	require.Positive(t, log.LogStart())
}

// An operation between two steps is answered when the shard closes.
func TestStepsEndWithTheShard(t *testing.T) {
	log := &coordinatortest.Log{}
	c := open(log)
	s, _ := c.Runtime.Find("k")
	var got []wire.Code
	op := &coordinator.Operation{Key: "k", Done: func(code wire.Code) { got = append(got, code) }}
	op.Decide = func() []coordinator.Entry {
		op.Next = func() ([]coordinator.Entry, bool) { return nil, false }
		return nil
	}
	s.Do(op)
	c.Loop.Turn(nil)
	require.Empty(t, got)
	log.Close()
	c.Turn()
	require.Equal(t, []wire.Code{wire.NotCoordinator}, got)
}

func TestPartitionOfIsKafkas(t *testing.T) {
	// From org.apache.kafka.common.utils.Utils.abs(key.hashCode()) % n.
	for key, want := range map[string]int32{"": 0, "a": 47, "console-consumer-1": 24, "my-group": 12, "große-gruppe": 34, "😀x": 39, "polygenelubricants": 0} {
		require.Equal(t, want, coordinator.PartitionOf(key, 50), key)
	}
}

func TestCodesOfRefusedWritesAreForClients(t *testing.T) {
	for code, want := range map[wire.Code]wire.Code{
		wire.RequestTimedOut:         wire.CoordinatorNotAvailable,
		wire.UnknownTopicOrPartition: wire.CoordinatorNotAvailable,
		wire.PolicyViolation:         wire.CoordinatorNotAvailable, // clients ask again, until there are fewer open transactions
		wire.NotLeaderOrFollower:     wire.NotCoordinator,
		wire.MessageTooLarge:         wire.UnknownServerError,
		wire.InvalidTxnState:         wire.InvalidTxnState,
	} {
		require.Equal(t, want, coordinator.ClientCode(code))
	}
}
