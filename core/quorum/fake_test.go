package quorum

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"weir/core/env"
	"weir/core/task"
)

// world is a node's outside under the test's command: nothing completes before the test says so.
type world struct {
	t       testing.TB
	loop    *task.Loop
	now     env.Time
	wake    env.Time
	draws   uint64 // moves every random draw
	disk    *disk
	store   *bucket
	memory  *memory
	pending []pending
	logged  []string
}

// pending is an operation in flight. crash settles it when the node dies; keep decides what of it
// got through.
type pending struct {
	event env.Event
	apply func()
	crash func(keep func() bool)
	file  *file // that a write or read touches
	from  int64
	upTo  int64
	write bool
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: 1000}
	w.disk = &disk{w: w, files: map[string]*file{}, block: 512}
	w.store = &bucket{w: w, objects: map[string][]byte{}}
	w.reset()
	return w
}

func (w *world) reset() {
	w.memory, w.loop, w.wake, w.pending, w.disk.open = &memory{}, task.NewLoop(w), 0, nil, nil
}

func (w *world) Now() env.Time      { return w.now }
func (w *world) WallMillis() int64  { return int64(w.now) }
func (w *world) WakeAt(at env.Time) { w.wake = at }
func (w *world) Log(_ slog.Level, m string, _ ...slog.Attr) {
	if !strings.HasPrefix(m, "raft: ") {
		w.logged = append(w.logged, m)
	}
}
func (w *world) Counter(string, string) env.Counter  { return nothing{} }
func (w *world) Gauge(string, string) env.Gauge      { return nothing{} }
func (w *world) Histogram(s, h string) env.Histogram { return nothing{} }
func (w *world) Uint64(p string, e, c uint64) uint64 {
	return (uint64(len(p))+w.draws+e*31+c*17+1)*0x9e3779b97f4a7c15 ^ e
}

// Submit implements env.Computer. The work is done as late as can be.
func (w *world) Submit(c *env.Compute) {
	w.pending = append(w.pending, pending{event: c, crash: func(func() bool) {}, apply: c.Work})
}

type nothing struct{}

func (nothing) Add(int64)     {}
func (nothing) Set(int64)     {}
func (nothing) Observe(int64) {}

func (w *world) env() env.Env {
	return env.Env{Clock: w, Meta: w.disk, Store: w.store, Rand: w, Compute: w, Memory: w.memory, Log: w, Metrics: w}
}

type event func()

func (e event) Deliver() { e() }

// turn runs f as one turn of the loop.
func (w *world) turn(f func()) { w.loop.Turn([]env.Event{event(f)}) }

// complete ends the i-th operation in flight.
func (w *world) complete(i int) {
	op := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	op.apply()
	w.now++
	w.loop.Turn([]env.Event{op.event})
}

// settle completes everything in order until nothing is left; timers do not fire but those due.
func (w *world) settle() {
	for n := 0; len(w.pending) > 0; n++ {
		if n > 1_000_000 {
			w.t.Fatal("the world never comes to rest")
		}
		w.complete(0)
	}
}

// advance lets the next timer fire.
func (w *world) advance() {
	w.now = max(w.now+1, w.wake)
	w.turn(func() {})
}

// kill drops the node's process: the cache keeps what it has.
func (w *world) kill(keep func() bool) {
	for _, op := range w.pending {
		op.crash(keep)
	}
	w.loop.Abandon()
	w.reset()
}

// crash is a power failure.
func (w *world) crash(keep func() bool) {
	for _, op := range w.pending {
		op.crash(keep)
	}
	for _, name := range w.disk.names() {
		w.disk.files[name].settle(keep, w.disk.block)
	}
	w.loop.Abandon()
	w.reset()
}

func always() bool { return true }
func never() bool  { return false }

// disk is a directory with a volatile cache before the medium.
type disk struct {
	w     *world
	files map[string]*file
	open  []*handle
	block int

	failing func(op env.Event) error // may fail any operation
	writes  int
}

type handle struct {
	*file
	closed bool
}

// file has what the cache shows and what the medium has.
type file struct{ data, durable []byte }

func put(into []byte, offset int64, b []byte) []byte {
	if need := int(offset) + len(b); need > len(into) {
		into = append(into, make([]byte, need-len(into))...)
	}
	copy(into[offset:], b)
	return into
}

