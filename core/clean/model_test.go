package clean_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/clean"
	"weir/core/compress"
	"weir/core/object"
	"weir/core/record"
)

// The model is a compacted log as Kafka's documents describe it, record by record, without batches of bytes, maps of digests
// or parts. A pass of it is the specification that a pass over stored batches is held against.

// entry is one record of the model.
type entry struct {
	offset     int64
	key, value string
	keyless    bool
	tombstone  bool
}

// batch is one batch of the model.
type batch struct {
	base, end     int64
	leaderEpoch   int32
	codec         compress.Codec
	producer      int64
	epoch         int16
	sequence      int32
	transactional bool
	marker        bool
	commit        bool
	horizon       int64 // -1: none
	entries       []entry
}

func (b *batch) empty() bool { return len(b.entries) == 0 && !b.marker }

type modelLog struct {
	batches []batch
	next    int64
	open    map[int64]bool // producers in a transaction
	last    map[int64]clean.LastRecord
	seq     map[int64]int32
}

// aborted says for each batch, by its place, whether its transaction was aborted.
func (m *modelLog) aborted() map[int]bool {
	of := map[int64][]int{}
	out := map[int]bool{}
	for i, b := range m.batches {
		switch {
		case b.marker:
			for _, j := range of[b.producer] {
				out[j] = !b.commit
			}
			delete(of, b.producer)
		case b.transactional:
			of[b.producer] = append(of[b.producer], i)
		}
	}
	return out
}

// clean is the specification of a pass: what Kafka's cleaner leaves of the log below end, when it knows the keys of the
// offsets [from, known).
func (m *modelLog) clean(from, known, end, now, retention int64) {
	aborted := m.aborted()
	last := map[string]int64{}
	for i, b := range m.batches {
		for _, e := range b.entries {
			if !aborted[i] && !e.keyless && e.offset >= from && e.offset < known {
				last[e.key] = e.offset
			}
		}
	}
	observed := map[int64]bool{}
	var kept []batch
	for i, b := range m.batches {
		if b.base >= end {
			kept = append(kept, b)
			continue
		}
		lastOf, active := m.last[b.producer]
		isLast := active && (lastOf.Data == b.end-1 || lastOf.Data < 0 && b.marker && b.epoch == lastOf.Epoch)
		alone := b.marker && !observed[b.producer]
		drop := aborted[i] || alone && b.horizon >= 0 && b.horizon <= now
		switch {
		case b.marker:
			delete(observed, b.producer)
		case b.transactional:
			observed[b.producer] = true
		}
		var left []entry
		for _, e := range b.entries {
			expired := e.tombstone && b.horizon >= 0 && b.horizon <= now
			if newest, read := last[e.key]; !drop && !e.keyless && (!read || e.offset >= newest) && !expired {
				left = append(left, e)
			}
		}
		if e := b.entries; len(e) > 0 && e[0].offset >= known && !drop {
			left = e // nothing of it is known
		}
		b.entries = left
		stays := len(left) > 0 || b.marker && !drop
		tombstones := slices.ContainsFunc(left, func(e entry) bool { return e.tombstone })
		switch {
		case stays && b.horizon < 0 && (tombstones || alone):
			b.horizon = now + retention
		case stays:
		case isLast && b.marker:
			b.marker, b.horizon = false, -1 // an empty control batch: no pass after this one takes it for a marker
		case isLast:
			b.horizon = -1
		default:
			continue
		}
		kept = append(kept, b)
	}
	m.batches = kept
}

// apply is what a reader makes of a record.
func apply(state map[string]string, e entry) {
	switch {
	case e.keyless:
	case e.tombstone:
		delete(state, e.key)
	default:
		state[e.key] = e.value
	}
}

const retention = 100

