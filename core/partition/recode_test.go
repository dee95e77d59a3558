package partition

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/compress"
	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
	"weir/core/wire"
)

// recoding makes the topic compress what comes anew, and counts the releases of frames.
func (r *rig) recodes(to compress.Codec) (released *int) {
	r.p.topic.config.Recompress, r.p.topic.config.Codec, r.p.topic.config.CodecLevel = true, uint8(to), 3
	r.manager.recodes = r.manager.options.Telemetry.Mark("recoded")
	return new(int)
}

// keep appends a batch whose frame may not be read once it is released.
func (r *rig) keep(b record.Builder, size int, released *int) *Append {
	data := b.AppendBatch(nil, []record.Record{{Timestamp: wallZero, Key: []byte("k"), Value: make([]byte, size)}})
	h, err := record.Check(data)
	require.NoError(r.t, err)
	a := &Append{Origin: OriginClient, Header: h, Data: data, Done: r.appended, Deadline: r.clock.now.Add(1 << 40)}
	a.Facts, a.Invalid = record.Validate(&h, data, 64<<20)
	frame := data
	a.Release = func() {
		*released++
		clear(frame)
	}
	r.p.Append(a)
	return a
}

func TestBatchesAreCompressedAsTheirTopicSays(t *testing.T) {
	r := newRig(t)
	released := r.recodes(compress.Zstd)
	var want [][]byte
	for i := range int32(3) {
		r.keep(record.Builder{ProducerID: 5, BaseSequence: i, Codec: compress.Codec(i)}, 3000, released)
		want = append(want, bytes.Repeat([]byte{0}, 3000))
	}
	already := r.keep(record.Builder{ProducerID: 5, BaseSequence: 3, Codec: compress.Zstd}, 10, released)
	require.Empty(t, r.log.taken, "what is compressed already waits for those before it")
	r.computeAll()
	require.Len(t, r.log.taken, 4)
	require.Equal(t, 4, *released)
	for i, b := range r.log.taken[:3] {
		h, err := record.Check(b.Data)
		require.NoError(t, err)
		require.Equal(t, compress.Zstd, h.Codec())
		require.EqualValues(t, i, h.BaseSequence, "in the order in which they came")
		require.NoError(t, record.Each(b.Data, 1<<20, func(got record.Record) bool {
			require.Equal(t, want[i], got.Value)
			require.EqualValues(t, wallZero, got.Timestamp)
			return true
		}))
	}
	r.log.durable(4)
	r.want(already, wire.None, 3)
	require.Zero(t, r.manager.recoder.held)
}

// A batch may be small as it is sent and too large as it is to be stored; a duplicate is not compressed again.
func TestWhatIsTooLargeOnceItIsCompressedAnewIsRefused(t *testing.T) {
	r := newRig(t)
	released := r.recodes(compress.None)
	r.p.topic.config.MaxMessageBytes = 5000
	a := r.keep(record.Builder{ProducerID: 5, Codec: compress.Gzip}, 6000, released)
	b := r.keep(record.Builder{ProducerID: 5, Codec: compress.Gzip}, 3000, released)
	again := r.keep(record.Builder{ProducerID: 5, Codec: compress.Gzip}, 3000, released)
	r.computeAll()
	r.want(a, wire.MessageTooLarge, -1)
	r.log.durable(1)
	r.want(b, wire.None, 0)
	r.want(again, wire.None, 0)
	require.Len(t, r.log.taken, 1)
	require.Equal(t, 3, *released)
	require.Zero(t, r.manager.recoder.held)
}

// What waits for the log, compressed anew, takes room of its own; others wait as they came until there is some.
func TestTheRecoderHasABudget(t *testing.T) {
	r := newRig(t)
	released := r.recodes(compress.None)
	r.p.topic.config.MaxMessageBytes, r.engine.batchMax = recodedBytesMax, recodedBytesMax
	other := *r.p
	other.Stream, other.log = 2, &fakeLog{room: -1}
	other.state, _ = LoadState(nil, 0, 0)
	r.log.room = 0
	r.keep(record.Builder{ProducerID: -1, Codec: compress.Gzip}, recodedBytesMax*3/4, released)
	r.computeAll()
	require.Positive(t, r.manager.recoder.held)
	first := r.p
	r.p = &other
	r.keep(record.Builder{ProducerID: -1, Codec: compress.Gzip}, recodedBytesMax/2, released)
	require.Empty(t, r.compute, "there is no room for both")
	r.log.room = 1
	r.loop.Turn([]env.Event{turn(r.manager.space)})
	require.Len(t, r.log.taken, 1)
	r.loop.Turn(nil)
	r.computeAll()
	require.Len(t, other.log.(*fakeLog).taken, 1)
	require.Zero(t, first.queue.Len())
}

type turn func()

func (f turn) Deliver() { f() }

