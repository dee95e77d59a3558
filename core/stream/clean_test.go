package stream

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/clean"
	"weir/core/compress"
	"weir/core/metadata"
	"weir/core/record"
)

// keyed appends a batch of a few keys, outside transactions or in one, or ends a transaction.
func (m *model) keyed(o *owner, open map[int64]bool) {
	b := record.Builder{ProducerID: record.NoProducer, ProducerEpoch: -1, BaseSequence: -1, Codec: compress.Codec(m.draw(5))}
	if producer := int64(m.draw(4)); producer > 0 {
		b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = producer, 0, 0, true
		if open[producer] && m.draw(2) == 0 {
			data := record.AppendMarker(nil, producer, 0, record.Marker{Commit: m.draw(2) == 0}, 5)
			m.w.turn(func() {
				if o.put(data, 1, 5) {
					open[producer] = false
				}
			})
			return
		}
	}
	records := make([]record.Record, 1+m.draw(4))
	timestamp := int64(m.draw(1000))
	for i := range records {
		records[i] = record.Record{Timestamp: timestamp, Key: fmt.Append(nil, "key", m.draw(12)), Value: make([]byte, m.draw(700))}
		if m.draw(4) == 0 {
			records[i].Value = nil
		}
		for j := range records[i].Value {
			records[i].Value[j] = byte(m.draw(251))
		}
	}
	data := b.AppendBatch(nil, records)
	m.w.turn(func() {
		if o.put(data, len(records), timestamp) && b.Transactional {
			open[b.ProducerID] = true
		}
	})
}

// seen is what a reader of committed records has of each key.
type seen map[string]string

func (s seen) take(batch []byte) {
	_ = record.Each(batch, 1<<20, func(r record.Record) bool {
		if r.Value == nil {
			delete(s, string(r.Key))
		} else {
			s[string(r.Key)] = string(r.Value)
		}
		return true
	})
}

// wanted is the state that the whole history gives, up to an end.
func (h *history) wanted(fates []fate, end int64) seen {
	s := seen{}
	for i, f := range fates {
		if f.base < end && !f.header.Control() && !f.aborted {
			s.take(h.batches[i])
		}
	}
	return s
}

// readStableBatches is one read of committed records, and which of its batches a consumer shows.
func (o *owner) readStableBatches(n *node, offset, end int64, maxBytes int) (batches [][]byte, shown []int64) {
	ended := false
	n.w.turn(func() {
		o.stream.ReadStable(offset, end, maxBytes, func(f Fetched) {
			require.NoError(n.w.t, f.Err, "read at %d", offset)
			for _, b := range f.Batches {
				batches = append(batches, slices.Clone(b))
			}
			shown, ended = visible(&f), true
			f.Release()
		})
	})
	n.w.until("a stable read", func() bool { return ended })
	return batches, shown
}

// readOne reads the first batch at an offset.
func (o *owner) readOne(n *node, offset int64) (batch []byte) {
	ended := false
	n.w.turn(func() {
		o.stream.Read(offset, 1, func(f Fetched) {
			require.NoError(n.w.t, f.Err, "read at %d", offset)
			require.Len(n.w.t, f.Batches, 1)
			batch, ended = slices.Clone(f.Batches[0]), true
			f.Release()
		})
	})
	n.w.until("a read", func() bool { return ended })
	return batch
}

// checkCompacted reads the log from its start: a reader of committed records has the last value of each key. From any
// offset, missing ones too, reading goes on with the next batch that there is.
func (m *model) checkCompacted(o *owner) {
	fates := o.history.fates()
	end := o.history.lastStable(fates)
	got, log := seen{}, []record.Header{}
	for at := int64(0); at < end; {
		batches, shown := o.readStableBatches(m.n, at, end, 1+m.draw(5000))
		require.NotEmpty(m.w.t, batches)
		for _, b := range batches {
			h, err := record.ReadHeader(b)
			require.NoError(m.w.t, err)
			require.Greater(m.w.t, h.NextOffset(), at)
			if slices.Contains(shown, h.BaseOffset) {
				got.take(b)
			}
			at = h.NextOffset()
			log = append(log, h)
		}
	}
	require.Equal(m.w.t, o.history.wanted(fates, end), got)
	for range 20 {
		if end > 0 {
			m.checkPlace(o, log, int64(m.draw(int(end))))
		}
	}
}