// drawBatch appends a batch or a marker.
func (m *modelLog) drawBatch(t *rapid.T) {
	b := batch{base: m.next, producer: record.NoProducer, epoch: -1, sequence: -1, horizon: -1, codec: compress.Codec(rapid.IntRange(0, 4).Draw(t, "codec"))}
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if kind > 0 {
		b.producer, b.epoch = rapid.Int64Range(1, 3).Draw(t, "producer"), 0
		b.transactional = m.open[b.producer] || kind > 2
	}
	if m.open[b.producer] && rapid.Bool().Draw(t, "end") {
		b.marker, b.commit, b.end, b.codec, b.transactional = true, rapid.Bool().Draw(t, "commit"), m.next+1, compress.None, false
		m.open[b.producer] = false
	} else {
		b.end = m.next + rapid.Int64Range(1, 4).Draw(t, "records")
		b.sequence = m.seq[b.producer]
		for o := b.base; o < b.end; o++ {
			b.entries = append(b.entries, entry{
				offset: o, key: fmt.Sprint("k", rapid.IntRange(0, 6).Draw(t, "key")), value: fmt.Sprint("v", o),
				tombstone: rapid.IntRange(0, 3).Draw(t, "value") == 0, keyless: rapid.IntRange(0, 19).Draw(t, "no key") == 0,
			})
		}
		if b.producer >= 0 {
			m.seq[b.producer] += int32(b.end - b.base)
			m.last[b.producer] = clean.LastRecord{Data: b.end - 1}
			m.open[b.producer] = b.transactional
		}
	}
	m.next = b.end
	if rapid.IntRange(0, 9).Draw(t, "gap") == 0 {
		m.next += 1 << 33 // as a log has it whose records between were all dropped
	}
	m.batches = append(m.batches, b)
}

// lastStable is the first offset of an open transaction, or the end.
func (m *modelLog) lastStable() int64 {
	stable, seen := m.next, map[int64]int64{}
	for _, b := range m.batches {
		switch _, open := seen[b.producer]; {
		case b.marker:
			delete(seen, b.producer)
		case b.transactional && !open:
			seen[b.producer] = b.base
		}
	}
	for _, first := range seen {
		stable = min(stable, first)
	}
	return stable
}

// encode makes the stored batch.
func (b *batch) encode() []byte {
	if b.marker {
		out := record.AppendMarker(nil, b.producer, b.epoch, record.Marker{Commit: b.commit}, 7)
		record.Patch(out, b.base, b.leaderEpoch)
		return out
	}
	p := record.Builder{
		BaseOffset: b.base, LeaderEpoch: b.leaderEpoch, Codec: b.codec, Transactional: b.transactional,
		ProducerID: b.producer, ProducerEpoch: b.epoch, BaseSequence: b.sequence,
	}
	var records []record.Record
	for _, e := range b.entries {
		r := record.Record{Key: []byte(e.key), Value: []byte(e.value), Timestamp: e.offset % 1000}
		if e.keyless {
			r.Key = nil
		}
		if e.tombstone {
			r.Value = nil
		}
		records = append(records, r)
	}
	return p.AppendBatch(nil, records)
}

// decode reads a stored batch back, for comparison with the model.
func decode(t require.TestingT, b []byte) batch {
	h, err := record.ReadHeader(b)
	require.NoError(t, err)
	require.True(t, record.SumHolds(b))
	out := batch{
		base: h.BaseOffset, end: h.NextOffset(), leaderEpoch: h.LeaderEpoch, codec: h.Codec(), producer: h.ProducerID, epoch: h.ProducerEpoch,
		sequence: h.BaseSequence, transactional: h.Transactional() && !h.Control(), horizon: -1,
	}
	if horizon, ok := h.DeleteHorizon(); ok {
		out.horizon = horizon
	}
	if h.Control() && h.Records > 0 {
		marker, err := record.ReadMarker(b)
		require.NoError(t, err)
		out.marker, out.commit = true, marker.Commit
		return out
	}
	require.NoError(t, record.Each(b, 1<<20, func(r record.Record) bool {
		require.Equal(t, r.Offset%1000, r.Timestamp, "a record keeps its time")
		require.LessOrEqual(t, r.Timestamp, h.MaxTimestamp)
		out.entries = append(out.entries, entry{offset: r.Offset, key: string(r.Key), value: string(r.Value), tombstone: r.Value == nil, keyless: r.Key == nil})
		return true
	}))
	var scanned []int64
	require.NoError(t, record.Scan(b, 1<<20, func(e record.Entry) bool { scanned = append(scanned, e.Offset); return true }))
	require.Len(t, scanned, len(out.entries))
	return out
}

