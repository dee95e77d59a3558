package group

import (
	"bytes"
	"fmt"
	"runtime/metrics"
	"testing"
	"time"

	"weir/core/coordinator/coordinatortest"
	"weir/core/group/consumer"
	"weir/core/record"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// storedRecord is a record of a log: a step of the fuzzer's input.
type storedRecord struct{ key, value []byte }

// realRecords are records that a machine has written, of every type, in their order.
func realRecords(t testing.TB) (all []storedRecord) {
	r := newConsumerRig(t)
	ids, generation := r.stable(2)
	r.commit("a", 0, 5, by(ids[0], generation))
	r.stage(7, "a", 1, 6, func(q *kmsg.TxnOffsetCommitRequest) { q.Group = "staged" })
	r.commit("b", 0, 5, func(q *kmsg.OffsetCommitRequest) { q.Group = "simple" })
	r.leave(ids...)
	for _, group := range []string{"g", "h"} {
		in := func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = group }
		a := r.heartbeat("m1", 0, joins("a", "b"), in)
		r.heartbeat("m2", 0, joins("b"), matches("a|b"), in, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = kmsg.StringPtr("s") })
		r.heartbeat("m1", a.MemberEpoch, in)
		r.heartbeat("m2", a.MemberEpoch, in)
	}
	r.join("", func(q *kmsg.JoinGroupRequest) { q.Protocols[0].Metadata = subscribesTo("a") })
	return realBatches(r)
}

func realBatches(r *rig) (all []storedRecord) {
	for _, b := range r.log.Batches {
		require.NoError(r.t, record.Each(b, 1<<20, func(e record.Record) bool {
			all = append(all, storedRecord{bytes.Clone(e.Key), bytes.Clone(e.Value)})
			return true
		}))
	}
	return all
}

func subscribesTo(topic string) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Topics = []string{topic}
	return s.AppendTo(nil)
}