// checkPlace reads at an offset and looks a timestamp up from there. Of what is in the log cache too, that has what compaction
// took from the store.
func (m *model) checkPlace(o *owner, log []record.Header, at int64) {
	i := slices.IndexFunc(log, func(h record.Header) bool { return h.NextOffset() > at })
	h, err := record.ReadHeader(o.readOne(m.n, at))
	require.NoError(m.w.t, err)
	require.Greater(m.w.t, h.NextOffset(), at)
	if !o.stream.inCache(at) {
		require.Equal(m.w.t, log[i].BaseOffset, h.BaseOffset, "the batch at %d", at)
	}
	timestamp := int64(m.draw(1000))
	j := slices.IndexFunc(log, func(h record.Header) bool { return h.NextOffset() > at && h.MaxTimestamp >= timestamp })
	ended := false
	m.w.turn(func() {
		o.stream.FindTimestamp(at, timestamp, func(f Fetched) {
			ended = true
			require.NoError(m.w.t, f.Err)
			require.True(m.w.t, j < 0 || len(f.Batches) > 0 || o.stream.inCache(log[j].BaseOffset))
			if j >= 0 && len(f.Batches) > 0 {
				require.Len(m.w.t, f.Batches, 1)
				found, _ := record.ReadHeader(f.Batches[0])
				if !o.stream.inCache(log[j].BaseOffset) {
					require.Equal(m.w.t, log[j].BaseOffset, found.BaseOffset, "time %d from %d", timestamp, at)
				}
				require.True(m.w.t, found.MaxTimestamp >= timestamp && found.NextOffset() > at)
			}
			f.Release()
		})
	})
	m.w.until("a lookup", func() bool { return ended })
}

// cleanPass runs a pass; it may fail, in weather.
func (m *model) cleanPass(o *owner, now int64) error {
	m.w.until("the end of a compaction of objects", func() bool { return !o.stream.compacting })
	limit := o.history.lastStable(o.history.fates())
	plan := o.stream.CleanPlan(limit, now, &clean.Config{})
	producers := map[int64]clean.LastRecord{}
	for i, b := range o.history.batches {
		if h, _ := record.ReadHeader(b); h.Idempotent() && !h.Control() {
			producers[h.ProducerID] = clean.LastRecord{Data: o.history.ends[i] - 1}
		}
	}
	var err error
	ended := false
	m.w.turn(func() {
		o.stream.Clean(Cleaning{Plan: plan, Now: now, DeleteRetention: 300, Producers: producers, Done: func(e error) { err, ended = e, true }})
	})
	m.w.until("the end of a pass", func() bool { return ended })
	return err
}

// Whatever is appended, uploaded, compacted, and however the store and the cluster's log behave meanwhile: readers see the last
// value of each key, and no hole stops them.
func TestReadersOfACompactedStreamSeeTheLatestOfEachKey(t *testing.T) {
	replaced := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(rt, t)
		o := m.n.owners[1]
		open := map[int64]bool{}
		now := int64(1000)
		for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			m.storm = rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "storm")
			for range rapid.IntRange(1, 40).Draw(rt, "batches") {
				m.keyed(o, open)
			}
			m.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
			if rapid.Bool().Draw(rt, "upload") {
				o.drain(m.n)
			}
			if err := m.cleanPass(o, now); m.storm == 0 {
				require.NoError(t, err)
			}
			m.storm = 0
			m.checkCompacted(o)
			now += rapid.Int64Range(0, 400).Draw(rt, "time")
			if rapid.IntRange(0, 3).Draw(rt, "crash") == 0 {
				m.w.crash()
				m.n = boot(m.w, m.c, m.options, m.config)
				o = m.n.owners[1]
				m.checkCompacted(o)
			}
		}
		m.n.shutdown()
		replaced = max(replaced, m.w.hits("stream clean: parts were replaced"))
	})
	require.Positive(t, replaced)
}