// settle is a power failure: each block that differs from the medium got there or not.
func (f *file) settle(keep func() bool, block int) {
	for at := 0; at < len(f.data); at += block {
		piece := f.data[at:min(at+block, len(f.data))]
		if (at+len(piece) > len(f.durable) || !bytes.Equal(piece, f.durable[at:at+len(piece)])) && keep() {
			f.durable = put(f.durable, int64(at), piece)
		}
	}
	f.data = bytes.Clone(f.durable)
}

func (d *disk) names() []string {
	var names []string
	for name := range d.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *disk) handle(id env.FileID) *file {
	h := d.open[id]
	if h.closed {
		panic("use of a closed file")
	}
	return h.file
}

// opens counts the files that are open.
func (d *disk) opens() (n int) {
	for _, h := range d.open {
		if !h.closed {
			n++
		}
	}
	return n
}

// push submits an operation whose effect is apply, unless failing says no.
func (d *disk) push(p pending, fail func(error), effect func()) {
	for _, o := range d.w.pending {
		if p.file != nil && o.file == p.file && p.from < o.upTo && o.from < p.upTo && (p.write || o.write) {
			panic("overlapping I/O")
		}
	}
	p.apply = func() {
		if d.failing != nil {
			if err := d.failing(p.event); err != nil {
				fail(err)
				return
			}
		}
		effect()
	}
	if p.crash == nil {
		p.crash = func(keep func() bool) {
			if keep() {
				effect()
			}
		}
	}
	d.w.pending = append(d.w.pending, p)
}

func (d *disk) BlockBytes() int { return d.block }

func (d *disk) Open(o *env.DiskOpen) {
	d.push(pending{event: o}, func(err error) { o.Err = err }, func() {
		f := d.files[o.Name]
		if f == nil && !o.Create {
			o.Err = env.ErrNotExist
			return
		}
		if f == nil {
			f = &file{}
			d.files[o.Name] = f
		}
		d.open = append(d.open, &handle{file: f})
		o.File, o.Size = env.FileID(len(d.open)-1), int64(len(f.data))
	})
}

func (d *disk) aligned(offset int64, data []byte) {
	if offset%int64(d.block) != 0 || len(data)%d.block != 0 || len(data) == 0 {
		panic(fmt.Sprintf("misaligned I/O at %d of %d bytes", offset, len(data)))
	}
}

func (d *disk) Read(o *env.DiskRead) {
	d.aligned(o.Offset, o.Data)
	f := d.handle(o.File)
	p := pending{event: o, file: f, from: o.Offset, upTo: o.Offset + int64(len(o.Data)), crash: func(func() bool) {}}
	d.push(p, func(err error) { o.Err = err }, func() {
		if o.Offset < int64(len(f.data)) {
			o.N = copy(o.Data, f.data[o.Offset:])
		}
	})
}

func (d *disk) Write(o *env.DiskWrite) {
	d.aligned(o.Offset, o.Data)
	f := d.handle(o.File)
	p := pending{event: o, file: f, from: o.Offset, upTo: o.Offset + int64(len(o.Data)), write: true}
	prepare := func() {
		if o.Prepare != nil {
			o.Prepare()
		}
	}
	p.crash = func(keep func() bool) {
		prepare()
		for at := 0; at < len(o.Data); at += d.block {
			if keep() {
				f.data = put(f.data, o.Offset+int64(at), o.Data[at:at+d.block])
			}
		}
	}
	d.push(p, func(err error) { o.Err = err }, func() {
		prepare()
		d.writes++
		f.data = put(f.data, o.Offset, o.Data)
		if o.Durable {
			f.durable = put(f.durable, o.Offset, o.Data)
		}
	})
}

func (d *disk) Sync(o *env.DiskSync) {
	f := d.handle(o.File)
	d.push(pending{event: o}, func(err error) { o.Err = err }, func() { f.durable = bytes.Clone(f.data) })
}

func (d *disk) Space(*env.DiskSpace) { panic("not used") }

func (d *disk) Rename(o *env.DiskRename) {
	d.push(pending{event: o}, func(err error) { o.Err = err }, func() {
		f := d.files[o.From]
		if f == nil {
			o.Err = env.ErrNotExist
			return
		}
		delete(d.files, o.From)
		d.files[o.To] = f
	})
}