// shown is a batch as far as model and store can be compared: an empty one has no codec, and what a record without a key or
// value says does not matter.
func (b batch) shown() string {
	out := fmt.Sprintf("[%d,%d) producer %d/%d/%d transactional %v marker %v/%v horizon %d:", b.base, b.end, b.producer, b.epoch, b.sequence, b.transactional, b.marker, b.commit, b.horizon)
	if !b.empty() {
		out += " " + b.codec.String()
	}
	for _, e := range b.entries {
		if e.tombstone {
			e.value = ""
		}
		if e.keyless {
			e.key = ""
		}
		out += fmt.Sprintf(" %d=%s:%s", e.offset, e.key, e.value)
	}
	return out
}

func shown(batches []batch) string {
	var lines []string
	for _, b := range batches {
		lines = append(lines, b.shown())
	}
	return strings.Join(lines, "\n")
}

// stored is a log as it is stored.
type stored struct {
	batches [][]byte
}

// runs cuts the batches below end into runs, as parts are, each with its aborted transactions.
func (s *stored) runs(end, stable int64, size int) (runs [][][]byte, aborted [][]object.AbortedTransaction) {
	var below [][]byte
	var all object.Transactions
	for _, b := range s.batches {
		h, _ := record.ReadHeader(b)
		if h.BaseOffset < end {
			below = append(below, b)
		}
		all.Add(b, h.BaseOffset)
	}
	for run := range slices.Chunk(below, size) {
		first, _ := record.ReadHeader(run[0])
		last, _ := record.ReadHeader(run[len(run)-1])
		search := object.AbortedSearch{From: first.BaseOffset, To: last.NextOffset()}
		// A part knows its own batches alone, and what follows decides the rest.
		var own, rest object.Transactions
		for _, b := range s.batches {
			switch h, _ := record.ReadHeader(b); {
			case h.BaseOffset < first.BaseOffset:
			case h.BaseOffset < last.NextOffset():
				own.Add(b, h.BaseOffset)
			default:
				rest.Add(b, h.BaseOffset)
			}
		}
		if search.Visit(&own, first.BaseOffset, last.NextOffset()) {
			search.Visit(&rest, last.NextOffset(), stable)
		}
		runs, aborted = append(runs, run), append(aborted, search.Found())
	}
	return runs, aborted
}

// clean is a pass over the stored log. stopAfter is how many runs take effect, as if the pass ended then; it returns what it knew.
func (s *stored) clean(from, end, stable, now int64, memory int64, size, stopAfter int, producers map[int64]clean.LastRecord) (known int64) {
	runs, aborted := s.runs(end, stable, size)
	offsets := clean.NewOffsets(memory)
	index := clean.Indexer{Offsets: offsets, From: from, BatchBytesMax: 1 << 20}
full:
	for i, run := range runs {
		index.Begin(aborted[i])
		for _, b := range run {
			if !index.Add(b) {
				break full
			}
		}
	}
	filter := clean.Filter{Offsets: offsets, Now: now, DeleteRetention: retention, Producers: producers, BatchBytesMax: 1 << 20}
	var out [][]byte
	for i, run := range runs {
		filter.Begin(aborted[i])
		for _, b := range run {
			h, _ := record.ReadHeader(b)
			left, outcome := filter.Clean(nil, &h, b)
			if i >= stopAfter {
				left = b
			} else if outcome.Same {
				left = bytes.Clone(left)
			}
			if len(left) > 0 {
				out = append(out, left)
			}
		}
	}
	for _, b := range s.batches {
		if h, _ := record.ReadHeader(b); h.BaseOffset >= end {
			out = append(out, b)
		}
	}
	s.batches = out
	return offsets.End()
}

func (s *stored) decoded(t require.TestingT) (out []batch) {
	for _, b := range s.batches {
		out = append(out, decode(t, b))
	}
	return out
}

