package stream

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/core/metadata"
	"weir/core/record"
	"weir/core/wal"
)

// model drives an engine through random work and weather, while its streams move to other brokers and back, and the metadata disks are lost with
// all that is not shipped. Whatever happens, each acknowledged batch is
// read back byte for byte at its offset, each commit carries the state exactly as of its end, and no
// slab leaks.
type model struct {
	*rapid.T
	w       *world
	c       *cluster
	n       *node
	options Options
	config  wal.Config
	storm   int // percent of the store's operations that end badly
	drawn   uint64
	kinds   int // of logs: 0: devices; 1: objects; 2: both
}

// draw is a cheap source for choices that need no shrinking.
func (m *model) draw(n int) int {
	m.drawn ^= m.drawn << 13
	m.drawn ^= m.drawn >> 7
	m.drawn ^= m.drawn << 17
	return int(m.drawn % uint64(n))
}

func newModel(rt *rapid.T, t testing.TB) *model {
	m := &model{T: rt, w: newWorld(t), drawn: rapid.Uint64Min(1).Draw(rt, "choices")}
	m.c = newCluster(m.w)
	m.w.pick = m.draw
	m.w.store.weather = func(op string) string {
		if m.draw(100) >= m.storm {
			return ""
		}
		if op == "put" {
			return []string{"failed", "lost before", "lost after", "late"}[m.draw(4)]
		}
		return []string{"failed", "damaged", "short"}[m.draw(3)]
	}
	m.c.weather = func() string {
		if m.draw(100) >= m.storm/2 {
			return ""
		}
		return []string{"error", "lost", "refuse"}[m.draw(3)]
	}
	m.config = wal.Config{
		SizeBytes: rapid.SampledFrom([]int64{256 << 10, 512 << 10, 2 << 20}).Draw(rt, "wal"),
		SlabBytes: rapid.SampledFrom([]int{16 << 10, 64 << 10}).Draw(rt, "slab"), GroupBytesMax: 16 << 10,
		SummaryEveryBytes: 32 << 10,
	}
	m.options = Options{
		CacheBytes:      rapid.SampledFrom([]int64{64 << 10, 256 << 10, 4 << 20}).Draw(rt, "cache"),
		BlockCacheBytes: rapid.SampledFrom([]int64{8 << 10, 128 << 10}).Draw(rt, "blocks"),
		UploadBytes:     rapid.SampledFrom([]int64{8 << 10, 100 << 10}).Draw(rt, "upload"),
		OwnObjectBytes:  16 << 10, BlockBytes: 4 << 10, UploadInterval: time.Second, ReadBudget: time.Hour,
		CheckpointInlineBytesMax: []int{1, 1 << 10}[m.draw(2)], TailBytes: 48 << 10, GetsInFlightMax: 4, CleanIndexBytes: 1, CleanObjectBytes: 6 << 10,
		Compaction: CompactionOptions{
			Interval: time.Second, RewriteFanIn: 2 + m.draw(4), JoinFanIn: 2 + m.draw(2), RewriteBytes: int64(8<<10 + m.draw(100<<10)), JoinBytesMin: int64(1 + m.draw(30<<10)),
			ObjectBytesMax: int64(64<<10 + m.draw(400<<10)), SparseAge: time.Second, SparseBytesMin: 4 << 10,
		},
	}
	m.kinds = rapid.IntRange(0, 2).Draw(rt, "kinds of logs")
	m.c.ships.lag = m.draw(2) == 0
	m.boot()
	for id := metadata.StreamID(1); id <= metadata.StreamID(rapid.IntRange(1, 4).Draw(rt, "streams")); id++ {
		m.n.create(id)
	}
	return m
}

