package stream

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"weir/core/env"
	"weir/core/object"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wal"
)

// world is a node's outside. Nothing completes before the test says so; what completes next, and how,
// is the choice of pick and of the store's weather.
type world struct {
	t       testing.TB
	loop    *task.Loop
	now     env.Time
	wake    env.Time
	marks   *telemetry.Registry
	memory  *memory
	disk    *disk
	store   *store
	pending []operation
	late    []func() // effects of PUTs whose answer was lost before they arrived
	pick    func(n int) int
	logged  []string
}

type operation struct {
	event env.Event
	apply func()
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, memory: &memory{}, pick: func(int) int { return 0 }}
	w.disk = &disk{world: w, files: map[string]*file{}}
	w.store = &store{world: w, objects: map[string][]byte{}, weather: func(string) string { return "" }}
	w.loop, w.marks = task.NewLoop(w), telemetry.New(w, w)
	return w
}

func (w *world) Now() env.Time         { return w.now }
func (w *world) WallMillis() int64     { return int64(w.now) / 1e6 }
func (w *world) WakeAt(at env.Time)    { w.wake = at }
func (w *world) Submit(c *env.Compute) { w.push(c, c.Work) }
func (w *world) Log(level slog.Level, message string, attrs ...slog.Attr) {
	if level >= slog.LevelWarn {
		w.logged = append(w.logged, fmt.Sprint(message, attrs))
	}
}
func (w *world) Counter(string, string) env.Counter     { return nothing{} }
func (w *world) Gauge(string, string) env.Gauge         { return nothing{} }
func (w *world) Histogram(string, string) env.Histogram { return nothing{} }
func (w *world) Uint64(purpose string, e, c uint64) uint64 {
	x := e*0x9e3779b97f4a7c15 + c*0xbf58476d1ce4e5b9 + uint64(len(purpose))
	return x ^ x>>29
}

type nothing struct{}

func (nothing) Add(int64)     {}
func (nothing) Set(int64)     {}
func (nothing) Observe(int64) {}

func (w *world) env() env.Env {
	return env.Env{Clock: w, WAL: w.disk, Meta: w.disk, Store: w.store, Rand: w, Compute: w, Memory: w.memory, Log: w, Metrics: w}
}

func (w *world) push(e env.Event, apply func()) { w.pending = append(w.pending, operation{e, apply}) }

type event func()

func (e event) Deliver() { e() }

// turn runs f as one turn of the loop.
func (w *world) turn(f func()) { w.loop.Turn([]env.Event{event(f)}) }

// step completes one operation, or lets time pass to the next timer. False: nothing is left to happen.
func (w *world) step() bool {
	if n := len(w.pending); n > 0 {
		i := w.pick(n)
		op := w.pending[i]
		w.pending = slices.Delete(w.pending, i, i+1)
		op.apply()
		w.now += 1000
		w.loop.Turn([]env.Event{op.event})
		return true
	}
	return w.sleep()
}

func (w *world) sleep() bool {
	if w.wake <= w.now {
		return false
	}
	w.now = w.wake
	w.loop.Turn(nil)
	return true
}

// until steps until the condition holds.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for n := 0; !ok(); n++ {
		if n > 200_000 || !w.step() {
			w.t.Fatalf("never came: %s", what)
		}
	}
}

// settle completes everything in flight, without letting time pass.
func (w *world) settle() {
	for n := 0; len(w.pending) > 0; n++ {
		if n > 200_000 {
			w.t.Fatal("the world never comes to rest")
		}
		w.step()
	}
}

// crash drops the node: half of the writes in flight got to the device, PUTs in flight may have.
func (w *world) crash() {
	for i, op := range w.pending {
		switch e := op.event.(type) {
		case *env.DiskWrite:
			if w.pick(2) == 0 {
				op.apply()
			} else if e.Prepare != nil {
				e.Prepare()
			}
		case *env.PutObject:
			if w.pick(2) == 0 {
				op.apply()
			}
		}
		w.pending[i] = operation{}
	}
	w.pending, w.wake = nil, 0
	w.loop.Abandon()
	w.disk.open = nil
	w.memory = &memory{}
	w.loop = task.NewLoop(w)
}

