package txn_test

import (
	"bytes"
	"runtime/metrics"
	"testing"
	"time"

	"weir/core/coordinator/coordinatortest"
	"weir/core/record"
	"weir/core/txn"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// FuzzLoad loads a log of any values under the keys of two ids: of each record the input has a byte for the key, one for the length,
// and the value. It must load and serve, and end what it began, or say that it cannot be understood, in bounded memory.
func FuzzLoad(f *testing.F) {
	for _, b := range storedValues(f) {
		f.Add(append([]byte{0, byte(len(b))}, b...))
		f.Add(append([]byte{0, byte(len(b) - 1)}, b...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		log, size := &coordinatortest.Log{}, len(in)
		for len(in) > 0 {
			key := txn.EncodeKey([]string{id, "another"}[in[0]%2])
			if in[0]%5 == 4 || len(in) == 1 {
				log.AppendRecord(-1, key, nil)
				in = in[1:]
				continue
			}
			n := min(int(in[1]), len(in)-2)
			log.AppendRecord(-1, key, in[2:2+n])
			in = in[2+n:]
		}
		before := allocated()
		r := newRig(t)
		r.logs[0] = log
		r.open()
		require.Less(t, allocated()-before, uint64(4<<20+1000*size))
		if _, code := r.cluster.Runtime.Find(id); code != wire.None {
			return // it cannot be understood, and says so
		}
		r.pass(time.Hour)
		for range 3 {
			r.beginInit(txn.NoProducer)
			r.pass(time.Second)
		}
		state, code := r.c.Describe(id)
		require.Equal(t, none, code)
		require.Equal(t, txn.Empty, state.State, "what was open has ended, and a producer begun")
		p := producer(state.ProducerID, state.Epoch)
		r.add(p, second, 0)
		r.beginEnd(p, true, second)
		r.pass(time.Second)
		served, held := r.state(), r.cluster.Memory.Held()
		r.restart()
		require.Equal(t, served, r.state())
		require.Equal(t, held, r.cluster.Memory.Held())
	})
}

// storedValues are values that a coordinator has written.
func storedValues(t testing.TB) (all [][]byte) {
	r := newRig(t)
	for i := range int32(3) {
		p := r.init(txn.NoProducer)
		r.add(p, second, 0, i)
		r.end(p, i%2 == 0, second)
	}
	for _, b := range r.logs[0].Batches {
		require.NoError(t, record.Each(b, 1<<20, func(e record.Record) bool {
			all = append(all, bytes.Clone(e.Value))
			return true
		}))
	}
	return all
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
