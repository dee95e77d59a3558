package wal

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
)

// world is a node's outside under the test's command: nothing completes before the test says so.
type world struct {
	t      testing.TB
	loop   *task.Loop
	now    env.Time
	disk   *disk
	memory *memory
	stores map[string]*keptSlots // of logs in slots; nil: logs are on the disk
	shared bool                  // logs are fenced before they are recovered
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, disk: &disk{files: map[string]*file{}, block: 512}, memory: &memory{}}
	w.loop = task.NewLoop(w)
	return w
}

func newSlotWorld(t testing.TB) *world {
	w := newWorld(t)
	w.stores = map[string]*keptSlots{}
	return w
}

func newSharedWorld(t testing.TB) *world {
	w := newWorld(t)
	w.shared = true
	return w
}

// neighbour is another machine that reaches the same disk.
func (w *world) neighbour() *world {
	n := newSharedWorld(w.t)
	n.disk.files = w.disk.files
	return n
}

// another is a fresh world with the same medium.
func (w *world) another() *world {
	if w.stores != nil {
		return newSlotWorld(w.t)
	}
	n := newWorld(w.t)
	n.shared = w.shared
	return n
}

// onEachMedium runs a test of what every medium must keep.
func onEachMedium(t *testing.T, test func(*testing.T, *world)) {
	t.Run("device", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("shared", func(t *testing.T) { test(t, newSharedWorld(t)) })
	t.Run("slots", func(t *testing.T) { test(t, newSlotWorld(t)) })
}

// pieces is how many parts of a write of bytes a crash keeps or loses by themselves.
func (w *world) pieces(bytes int) int {
	if w.stores != nil {
		return 1
	}
	return roundUp(bytes, blockBytes) / w.disk.block
}

// stored is what is stored with a position of the log "wal-7", and where in it the position is.
func (w *world) stored(at Position) ([]byte, int) {
	if w.stores != nil {
		return w.stores["wal-7"].find(at)
	}
	return w.disk.files["wal-7"].data, fileAt(at)
}

func (w *world) Now() env.Time                        { return w.now }
func (w *world) WallMillis() int64                    { return 0 }
func (w *world) WakeAt(env.Time)                      {}
func (w *world) Log(slog.Level, string, ...slog.Attr) {}
func (w *world) Counter(string, string) env.Counter   { return nothing{} }
func (w *world) Gauge(string, string) env.Gauge       { return nothing{} }
func (w *world) Histogram(s, h string) env.Histogram  { return nothing{} }
func (w *world) Uint64(_ string, e, c uint64) uint64  { return e*0x9e3779b97f4a7c15 + c }

type nothing struct{}

func (nothing) Add(int64)     {}
func (nothing) Set(int64)     {}
func (nothing) Observe(int64) {}

func (w *world) env() env.Env {
	return env.Env{Clock: w, WAL: w.disk, Meta: w.disk, Rand: w, Memory: w.memory, Log: w, Metrics: w}
}

// turn runs f as one turn of the loop.
func (w *world) turn(f func()) { w.loop.Turn([]env.Event{event(f)}) }

type event func()

func (e event) Deliver() { e() }

// complete ends the i-th operation in flight.
func (w *world) complete(i int) {
	op := w.disk.pending[i]
	w.disk.pending = slices.Delete(w.disk.pending, i, i+1)
	op.apply()
	w.now++
	w.loop.Turn([]env.Event{op.event})
}

// settle completes everything in order until nothing is left.
func (w *world) settle() {
	for n := 0; len(w.disk.pending) > 0; n++ {
		if n > 1_000_000 {
			w.t.Fatal("the disk never comes to rest")
		}
		w.complete(0)
	}
}

// crash drops the node. keep decides for each piece of each write in flight whether it got to the
// medium; everything completed did, since the log writes durably throughout.
func (w *world) crash(keep func() bool) {
	for _, op := range w.disk.pending {
		if op.cut != nil {
			op.cut(keep)
		}
	}
	w.loop.Abandon()
	w.disk.pending = nil
	w.disk.open = nil
	w.memory = &memory{}
	w.loop = task.NewLoop(w)
}

// disk keeps every completed write: what a crash does to writes in flight is crash's choice.
type disk struct {
	files   map[string]*file
	open    []*file
	pending []pendingOp
	block   int
	failing func(data []byte) error
	limit   int64 // of a file's size, 0 for none
	closed  int   // logs

	syncs, readsUnsynced int
	syncErr              error
}

type pendingOp struct {
	event env.Event
	cut   func(keep func() bool) // what a crash leaves of it, nil: nothing
	apply func()
}

type file struct {
	data  []byte
	fence bool
}

func (f *file) writeAt(offset int64, b []byte) {
	if need := int(offset) + len(b); need > len(f.data) {
		f.data = append(f.data, make([]byte, need-len(f.data))...)
	}
	copy(f.data[offset:], b)
}

func (d *disk) push(e env.Event, cut func(keep func() bool), apply func()) {
	d.pending = append(d.pending, pendingOp{e, cut, apply})
}

func (d *disk) BlockBytes() int { return d.block }

func (d *disk) Open(o *env.DiskOpen) {
	d.push(o, nil, func() {
		f := d.files[o.Name]
		switch {
		case f == nil && !o.Create:
			o.Err = env.ErrNotExist
			return
		case f != nil && o.Exclusive:
			o.Err = env.ErrExist
			return
		case f == nil:
			f = &file{fence: strings.HasPrefix(o.Name, fencePrefix)}
			d.files[o.Name] = f
		}
		d.open = append(d.open, f)
		o.File, o.Size = env.FileID(len(d.open)-1), int64(len(f.data))
	})
}

func (d *disk) Read(o *env.DiskRead) {
	if o.Offset%int64(d.block) != 0 || len(o.Data)%d.block != 0 {
		panic("unaligned read")
	}
	d.push(o, nil, func() {
		if d.syncs == 0 {
			d.readsUnsynced++
		}
		if data := d.open[o.File].data; o.Offset < int64(len(data)) {
			o.N = copy(o.Data, data[o.Offset:])
		}
	})
}

func (d *disk) Write(o *env.DiskWrite) {
	if o.Offset%int64(d.block) != 0 || len(o.Data)%d.block != 0 || !o.Durable || len(o.Data) == 0 {
		panic("unaligned or volatile write")
	}
	d.push(o, func(keep func() bool) { d.tear(o, keep) }, func() {
		if o.Prepare != nil {
			o.Prepare()
		}
		if d.failing != nil {
			o.Err = d.failing(o.Data)
		}
		if d.limit > 0 && o.Offset+int64(len(o.Data)) > d.limit {
			o.Err = env.ErrDiskFull
		}
		if o.Err == nil {
			d.open[o.File].writeAt(o.Offset, o.Data)
		}
	})
}

// tear writes some blocks of a write.
func (d *disk) tear(o *env.DiskWrite, keep func() bool) {
	if o.Prepare != nil {
		o.Prepare()
	}
	for at := 0; at < len(o.Data); at += d.block {
		if keep() {
			d.open[o.File].writeAt(o.Offset+int64(at), o.Data[at:min(at+d.block, len(o.Data))])
		}
	}
}

func (d *disk) Sync(o *env.DiskSync) { d.push(o, nil, func() { d.syncs++; o.Err = d.syncErr }) }

// Space has a volume of limit bytes beside the files.
func (d *disk) Space(o *env.DiskSpace) {
	d.push(o, nil, func() {
		o.TotalBytes, o.UsableBytes = 1<<40, 1<<40
		if d.limit > 0 {
			o.TotalBytes, o.UsableBytes = d.limit, d.limit
			for _, f := range d.files {
				o.UsableBytes -= int64(len(f.data))
			}
		}
	})
}

func (d *disk) Rename(o *env.DiskRename) { panic("not used") }
func (d *disk) Remove(o *env.DiskRemove) { d.push(o, nil, func() { delete(d.files, o.Name) }) }
func (d *disk) List(o *env.DiskList) {
	d.push(o, nil, func() {
		for name, f := range d.files {
			if strings.HasPrefix(name, o.Prefix) {
				o.Files = append(o.Files, env.FileInfo{Name: name, Size: int64(len(f.data))})
			}
		}
		slices.SortFunc(o.Files, func(a, b env.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	})
}

func (d *disk) Close(id env.FileID) {
	if !d.open[id].fence {
		d.closed++
	}
}

// memory fills fresh slabs with garbage and freed ones with other garbage, so that a byte relied on
// without being written, or a slab released early, shows in checksums.
type memory struct{ live, bytes, peak int }

func (m *memory) Alloc(bytes int) *env.Slab {
	m.live++
	m.bytes += bytes
	m.peak = max(m.peak, m.bytes)
	data := make([]byte, bytes)
	for i := range data {
		data[i] = 0xA5
	}
	return env.NewSlab(m, data)
}

func (m *memory) Free(s *env.Slab) {
	m.live--
	m.bytes -= len(s.Data)
	for i := range s.Data {
		s.Data[i] = 0xDD
	}
}

// journal owns appends and notes what became durable, in order.
type journal struct {
	w        *world
	log      *Log
	failure  error
	accepted []*Append
	durable  int
	keep     bool // retain slabs
	onTold   func(*Append)
}

func (j *journal) Durable(a *Append) {
	if j.accepted[j.durable] != a {
		j.w.t.Fatalf("append %d was acknowledged out of order", j.durable)
	}
	j.durable++
	if j.onTold != nil {
		j.onTold(a)
	}
}

// fence fences a log and waits for it.
func (w *world) fence(name string, by uint64) (err error) {
	done := false
	w.turn(func() { Fence(w.loop, w.env(), name, by, func(e error) { err, done = e, true }) })
	w.settle()
	if !done {
		w.t.Fatal("fencing never ended")
	}
	return err
}

// create makes a log and waits for it, and for its first growth.
func (w *world) create(name string, config Config, summary Summarizer) *journal {
	j := &journal{w: w}
	failed := func(err error) {
		if j.failure != nil {
			w.t.Fatal("failure was reported twice")
		}
		j.failure = err
	}
	created := func(l *Log, err error) {
		if err != nil {
			w.t.Fatal(err)
		}
		j.log = l
	}
	w.turn(func() {
		if w.stores != nil {
			w.createSlots(config, name, summary, failed, created)
			return
		}
		config.Shared = w.shared
		Create(w.loop, w.env(), config, name, 7, summary, failed, created)
	})
	for j.log == nil {
		w.complete(0)
	}
	w.settle()
	return j
}

func (j *journal) device() *device { return j.log.medium.(*device) }

// append places one batch of the given size; it reports what Append did.
func (j *journal) append(bytes int) bool {
	n := len(j.accepted)
	a := &Append{
		Stream: uint64(n % 5), LeaderEpoch: int32(n % 3), BaseOffset: int64(n) * 10, Offsets: int32(n%9) + 1,
		Payload: batch(n, bytes), LogAppendTime: -1, Owner: j,
	}
	if n%4 == 3 {
		a.LogAppendTime = int64(n)
	}
	ok := j.log.Append(a)
	if ok {
		j.accepted = append(j.accepted, a)
		if j.keep {
			a.Slab.Retain()
		}
	}
	return ok
}

func batch(seed, bytes int) []byte {
	b := make([]byte, max(bytes, record.HeaderBytes))
	x := uint64(seed)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	record.Seal(b)
	return b
}

// want is the batch as it must lie in the log.
func want(a *Append) []byte {
	b := slices.Clone(a.Payload)
	record.Patch(b, a.BaseOffset, a.LeaderEpoch)
	if a.LogAppendTime >= 0 {
		record.StampLogAppendTime(b, a.LogAppendTime)
	}
	return b
}

// recovered is what Recover found.
type recovered struct {
	sealed  *Sealed
	entries []Entry
	err     error

	summary   []byte // the newest
	summaryAt Position
}

func (w *world) recover(name string) recovered {
	var r recovered
	done := false
	visit := func(e Entry) {
		e.Batch = slices.Clone(e.Batch)
		r.entries = append(r.entries, e)
	}
	summary := func(at Position, state []byte) { r.summary, r.summaryAt = slices.Clone(state), at }
	ended := func(s *Sealed, err error) { r.sealed, r.err, done = s, err, true }
	if w.shared {
		if r.err = w.fence(name, 1); r.err != nil {
			return r
		}
		w.disk.closed = 0
	}
	w.turn(func() {
		if w.stores != nil {
			recoverFrom(w.loop, &memorySource{world: w, name: name}, name, visit, summary, ended)
			return
		}
		Recover(w.loop, w.env(), Stored{Name: name}, visit, summary, ended)
	})
	w.settle()
	if !done {
		w.t.Fatal("recovery never ended")
	}
	return r
}

// read reads one entry back.
func (w *world) read(s *Sealed, e Entry) ([]byte, error) {
	var got []byte
	var failure error
	w.turn(func() {
		s.Read(e.At, e.Bytes, func(slab *env.Slab, offset int, err error) {
			if failure = err; err == nil {
				got = slices.Clone(slab.Data[offset : offset+int(e.Bytes)])
				slab.Release()
			}
		})
	})
	w.settle()
	return got, failure
}

type textSummary struct{ text func() string }

func (s textSummary) AppendSummary(dst []byte) []byte { return append(dst, s.text()...) }

func long(n int) string { return strings.Repeat("s", n) }