func (m *model) boot() {
	m.c.object = m.kinds == 1 || m.kinds == 2 && m.draw(2) == 0
	config := m.config
	if m.c.object {
		config.GroupBytesMax = []int{4 << 10, 16 << 10}[m.draw(2)]
		config.LingerMin, config.LingerMax = time.Millisecond, []time.Duration{time.Millisecond, 100 * time.Millisecond}[m.draw(2)]
		config.WritesInFlightMax = 1 + m.draw(4)
	}
	m.n = boot(m.w, m.c, m.options, config)
}

func (m *model) some() *owner {
	ids := m.c.sorted()
	if len(ids) == 0 {
		return nil
	}
	return m.n.owners[ids[m.draw(len(ids))]] // nil: it is led elsewhere
}

func (m *model) step() {
	o := m.some()
	switch rapid.IntRange(0, 27).Draw(m.T, "step") {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		if o != nil {
			for range 1 + m.draw(8) {
				o.append(m.n, 1+m.draw(4), 1+m.draw(6000), int64(m.draw(1000)))
			}
		}
	case 20, 21, 22:
		if o != nil {
			for range 1 + m.draw(8) {
				o.transact(m.n, int64(m.draw(4)), m.draw(6), 1+m.draw(3000))
			}
		}
	case 23:
		if o != nil {
			o.readStableSome(m.n, m.draw, m.storm > 0)
		}
	case 8, 9, 10:
		for range m.draw(30) {
			m.w.step()
		}
	case 11, 12:
		m.readSome(o)
	case 13:
		m.find(o)
	case 14:
		m.storm = []int{0, 10, 50}[m.draw(3)]
	case 15:
		m.trim(o)
	case 16:
		m.land()
	case 17:
		if o != nil && m.draw(4) == 0 {
			m.remove(o)
		} else if id := metadata.StreamID(10 + len(m.c.histories)); o == nil || m.draw(4) == 0 {
			m.n.create(id)
		}
	case 18:
		m.w.crash()
		if m.c.ships.lag && m.draw(2) == 0 {
			m.c.lose()
		}
		m.boot()
		m.readStable() // while the tails are not uploaded
	case 19:
		m.w.turn(m.n.e.ImageChanged)
		m.w.sleep()
	case 26:
		if o != nil && o.stream.End() == o.stream.HighWatermark() {
			m.n.moveAway(o)
		}
	case 27:
		m.n.bringBack()
	case 24, 25:
		m.ship(m.c.ships.shipped + uint64(m.draw(int(m.c.ships.index-m.c.ships.shipped)+1)))
	}
}

// ship has the store take more of the image.
func (m *model) ship(upTo uint64) {
	m.c.ship(upTo)
	m.w.turn(m.n.e.ImageShipped)
}

// land lets PUTs arrive whose answers were lost long ago.
func (m *model) land() {
	for _, arrive := range m.w.late {
		arrive()
	}
	m.w.late = nil
}

func (m *model) readSome(o *owner) {
	if o == nil || o.stream.LogStart() == o.stream.HighWatermark() {
		return
	}
	at := o.stream.LogStart() + int64(m.draw(int(o.stream.HighWatermark()-o.stream.LogStart())))
	base := int64(0)
	if i := o.history.at(at); i > 0 {
		base = o.history.ends[i-1]
	}
	if base < o.stream.LogStart() {
		return
	}
	if _, err := o.read(m.n, base, 1+m.draw(20000)); err != nil && m.storm == 0 {
		m.w.t.Fatalf("read at %d: %v", base, err)
	}
}