// recordsOf reads an input: for each record a byte that chooses a real record, one that says what becomes of it, and with some of
// these more bytes. Each record has a key that is real.
func recordsOf(in []byte, real []storedRecord) (out []storedRecord) {
	next := func() byte {
		if len(in) == 0 {
			return 0
		}
		b := in[0]
		in = in[1:]
		return b
	}
	for len(in) > 0 && len(out) < 200 {
		r := real[int(next())%len(real)]
		r.value = bytes.Clone(r.value)
		switch kind := next(); kind % 6 {
		case 0: // as it is
		case 1:
			r.value = nil
		case 2: // any bytes
			n := min(int(next()), len(in))
			r.value, in = append([]byte{}, in[:n]...), in[n:]
		case 3: // cut off
			r.value = r.value[:int(next())%(len(r.value)+1)]
		case 4: // some bytes changed
			for range 1 + kind/6%4 {
				if at := int(next()); len(r.value) > 0 {
					r.value[at%len(r.value)] = next()
				}
			}
		case 5: // the value of another key of the same type
			for i := range real {
				if o := real[(i+int(kind/6))%len(real)]; o.key[1] == r.key[1] {
					r.value = bytes.Clone(o.value)
					break
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// FuzzLoad loads a log of any values under keys that there are, in any order. It must load and serve, or say that it cannot be
// understood, in bounded memory.
func FuzzLoad(f *testing.F) {
	all := realRecords(f)
	whole := []byte{}
	for i := range all {
		whole = append(whole, byte(i), 0)
		f.Add([]byte{byte(i), 4, 9, 0xff, byte(i), 1})
		f.Add([]byte{byte(i), 0, byte(i), 5 + 6})
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, in []byte) {
		records := recordsOf(in, all)
		r := newConsumerRig(t)
		r.Runtime.Close()
		log := &coordinatortest.Log{}
		size := 0
		for i, e := range records {
			producer := int64(-1)
			if i%5 == 4 {
				producer = 7
			}
			log.AppendRecord(producer, e.key, e.value)
			size += len(e.key) + len(e.value)
		}
		log.AppendMarker(7, 0, true)
		before := allocated()
		r.open(log, r.Clock)
		if _, code := r.Runtime.Find("g"); code != wire.None {
			return // it cannot be understood, and says so
		}
		r.machine().Env.Compute = inline{}
		require.Equal(t, r.machine().recount(), r.Memory.Held())
		r.live()
		require.Less(t, allocated()-before, uint64(4<<20+1000*size))
		r.pass(time.Hour)
		r.expectSame()
	})
}

// live sends a request of each kind to what was loaded.
func (r *rig) live() {
	m := r.machine()
	for _, id := range []string{"g", "h", "simple", "staged"} {
		m.Describe(6, id)
		m.DescribeConsumer(id)
		g := m.groups[id]
		if g == nil {
			continue
		}
		if c, ok := g.members.(*consumerGroup); ok {
			for _, mb := range c.group.Members() {
				in := func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = id }
				r.heartbeat(mb.ID, max(mb.Epoch, 0), in, joins("a"))
				r.heartbeat(mb.ID, 0, joins("a", "b"), in)
				r.beatIn(id, mb.ID, mb.Epoch)
			}
		}
		if c, ok := g.members.(*classic); ok {
			for _, mb := range append([]*member{}, c.members...) {
				r.beatIn(id, mb.id, c.generation)
				r.join(mb.id, func(q *kmsg.JoinGroupRequest) { q.Group, q.InstanceID = id, mb.instanceID })
			}
		}
		r.heartbeat("stranger", 0, joins("a"), func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = id })
		r.join("", func(q *kmsg.JoinGroupRequest) { q.Group, q.Protocols[0].Metadata = id, subscribesTo("a") })
		r.commit("b", 1, 5, func(q *kmsg.OffsetCommitRequest) { q.Group, q.Generation = id, -1 })
		r.pass(10 * time.Second)
	}
	m.List(nil, nil, nil)
}

func (r *rig) beatIn(group, member string, generation int32) {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 3, group, member, generation
	r.machine().Heartbeat(q, func(wire.Code) {})
	r.Turn()
}

// expectSame loads the log again, and wants the same.
func (r *rig) expectSame() {
	before := r.machine().durable()
	r.reload()
	require.Equal(r.t, before, r.machine().durable(), fmt.Sprint(len(r.log.Batches), " batches"))
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// A log that was damaged stops its coordinator, which says so; the broker goes on.
func TestDamagedLogsStopTheirCoordinator(t *testing.T) {
	r := newConsumerRig(t)
	r.heartbeat("m1", 0, joins("a"))
	owners := realBatches(r)
	r = newRig(t)
	r.stable(1)
	stable := realBatches(r)
	for name, log := range map[string][]storedRecord{
		"a partition of two owners": append(owners, storedRecord{consumerKey(keyConsumerCurrentAssignment, "m2"), owners[len(owners)-1].value}),
		"a member that is there twice": append(stable, twice(t, stable[len(stable)-1], func(v *kmsg.GroupMetadataValue) {
			v.Members = append(v.Members, v.Members[0])
		})),
		"an instance id that is there twice": append(stable, twice(t, stable[len(stable)-1], func(v *kmsg.GroupMetadataValue) {
			again := v.Members[0]
			again.MemberID = "another"
			v.Members[0].InstanceID, again.InstanceID = kmsg.StringPtr("i"), kmsg.StringPtr("i")
			v.Members = append(v.Members, again)
		})),
		"members for each byte": append(stable, storedRecord{groupKey("g"), append([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 3, 0xe8}, make([]byte, 1000)...)}),
	} {
		damaged := &coordinatortest.Log{}
		for _, e := range log {
			damaged.AppendRecord(-1, e.key, e.value)
		}
		r.open(damaged, r.Clock)
		_, code := r.Runtime.Find("g")
		require.EqualValues(t, wire.NotCoordinator, code, name)
	}
}

func twice(t *testing.T, e storedRecord, change func(*kmsg.GroupMetadataValue)) storedRecord {
	var v kmsg.GroupMetadataValue
	require.NoError(t, v.ReadFrom(e.value))
	change(&v)
	return storedRecord{e.key, v.AppendTo(nil)}
}

func consumerKey(kind int16, member string) []byte {
	return consumer.Key{Type: kind, Group: "g", Of: member}.AppendTo(nil)
}