func newModel() *modelLog {
	return &modelLog{open: map[int64]bool{}, last: map[int64]clean.LastRecord{}, seq: map[int64]int32{}}
}

// A pass over stored batches leaves exactly what the model of Kafka's cleaner leaves.
func TestAPassIsThatOfTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, s := newModel(), &stored{}
		now, cleaned := int64(0), int64(0)
		for range rapid.IntRange(1, 5).Draw(t, "passes") {
			for range rapid.IntRange(1, 12).Draw(t, "batches") {
				m.drawBatch(t)
				s.batches = append(s.batches, m.batches[len(m.batches)-1].encode())
			}
			now += rapid.Int64Range(0, 2*retention).Draw(t, "time")
			end := m.lastStable()
			memory := rapid.SampledFrom([]int64{0, 1 << 20}).Draw(t, "memory")
			known := s.clean(cleaned, end, end, now, memory, rapid.IntRange(1, 5).Draw(t, "run"), 1<<30, maps.Clone(m.last))
			m.clean(cleaned, known, end, now, retention)
			require.Equal(t, shown(m.batches), shown(s.decoded(t)))
			cleaned = max(cleaned, known)
		}
	})
}

// Whatever passes there were, however far each took effect, and whenever a reader began: one who takes no longer for the log
// than the time of a tombstone ends with the state that the log without any pass gives. One who stays in a hole goes on behind it.
func TestAReaderSeesTheLatestOfEachKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, s := newModel(), &stored{}
		now, cleaned := int64(0), int64(0)
		reader, at, began := map[string]string{}, int64(0), int64(0)
		read := func(limit int64) {
			aborted := m.aborted()
			gone := map[int64]bool{}
			for i, b := range m.batches {
				for _, e := range b.entries {
					gone[e.offset] = aborted[i]
				}
			}
			for _, b := range s.decoded(t) {
				for _, e := range b.entries {
					if e.offset >= at && e.offset < limit && !gone[e.offset] {
						apply(reader, e)
					}
				}
			}
			at = max(at, limit)
		}
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			for range rapid.IntRange(1, 10).Draw(t, "batches") {
				m.drawBatch(t)
				s.batches = append(s.batches, m.batches[len(m.batches)-1].encode())
			}
			stable := m.lastStable()
			stop := rapid.SampledFrom([]int{0, 1, 2, 1 << 30}).Draw(t, "takes effect")
			known := s.clean(cleaned, stable, stable, now, rapid.SampledFrom([]int64{0, 1 << 20}).Draw(t, "memory"),
				rapid.IntRange(1, 5).Draw(t, "run"), stop, maps.Clone(m.last))
			if stop == 1<<30 {
				cleaned = max(cleaned, known)
			}
			if rapid.IntRange(0, 3).Draw(t, "new reader") == 0 || now-began >= retention {
				reader, at, began = map[string]string{}, 0, now
			}
			read(min(stable, at+rapid.Int64Range(0, 20).Draw(t, "reads")))
			now += rapid.Int64Range(0, retention/2).Draw(t, "time")
		}
		if now-began < retention {
			read(m.lastStable())
			want := map[string]string{}
			aborted := m.aborted()
			for i, b := range m.batches {
				for _, e := range b.entries {
					if e.offset < at && !aborted[i] {
						apply(want, e)
					}
				}
			}
			require.Equal(t, want, reader)
		}
		wantProducers(t, m, s)
	})
}

// wantProducers says that the last sequence of each producer is in the log.
func wantProducers(t require.TestingT, m *modelLog, s *stored) {
	ends := map[int64]bool{}
	for _, b := range s.decoded(t) {
		ends[b.end-1] = true
	}
	for _, id := range slices.SortedFunc(maps.Keys(m.last), cmp.Compare) {
		require.True(t, ends[m.last[id].Data], "the last batch of producer %d, with offset %d", id, m.last[id].Data)
	}
}