// hits returns how often a mark was reached.
func (w *world) hits(mark string) int64 { return w.marks.Mark(mark).Hits }

// memory fills fresh slabs with garbage and freed ones with other garbage, so that a slab that is
// released early shows in checksums.
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

// disk keeps every completed write; what a crash does to writes in flight is crash's choice.
type disk struct {
	world   *world
	files   map[string]*file
	open    []*file
	failing bool // reads fail
	broken  bool // writes fail
}

type file struct{ data []byte }

func (f *file) writeAt(offset int64, b []byte) {
	if need := int(offset) + len(b); need > len(f.data) {
		f.data = append(f.data, make([]byte, need-len(f.data))...)
	}
	copy(f.data[offset:], b)
}

func (d *disk) BlockBytes() int { return 512 }

func (d *disk) Open(o *env.DiskOpen) {
	d.world.push(o, func() {
		f := d.files[o.Name]
		switch {
		case f == nil && !o.Create:
			o.Err = env.ErrNotExist
			return
		case f != nil && o.Exclusive:
			o.Err = env.ErrExist
			return
		case f == nil:
			f = &file{}
			d.files[o.Name] = f
		}
		d.open = append(d.open, f)
		o.File, o.Size = env.FileID(len(d.open)-1), int64(len(f.data))
	})
}

func (d *disk) Read(o *env.DiskRead) {
	d.world.push(o, func() {
		if d.failing {
			o.Err = env.ErrDiskIO
			return
		}
		if data := d.open[o.File].data; o.Offset < int64(len(data)) {
			o.N = copy(o.Data, data[o.Offset:])
		}
	})
}

func (d *disk) Write(o *env.DiskWrite) {
	f := d.open[o.File]
	d.world.push(o, func() {
		if o.Prepare != nil {
			o.Prepare()
		}
		if d.broken {
			o.Err = env.ErrDiskIO
			return
		}
		f.writeAt(o.Offset, o.Data)
	})
}

func (d *disk) Sync(o *env.DiskSync)     { d.world.push(o, func() {}) }
func (d *disk) Space(o *env.DiskSpace)   { panic("not used") }
func (d *disk) Rename(o *env.DiskRename) { panic("not used") }
func (d *disk) Remove(o *env.DiskRemove) { d.world.push(o, func() { delete(d.files, o.Name) }) }
func (d *disk) List(o *env.DiskList)     { panic("not used") }
func (d *disk) Close(env.FileID)         {}

// store is an object store whose weather says for each operation how it ends: "" well, "failed",
// "lost before" and "lost after" the effect, "late" (lost, and the effect comes some time after), and for
// reads "damaged" and "short".
type store struct {
	world   *world
	objects map[string][]byte
	weather func(op string) string
	puts    int
	gets    int
	hangs   bool // operations complete only once they are abandoned
	hung    []operation
	ended   bool // Abandon was called
}

// push completes an operation by and by, or holds it.
func (s *store) push(e env.Event, apply func()) {
	if s.ended && s.endsLog(e) {
		return
	}
	if s.ended {
		s.world.t.Fatal("an operation of the store is begun after the others were abandoned")
	}
	if s.hangs {
		s.hung = append(s.hung, operation{e, apply})
		return
	}
	s.world.push(e, apply)
}

// release lets what hangs go on.
func (s *store) release() {
	for _, op := range s.hung {
		s.world.push(op.event, op.apply)
	}
	s.hung = nil
}