// A partition that closes while a batch is compressed answers at once, and gives the frame back when nobody reads it any more.
func TestAFrameIsLentWhileItIsCompressedAnew(t *testing.T) {
	r := newRig(t)
	released := r.recodes(compress.LZ4)
	a := r.keep(record.Builder{ProducerID: 5}, 3000, released)
	b := r.keep(record.Builder{ProducerID: 5, BaseSequence: 1}, 3000, released)
	r.p.close(wire.NotLeaderOrFollower)
	r.want(a, wire.NotLeaderOrFollower, -1)
	r.want(b, wire.NotLeaderOrFollower, -1)
	require.Equal(t, 1, *released)
	r.computeAll()
	require.Equal(t, 2, *released)
	require.Zero(t, r.manager.recoder.held)
	require.Equal(t, 2, len(slices.Compact(r.answers)))
}

// A handover that begins while a batch is compressed anew is over without it: nothing is appended above the seal.
func TestABatchThatIsCompressedAnewWaitsForTheEndOfAHandover(t *testing.T) {
	for _, resumes := range []bool{false, true} {
		r := newRig(t)
		released := r.recodes(compress.LZ4)
		before := r.keep(record.Builder{ProducerID: 5, Codec: compress.LZ4}, 10, released)
		a := r.keep(record.Builder{ProducerID: 5, BaseSequence: 1}, 3000, released)
		var ready *Handover
		r.p.HandOver(func(h *Handover) { ready = h })
		r.computeAll()
		require.Len(t, r.log.taken, 1)
		r.log.durable(1)
		r.loop.Turn(nil)
		require.NotNil(t, ready, "a batch that is not in the log holds up no handover")
		require.EqualValues(t, 1, ready.End)
		r.want(before, wire.None, 0)
		if resumes {
			ready.Resume()
			r.log.durable(2)
			r.want(a, wire.None, 1)
		} else {
			r.p.close(wire.NotLeaderOrFollower)
			r.want(a, wire.NotLeaderOrFollower, -1)
			require.Len(t, r.log.taken, 1)
		}
		require.Equal(t, 2, *released)
		require.Zero(t, r.manager.recoder.held)
	}
}

// A handover that is given up while a batch is still compressed leaves it at its place.
func TestAHandoverThatEndsBeforeABatchIsCompressedAnew(t *testing.T) {
	r := newRig(t)
	released := r.recodes(compress.LZ4)
	a := r.keep(record.Builder{ProducerID: 5}, 3000, released)
	b := r.keep(record.Builder{ProducerID: 5, BaseSequence: 1, Codec: compress.LZ4}, 10, released)
	r.p.HandOver(func(*Handover) {}).Resume()
	require.Empty(t, r.log.taken)
	r.computeAll()
	r.log.durable(2)
	r.want(a, wire.None, 0)
	r.want(b, wire.None, 1)
}

// What is compressed when the lease has ended is refused, with what its producer sent behind it.
func TestABatchThatIsCompressedAnewIsNotAppendedWithoutALease(t *testing.T) {
	r := newRig(t)
	released := r.recodes(compress.LZ4)
	leased := true
	r.manager.options.Leased = func() bool { return leased }
	a := r.keep(record.Builder{ProducerID: 5}, 3000, released)
	b := r.keep(record.Builder{ProducerID: 5, BaseSequence: 1, Codec: compress.LZ4}, 10, released)
	leased = false
	r.computeAll()
	r.want(a, wire.NotLeaderOrFollower, -1)
	r.want(b, wire.NotLeaderOrFollower, -1)
	require.Empty(t, r.log.taken)
	require.Equal(t, 2, *released)
	require.Zero(t, r.manager.recoder.held)

	leased = true
	r.want(r.keep(record.Builder{ProducerID: 5, BaseSequence: 1, Codec: compress.LZ4}, 10, released), wire.OutOfOrderSequence, -1)
	again := r.keep(record.Builder{ProducerID: 5, Codec: compress.LZ4}, 10, released)
	r.log.durable(1)
	r.want(again, wire.None, 0)
}

// Whoever closes all partitions waits for the frames that are lent; what waits for room in the recoder is given back at once.
func TestTheManagerDrainsWhatIsCompressedAnew(t *testing.T) {
	r := newRig(t)
	released := r.recodes(compress.LZ4)
	r.keep(record.Builder{ProducerID: 5}, 3000, released)
	require.Len(t, r.compute, 1)
	other := *r.p
	other.Stream, other.log, other.recoding, other.queue = 2, &fakeLog{room: -1}, nil, task.Queue[*Append]{}
	other.state, _ = LoadState(nil, 0, 0)
	r.manager.partitions = append(r.manager.partitions, &other)
	r.manager.recoder.held = recodedBytesMax
	r.p = &other
	r.keep(record.Builder{ProducerID: 6}, 3000, released)
	require.Len(t, r.compute, 1, "there is no room")

	r.manager.Close()
	require.Equal(t, 1, *released)
	drained := false
	r.manager.Drained(func() { drained = true })
	r.loop.Turn(nil)
	require.False(t, drained)
	r.computeAll()
	r.loop.Turn(nil)
	require.True(t, drained)
	require.Equal(t, 2, *released)
}