func (d *disk) Remove(o *env.DiskRemove) {
	d.push(pending{event: o}, func(err error) { o.Err = err }, func() { delete(d.files, o.Name) })
}

func (d *disk) List(o *env.DiskList) {
	d.push(pending{event: o}, func(err error) { o.Err = err }, func() {
		for _, name := range d.names() {
			if strings.HasPrefix(name, o.Prefix) {
				o.Files = append(o.Files, env.FileInfo{Name: name, Size: int64(len(d.files[name].data))})
			}
		}
	})
}

func (d *disk) Close(id env.FileID) {
	h := d.open[id]
	for _, o := range d.w.pending {
		if o.file == h.file {
			panic("closed with an operation in flight")
		}
	}
	if h.closed {
		panic("closed twice")
	}
	h.closed = true
}

// Ills of the bucket, for one operation.
const (
	healthy = iota
	refuse
	lostBefore
	lostAfter
	corrupt
)

// bucket is the object store. ill decides what becomes of an operation.
type bucket struct {
	w       *world
	objects map[string][]byte
	ill     func(op env.Event) int
	gets    int
	puts    int
}

var errWeather = errors.New("503 slow down")

func (b *bucket) illness(op env.Event) int {
	if b.ill == nil {
		return healthy
	}
	return b.ill(op)
}

func (b *bucket) Put(o *env.PutObject) {
	b.puts++
	create := func() bool {
		if b.objects[o.Key] != nil {
			return false
		}
		b.objects[o.Key] = bytes.Join(o.Body, nil)
		return true
	}
	b.w.pending = append(b.w.pending, pending{event: o, crash: func(keep func() bool) {
		if keep() {
			create()
		}
	}, apply: func() {
		switch b.illness(o) {
		case healthy:
			o.Outcome = env.OutcomeDone
			if !create() {
				o.Outcome, o.Err = env.OutcomeRefused, errors.New("412 exists")
			}
		case refuse:
			o.Outcome, o.Err = env.OutcomeFailed, errWeather
		case lostBefore:
			o.Outcome, o.Err = env.OutcomeUnknown, errors.New("no answer")
		case lostAfter:
			create()
			o.Outcome, o.Err = env.OutcomeUnknown, errors.New("no answer")
		}
	}})
}

func (b *bucket) Get(o *env.GetObject) {
	b.gets++
	b.w.pending = append(b.w.pending, pending{event: o, crash: func(func() bool) {}, apply: func() {
		body := b.objects[o.Key]
		switch ill := b.illness(o); {
		case ill == refuse || ill == lostBefore || ill == lostAfter:
			o.Outcome, o.Err = env.OutcomeFailed, errWeather
		case body == nil:
			o.Outcome, o.Err = env.OutcomeRefused, errors.New("404")
		default:
			o.N, o.Size = copy(o.Into, body), int64(len(body))
			if ill == corrupt {
				o.Into[o.N/2] ^= 1
			}
		}
	}})
}

func (b *bucket) Delete(o *env.DeleteObject) {
	b.w.pending = append(b.w.pending, pending{event: o, crash: func(func() bool) {}, apply: func() {
		o.Outcome = env.OutcomeDone
		delete(b.objects, o.Key)
	}})
}

func (b *bucket) Compose(*env.ComposeObject) { panic("not used") }