// endsLog fails what logs of the object kind still begin: a group that gathered, its settling, deletions.
func (s *store) endsLog(e env.Event) bool {
	key := ""
	var fail func()
	switch o := e.(type) {
	case *env.PutObject:
		key, fail = o.Key, func() { o.Outcome, o.Err = env.OutcomeFailed, errEnded }
	case *env.GetObject:
		key, fail = o.Key, func() { o.Outcome, o.Err = env.OutcomeFailed, errEnded }
	case *env.DeleteObject:
		key, fail = o.Key, func() { o.Outcome, o.Err = env.OutcomeFailed, errEnded }
	}
	if !strings.HasPrefix(key, wal.ObjectPrefix("cluster")) {
		return false
	}
	s.world.push(e, fail)
	return true
}

var errEnded = &env.StoreError{Cause: env.CauseEnded, Err: env.ErrConnGone}

// Abandon implements env.Abandoner.
func (s *store) Abandon() {
	s.ended = true
	for _, op := range s.hung {
		s.world.push(op.event, func() {
			switch o := op.event.(type) {
			case *env.PutObject:
				o.Outcome, o.Err = env.OutcomeUnknown, errEnded
			case *env.GetObject:
				o.Outcome, o.Err = env.OutcomeFailed, errEnded
			}
		})
	}
	s.hung = nil
}

func (s *store) Put(o *env.PutObject) {
	s.push(o, func() {
		s.puts++
		weather := s.weather("put")
		create := func() bool {
			if _, there := s.objects[o.Key]; there {
				return false
			}
			s.objects[o.Key] = slices.Concat(o.Body...)
			return true
		}
		switch weather {
		case "failed":
			o.Outcome = env.OutcomeFailed
		case "lost before":
			o.Outcome = env.OutcomeUnknown
		case "late":
			o.Outcome = env.OutcomeUnknown
			key, body := o.Key, slices.Concat(o.Body...)
			s.world.late = append(s.world.late, func() {
				if _, there := s.objects[key]; !there {
					s.objects[key] = body
				}
			})
		case "lost after":
			create()
			o.Outcome = env.OutcomeUnknown
		default:
			if !create() {
				o.Outcome = env.OutcomeRefused
			}
		}
		if o.Outcome != env.OutcomeDone {
			o.Err = env.ErrConnGone
		}
	})
}

func (s *store) Get(o *env.GetObject) {
	s.push(o, func() {
		s.gets++
		weather := s.weather("get")
		data, there := s.objects[o.Key]
		switch {
		case weather == "failed":
			o.Outcome, o.Err = env.OutcomeFailed, env.ErrConnGone
			return
		case !there:
			o.Outcome, o.Err = env.OutcomeRefused, env.ErrNotExist
			return
		}
		o.Size = int64(len(data))
		for o.Offset+int64(o.N) < o.Size && len(o.Room(o.N)) > 0 {
			o.N += copy(o.Room(o.N), data[o.Offset+int64(o.N):])
		}
		switch weather {
		case "damaged":
			o.Room(o.N / 2)[0] ^= 0x40
		case "short":
			o.N /= 2
		}
	})
}

// Delete is used by logs of the object kind only.
func (s *store) Delete(o *env.DeleteObject) {
	s.push(o, func() {
		if weather := s.weather("delete"); weather == "failed" {
			o.Outcome, o.Err = env.OutcomeFailed, env.ErrConnGone
			return
		}
		delete(s.objects, o.Key)
	})
}

func (s *store) List(o *env.ListObjects) { panic("not used") }

// keys returns the objects' names, in order.
func (s *store) keys() []string {
	var keys []string
	for key := range s.objects {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}

// audit reads every object back by its own header and footer.
func (s *store) audit() {
	for _, key := range s.keys() {
		data := s.objects[key]
		if strings.HasPrefix(key, wal.ObjectPrefix("cluster")) {
			continue
		}
		h, err := object.ParseHeader(data)
		if err != nil || h.Bytes != int64(len(data)) {
			s.world.t.Fatalf("object %s: %v, %d of %d bytes", key, err, len(data), h.Bytes)
		}
		if _, err := object.ParseFooter(data[h.Footer:], &h); err != nil {
			s.world.t.Fatalf("object %s: %v", key, err)
		}
	}
}
