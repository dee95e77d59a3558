package partition

import (
	"testing"

	"weir/core/record"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// transactionModel is a partition under random transactions and crashes, beside the plainest account of them.
type transactionModel struct {
	*rapid.T
	r          *rig
	log        []logged
	producers  map[int64]*modelProducer
	checkpoint []byte // as of some high watermark
	at         int64  // of the checkpoint
	stable     int64  // largest last stable offset seen
}

// logged is a batch as the log has it.
type logged struct {
	data []byte
	base int64
	end  int64
}

// modelProducer is what the model knows of a producer, as of everything appended.
type modelProducer struct {
	epoch    int16
	sequence int32
	open     bool
}

func (m *transactionModel) step() {
	id := rapid.Int64Range(1, 4).Draw(m.T, "producer")
	p := m.producers[id]
	if p == nil {
		p = &modelProducer{}
		m.producers[id] = p
	}
	switch rapid.IntRange(0, 9).Draw(m.T, "step") {
	case 0, 1, 2:
		m.write(id, p)
	case 3, 4:
		m.mark(id, p)
	case 5:
		m.markLate(id, p)
	case 6, 7:
		m.durable(rapid.IntRange(0, len(m.log)).Draw(m.T, "durable"))
	case 8:
		m.checkpoint, m.at = m.r.p.Checkpoint(nil), m.r.log.hw
	case 9:
		m.crash()
	}
	m.check()
}

func (m *transactionModel) write(id int64, p *modelProducer) {
	a := m.r.transactional(id, p.epoch, p.sequence, 1+rapid.IntRange(0, 2).Draw(m.T, "records"))
	ask := false
	a.Verification, ask = m.r.p.Verify(&a.Header, true)
	require.Equal(m.T, !p.open, ask)
	m.r.p.Append(a)
	m.took(a)
	p.open, p.sequence = true, p.sequence+a.Header.LastOffsetDelta+1
}

// mark ends a transaction of either generation.
func (m *transactionModel) mark(id int64, p *modelProducer) {
	version := int8(rapid.SampledFrom([]int{0, 2}).Draw(m.T, "version"))
	if version == 2 {
		p.epoch, p.sequence = p.epoch+1, 0
	}
	commit := rapid.Bool().Draw(m.T, "commit")
	m.took(m.r.end(id, p.epoch, record.Marker{Commit: commit}, version))
	p.open = false
}

// markLate repeats the last marker of the second generation. It ends nothing.
func (m *transactionModel) markLate(id int64, p *modelProducer) {
	known, n := m.r.p.state.find(id) != nil, len(m.r.log.taken)
	a := m.r.end(id, p.epoch, record.Marker{}, 2)
	switch {
	case !known:
		m.took(a)
	case p.open:
		require.EqualValues(m.T, wire.InvalidProducerEpoch, a.Code)
		fallthrough
	default:
		require.Len(m.T, m.r.log.taken, n, "a marker is written twice")
	}
}

func (m *transactionModel) took(a *Append) {
	require.Len(m.T, m.r.log.taken, len(m.log)+1, "code %d: %s", a.Code, a.Detail)
	base := int64(0)
	if n := len(m.log); n > 0 {
		base = m.log[n-1].end
	}
	record.Patch(a.Data, base, 0)
	m.log = append(m.log, logged{a.Data, base, base + int64(a.Header.LastOffsetDelta) + 1})
}

// durable makes the first n batches durable.
func (m *transactionModel) durable(n int) {
	if n > 0 && m.log[n-1].end > m.r.log.hw {
		m.r.log.durable(m.log[n-1].end)
	}
}

// crash loses what is not durable, and rebuilds the state from the checkpoint and what follows it.
func (m *transactionModel) crash() {
	hw := m.r.log.hw
	s, err := loadState(m.checkpoint, m.at, 0, m.r.p.state.dense)
	require.NoError(m.T, err)
	s.newestTimes = m.r.p.state.newestTimes
	keep := 0
	for ; keep < len(m.log) && m.log[keep].end <= hw; keep++ {
		b := &m.log[keep]
		h, err := record.ReadHeader(b.data)
		require.NoError(m.T, err)
		if b.base >= m.at {
			require.NoError(m.T, s.Replay(&h, b.data, 0))
		}
	}
	require.Equal(m.T, m.r.p.Checkpoint(nil), s.AppendCheckpoint(nil), "the replayed state is another one")
	m.log = m.log[:keep]
	m.r.log.taken, m.r.log.at = m.r.log.taken[:keep], hw
	m.r.p.state, m.r.p.verified = s, verifications{}
	m.r.p.close(wire.NotLeaderOrFollower)
	m.r.p.closed = wire.None
	clear(m.producers)
	for _, i := range m.r.p.Producers() {
		m.producers[i.ID] = &modelProducer{i.Epoch, i.LastSequence + 1, i.OpenFrom >= 0}
	}
}

// check compares the last stable offset with the first undecided batch of the durable log.
func (m *transactionModel) check() {
	hw := m.r.log.hw
	first := map[int64]int64{}
	for i := range m.log {
		b := &m.log[i]
		if b.end > hw {
			break
		}
		h, _ := record.ReadHeader(b.data)
		if _, open := first[h.ProducerID]; h.Control() {
			delete(first, h.ProducerID)
		} else if !open {
			first[h.ProducerID] = b.base
		}
	}
	want := hw
	for _, at := range first {
		want = min(want, at)
	}
	require.Equal(m.T, want, m.r.p.LastStable())
	require.GreaterOrEqual(m.T, want, m.stable, "the last stable offset goes back")
	m.stable = want
}

func TestTheLastStableOffsetUnderTransactionsAndCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &transactionModel{T: rt, r: newRig(t), producers: map[int64]*modelProducer{}}
		dense := rapid.Bool().Draw(rt, "dense checkpoints")
		m.r.p.state.dense, m.r.p.state.newestTimes = func() bool { return dense }, m.r.p.topic.newestTimes
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			m.step()
		}
	})
}