func (b *bucket) List(o *env.ListObjects) {
	b.w.pending = append(b.w.pending, pending{event: o, crash: func(func() bool) {}, apply: func() {
		o.Outcome = env.OutcomeDone
		var keys []string
		for key := range b.objects {
			if strings.HasPrefix(key, o.Prefix) && key > o.StartAfter {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		if o.More = len(keys) > o.Limit; o.More {
			keys = keys[:o.Limit]
		}
		for _, key := range keys {
			o.Objects = append(o.Objects, env.ObjectInfo{Key: key, Size: int64(len(b.objects[key]))})
		}
	}})
}

// memory fills fresh slabs with garbage and freed ones with other garbage, so that a byte relied on
// without being written, or a slab released early, shows in checksums.
type memory struct{ live, bytes, peak int }

func (m *memory) Alloc(bytes int) *env.Slab {
	m.live++
	m.bytes += bytes
	m.peak = max(m.peak, m.bytes)
	return env.NewSlab(m, slices.Repeat([]byte{0xA5}, bytes))
}

func (m *memory) Free(s *env.Slab) {
	m.live--
	m.bytes -= len(s.Data)
	copy(s.Data, slices.Repeat([]byte{0xDD}, len(s.Data)))
}

// machine is a state machine that keeps every entry, and a pad that makes its snapshots large.
type machine struct {
	t       testing.TB
	entries [][]byte
	index   uint64
	pad     int
	unknown string // an entry that it cannot apply
	applied func() // called after each change
}

var errUnknownEntry = errors.New("unknown entry")

func (m *machine) Apply(index, term uint64, data []byte) error {
	if index <= m.index || term == 0 {
		m.t.Fatalf("entry %d of term %d is applied after entry %d", index, term, m.index)
	}
	m.index = index
	if m.unknown != "" && m.unknown == string(data) {
		return errUnknownEntry
	}
	m.entries = append(m.entries, data)
	if m.applied != nil {
		m.applied()
	}
	return nil
}

func (m *machine) AppendSnapshot(dst []byte) []byte {
	for _, e := range m.entries {
		dst = binary.AppendUvarint(dst, uint64(len(e)+1))
		dst = append(dst, e...)
	}
	return append(append(dst, 0), make([]byte, m.pad)...)
}

func (m *machine) Restore(index uint64, snapshot []byte) error {
	m.entries, m.index = nil, index
	for {
		n, used := binary.Uvarint(snapshot)
		if used <= 0 || n > uint64(len(snapshot)) {
			return errors.New("the snapshot is no snapshot")
		}
		if n == 0 {
			return nil
		}
		m.entries = append(m.entries, bytes.Clone(snapshot[used:used+int(n)-1]))
		snapshot = snapshot[used+int(n)-1:]
	}
}

// node is one incarnation.
type node struct {
	w       *world
	q       *Quorum
	machine *machine
	err     error // of Open
	failure error
	done    bool // Open has answered
	acked   []string
	replica *Quorum // as Open returned it
}

// open starts a node; it does not wait.
func (w *world) open(change func(*Options)) *node {
	n := &node{w: w, machine: &machine{t: w.t}}
	o := Options{Loop: w.loop, Env: w.env(), Machine: n.machine, Failed: func(err error) {
		if n.failure != nil {
			w.t.Fatal("failure was reported twice")
		}
		n.failure = err
	}}
	if change != nil {
		change(&o)
	}
	w.turn(func() {
		n.replica = Open(o, func(q *Quorum, err error) {
			if n.done {
				w.t.Fatal("Open answered twice")
			}
			n.q, n.err, n.done = q, err, true
		})
	})
	return n
}

// start opens a node and waits for it to lead.
func (w *world) start(change func(*Options)) *node {
	n := w.open(change)
	w.settle()
	if !n.done || n.err != nil {
		w.t.Fatalf("not started: %v", n.err)
	}
	return n
}

// propose proposes one entry and notes when it is acknowledged.
func (n *node) propose(data string) {
	n.q.Propose([]byte(data), func(index uint64, err error) {
		if err != nil {
			n.w.t.Fatalf("proposal of %.20q: %v", data, err)
		}
		last := len(n.machine.entries) - 1
		if index != n.machine.index || string(n.machine.entries[last]) != data {
			n.w.t.Fatalf("%.20q is answered with index %d after entry %d was applied", data, index, n.machine.index)
		}
		n.acked = append(n.acked, data)
	})
}

// write proposes entries in one turn and waits for them.
func (n *node) write(entries ...string) {
	n.w.turn(func() {
		for _, e := range entries {
			n.propose(e)
		}
	})
	n.w.settle()
}

func (n *node) close() {
	closed := false
	n.w.turn(func() { n.q.Close(func() { closed = true }) })
	n.w.settle()
	if !closed || n.w.memory.live != 0 || n.w.disk.opens() != 0 {
		n.w.t.Fatalf("closed %v, %d slabs left, %d files open", closed, n.w.memory.live, n.w.disk.opens())
	}
}

// has checks the entries that the machine holds.
func (n *node) has(want ...string) {
	n.w.t.Helper()
	if len(n.machine.entries) != len(want) {
		n.w.t.Fatalf("the machine holds %d entries, want %d", len(n.machine.entries), len(want))
	}
	for i, e := range n.machine.entries {
		if string(e) != want[i] {
			n.w.t.Fatalf("entry %d is %.20q, want %.20q", i, e, want[i])
		}
	}
}