func TestOffsetsGrowToTheirBound(t *testing.T) {
	offsets := clean.NewOffsets(1 << 15)
	index := clean.Indexer{Offsets: offsets, BatchBytesMax: 1 << 20}
	keys := 0
	for {
		b := record.AppendBatch(nil, []record.Record{{Key: fmt.Append(nil, "key", keys)}, {Key: []byte("same")}})
		record.Patch(b, int64(2*keys), 0)
		if !index.Add(b) {
			break
		}
		keys++
	}
	require.Equal(t, int64(2*keys), offsets.End())
	require.Equal(t, keys+1, offsets.Keys())
	require.InDelta(t, (1<<15)/24*9/10, keys, 10)
}

func TestPlan(t *testing.T) {
	parts := []clean.Part{{0, 10, 100, 1}, {10, 20, 50, 2}, {20, 30, 50, 30}, {30, 40, 50, 40}}
	for name, c := range map[string]struct {
		cleaned, limit int64
		config         clean.Config
		want           clean.Plan
		ratio          int64
		due            bool
	}{
		"all dirty":        {0, 40, clean.Config{DirtyRatio: 999_999, MaxLag: 1000}, clean.Plan{End: 40, DirtyBytes: 250}, 1_000_000, true},
		"part dirty":       {20, 40, clean.Config{DirtyRatio: 500_000, MaxLag: 1000}, clean.Plan{Dirty: 20, End: 40, CleanBytes: 150, DirtyBytes: 100}, 400_000, false},
		"worth it":         {20, 40, clean.Config{DirtyRatio: 399_999, MaxLag: 1000}, clean.Plan{Dirty: 20, End: 40, CleanBytes: 150, DirtyBytes: 100}, 400_000, true},
		"open transaction": {0, 25, clean.Config{MaxLag: 1000}, clean.Plan{End: 20, DirtyBytes: 150}, 1_000_000, true},
		"too young":        {0, 40, clean.Config{MinLag: 15, MaxLag: 1000}, clean.Plan{End: 20, DirtyBytes: 150}, 1_000_000, true},
		"overdue":          {20, 40, clean.Config{DirtyRatio: 500_000, MaxLag: 5}, clean.Plan{Dirty: 20, End: 40, CleanBytes: 150, DirtyBytes: 100, Overdue: true}, 400_000, true},
		"all clean":        {40, 40, clean.Config{}, clean.Plan{Dirty: 40, End: 40, CleanBytes: 250}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := clean.PlanOf(slices.Values(parts), c.cleaned, c.limit, 40, &c.config)
			require.Equal(t, c.want, got)
			require.Equal(t, c.ratio, got.Ratio())
			require.Equal(t, c.due, got.Due(&c.config))
		})
	}
}

// A batch that would take too much memory stays as it is, and no tombstone behind it goes: it may hide a value in there.
func TestWhatDoesNotOpenStays(t *testing.T) {
	large := (&record.Builder{ProducerID: record.NoProducer, Codec: compress.Gzip}).AppendBatch(nil, []record.Record{{Key: []byte("k"), Value: make([]byte, 1<<12)}})
	tombstone := record.AppendBatch(nil, []record.Record{{Key: []byte("k")}})
	record.Patch(tombstone, 1, 0)
	pass := func(now int64) (outcomes []clean.Outcome) {
		offsets := clean.NewOffsets(1 << 10)
		index := clean.Indexer{Offsets: offsets, BatchBytesMax: 1 << 10}
		filter := clean.Filter{Offsets: offsets, Now: now, DeleteRetention: retention, BatchBytesMax: 1 << 10}
		require.True(t, index.Add(large) && index.Add(tombstone))
		for _, b := range []*[]byte{&large, &tombstone} {
			h, _ := record.ReadHeader(*b)
			var outcome clean.Outcome
			*b, outcome = filter.Clean(nil, &h, *b)
			outcomes = append(outcomes, outcome)
		}
		return outcomes
	}
	for _, now := range []int64{0, retention, 2 * retention} {
		outcomes := pass(now)
		require.True(t, outcomes[0].Unopened && outcomes[0].Same, "the large batch at %d", now)
		require.True(t, outcomes[1].Kept, "the tombstone at %d", now)
	}
}