// find looks a timestamp up, and compares with the history.
func (m *model) find(o *owner) {
	if o == nil || m.storm > 0 {
		return
	}
	m.w.settle() // nothing becomes durable while it looks
	ts := int64(m.draw(1200))
	if m.draw(2) == 0 {
		ts = -1
	}
	from, hw := o.stream.LogStart(), o.stream.HighWatermark()
	if from < hw && m.draw(3) == 0 {
		from += int64(m.draw(int(hw - from)))
	}
	want, largest := -1, int64(-1)
	for i, end := range o.history.ends {
		h, _ := record.ReadHeader(o.history.batches[i])
		if end <= from || end > hw {
			continue
		}
		if ts < 0 && h.MaxTimestamp > largest {
			want, largest = i, h.MaxTimestamp
		} else if ts >= 0 && want < 0 && h.MaxTimestamp >= ts {
			want = i
		}
	}
	var got Fetched
	ended := false
	m.w.turn(func() { o.stream.FindTimestamp(from, ts, func(f Fetched) { got, ended = f, true }) })
	m.w.until("a timestamp", func() bool { return ended })
	if got.Err != nil || (want < 0) != (len(got.Batches) == 0) || want >= 0 && !slices.Equal(got.Batches[0], o.history.batches[want]) {
		m.w.t.Fatalf("stream %d: timestamp %d in [%d, %d): batch %d expected, %d found, %v", o.stream.id, ts, from, hw, want, len(got.Batches), got.Err)
	}
	got.Release()
}

func (m *model) trim(o *owner) {
	if o == nil {
		return
	}
	s := m.c.streams[o.stream.id]
	if hw := o.stream.HighWatermark(); hw > s.LogStart {
		i := o.history.at(s.LogStart + int64(m.draw(int(hw-s.LogStart))))
		if i < len(o.history.ends) && o.history.ends[i] <= hw {
			m.c.trim(s.ID, o.history.ends[i])
			m.w.turn(func() { m.n.e.StreamsChanged([]metadata.StreamID{s.ID}) })
		}
	}
}

func (m *model) remove(o *owner) {
	id := o.stream.id
	delete(m.c.streams, id)
	m.c.sweep()
	m.c.changed()
	m.w.turn(func() { m.n.e.StreamsChanged([]metadata.StreamID{id}) })
	m.w.turn(func() { m.n.e.Close(id) })
	delete(m.n.owners, id)
}

// calm ends all faults, and proves that everything is read, committed, and trimmed.
func (m *model) calm() {
	m.storm = 0
	m.w.settle()
	m.n.bringBack()
	m.c.ships.current = true
	m.ship(m.c.ships.index)
	for _, id := range m.c.sorted() {
		m.n.owners[id].readAll(m.n, 1+m.draw(30000))
	}
	m.w.until("all committed", func() bool {
		for _, id := range m.c.sorted() {
			s := m.c.streams[id]
			for i := range s.Ranges {
				if end := s.Ranges[i].End; end >= 0 && committedOf(&s.Ranges[i]) < end {
					return false
				}
			}
			if committedOf(&s.Ranges[len(s.Ranges)-1]) < m.n.owners[id].stream.HighWatermark() {
				return false
			}
		}
		return true
	})
	m.readStable()
	m.w.turn(m.n.e.ImageChanged)
	m.w.until("no ended incarnation's log is left", func() bool { return len(m.n.e.recovered.tails) == 0 && m.logsLeft() == 1 })
	for _, id := range m.c.sorted() {
		m.n.owners[id].readAll(m.n, 1+m.draw(30000))
	}
	m.readStable()
	m.w.store.audit()
	m.n.shutdown()
}

// logsLeft counts the logs, seals and what came back late aside.
func (m *model) logsLeft() int {
	left := len(m.w.disk.files)
	if m.c.object {
		left++
	}
	return left
}

// readStable reads every stream's committed records from everywhere.
func (m *model) readStable() {
	for _, id := range m.c.sorted() {
		o := m.n.owners[id]
		for at := o.stream.LogStart(); at < o.stream.HighWatermark(); at += 1 + int64(m.draw(20)) {
			o.readStable(m.n, at, 1+m.draw(9000), m.storm > 0)
		}
	}
}

func TestEveryAcknowledgedBatchIsReadBackWhateverHappens(t *testing.T) {
	restored := 0
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(rt, t)
		for range rapid.IntRange(1, 150).Draw(rt, "steps") {
			m.step()
		}
		m.calm()
		restored += m.c.restored
	})
	t.Logf("%d states of streams were found by the newest summary of a log and what follows it", restored)
}