// A shutdown in the middle of a pass ends it, and gives all memory back.
func TestAShutdownEndsAPass(t *testing.T) {
	for steps := range 40 {
		w, _, n := start(t)
		o := n.create(1)
		for i := range 300 {
			data := record.AppendBatch(nil, []record.Record{{Key: fmt.Append(nil, i%7), Value: make([]byte, 500)}})
			n.w.until("room", func() (ok bool) { w.turn(func() { ok = o.put(data, 1, 0) }); return ok })
		}
		o.drain(n)
		w.turn(func() {
			plan := o.stream.CleanPlan(o.stream.HighWatermark(), 0, &clean.Config{})
			o.stream.Clean(Cleaning{Plan: plan, Done: func(error) {}})
		})
		for range steps {
			w.step()
		}
		n.shutdown()
	}
}

// A replacement that is refused ends its pass: were a tombstone behind it to go, what it deletes would be there again.
func TestARefusedReplacementEndsThePass(t *testing.T) {
	o := smallOptions
	o.Compaction.Disabled, o.CleanObjectBytes = true, 1
	w := newWorld(t)
	c := newCluster(w)
	n := boot(w, c, o, smallLog)
	p := n.create(1)
	put := func(key string, value []byte) {
		data := record.AppendBatch(nil, []record.Record{{Key: []byte(key), Value: value, Timestamp: 5}})
		w.turn(func() { require.True(t, p.put(data, 1, 5)) })
		w.until("durability", func() bool { return p.stream.HighWatermark() == p.stream.End() })
		p.drain(n)
	}
	put("a", []byte("deleted"))
	put("b", []byte("b"))
	put("a", nil)
	put("c", []byte("c"))
	m := &model{w: w, c: c, n: n}
	pass := func(now int64) {
		require.NoError(t, m.cleanPass(p, now))
	}
	proposed := 0
	c.refuses = func(q *metadata.Replacement) bool {
		proposed++
		return q.Sources[0].Start == 0
	}
	pass(1000)
	pass(2000)
	require.Equal(t, 2, proposed)
	require.Zero(t, c.streams[1].Cleaned)
	require.EqualValues(t, 2, w.hits("stream clean: the parts were replaced or trimmed meanwhile"))
	m.requireState(p, seen{"b": "b", "c": "c"})

	c.refuses = nil
	pass(3000)
	pass(4000)
	require.EqualValues(t, 4, c.streams[1].Cleaned)
	m.requireState(p, seen{"b": "b", "c": "c"})
	n.shutdown()
}

func (m *model) requireState(o *owner, want seen) {
	got := seen{}
	for at := int64(0); at < o.stream.HighWatermark(); {
		b := o.readOne(m.n, at)
		h, err := record.ReadHeader(b)
		require.NoError(m.w.t, err)
		got.take(b)
		at = h.NextOffset()
	}
	require.Equal(m.w.t, want, got)
}

// What another broker owes may hold the markers of what would be compacted.
func TestNoPassBeginsWhileAnotherBrokerOwesRecords(t *testing.T) {
	w, c, n := start(t)
	o := n.create(1)
	w.turn(func() { require.True(t, o.put(record.AppendBatch(nil, []record.Record{{Key: []byte("k")}}), 1, 5)) })
	w.until("durability", func() bool { return o.stream.HighWatermark() == 1 })
	o.drain(n)
	plan := func() clean.Plan { return o.stream.CleanPlan(1, 0, &clean.Config{}) }
	require.EqualValues(t, 1, plan().End)
	owed := &c.streams[1].Ranges[0]
	end := owed.End
	o.stream.start, owed.End = 5, 5 // as if what lies between were in the log of the leader before
	require.Zero(t, plan())
	o.stream.start, owed.End = 0, end
	require.EqualValues(t, 1, c.streams[1].CommittedEnd())
	n.shutdown()
}
