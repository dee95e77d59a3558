package quorum

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/env"

	"pgregory.net/rapid"
)

// newest is the name of the newest segment.
func (w *world) newest() string {
	name := ""
	for _, n := range w.disk.names() {
		if strings.HasPrefix(n, segmentPrefix) {
			name = n
		}
	}
	return name
}

// filled is a crashed node with a snapshot, a segment before the newest, and three groups in that.
func filled(t testing.TB) *world {
	w := newWorld(t)
	n := w.start(func(o *Options) { o.SnapshotEntries = 8 })
	for i := range 9 {
		n.write(fmt.Sprintf("old %d", i))
	}
	w.crash(never)
	n = w.start(nil)
	n.write(strings.Repeat("x", 6000), "second")
	n.write("third")
	n.write("fourth")
	w.crash(never)
	return w
}

func TestDamageOfWhatIsVouchedForIsLoud(t *testing.T) {
	byte0 := func(at int) func([]byte) { return func(b []byte) { b[at] ^= 1 } }
	segments := map[string]func([]byte){
		"segment header":    byte0(60),
		"group header":      byte0(2*blockBytes + 40),
		"group body":        byte0(3*blockBytes + 100),
		"group zeroed":      func(b []byte) { clear(b[2*blockBytes:][:2*blockBytes]) },
		"first group":       byte0(blockBytes + 20),
		"a group elsewhere": func(b []byte) { copy(b[2*blockBytes:][:2*blockBytes], b[4*blockBytes:]) },
	}
	check := func(t *testing.T, w *world, name string) {
		var corrupt *CorruptError
		n := w.patient(nil)
		if !errors.As(n.err, &corrupt) || corrupt.File != name {
			t.Fatalf("got %v", n.err)
		}
		if w.memory.live != 0 || w.disk.opens() != 0 {
			t.Fatalf("%d slabs left, %d files open", w.memory.live, w.disk.opens())
		}
	}
	for what, damage := range segments {
		t.Run(what, func(t *testing.T) {
			w := filled(t)
			damage(w.disk.files[w.newest()].data)
			check(t, w, w.newest())
		})
	}
	for what, damage := range map[string]func([]byte){
		"snapshot header": byte0(70), "snapshot voters": byte0(82), "snapshot data": byte0(blockBytes + 3),
	} {
		t.Run(what, func(t *testing.T) {
			w := filled(t)
			name := w.disk.names()[len(w.disk.files)-1]
			damage(w.disk.files[name].data)
			check(t, w, name)
		})
	}
	t.Run("segment missing", func(t *testing.T) {
		w := filled(t)
		names := w.disk.names()
		delete(w.disk.files, names[len(names)-3])
		check(t, w, names[len(names)-3])
	})
	t.Run("snapshot missing", func(t *testing.T) {
		w := filled(t)
		names := w.disk.names()
		delete(w.disk.files, names[len(names)-1])
		check(t, w, snapshotPrefix)
	})
	t.Run("segment cut short", func(t *testing.T) {
		w := filled(t)
		before := w.disk.names()[len(w.disk.files)-3]
		f := w.disk.files[before]
		f.data = f.data[:blockBytes]
		check(t, w, before)
	})
}

// Whatever byte or block of whatever file is damaged: it is loud, or it does not matter, or it was in
// the one group that nothing vouches for.
func TestDamageAnywhereIsLoudOrHarmless(t *testing.T) {
	whole := filled(t)
	undamaged := whole.start(nil)
	want := undamaged.machine.entries
	whole = filled(t)
	for _, f := range whole.disk.files {
		f.data = f.data[:roundUp(len(bytes.TrimRight(f.data, "\x00"))+1)]
	}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.store.objects = whole.store.objects
		for n, f := range whole.disk.files {
			w.disk.files[n] = &file{data: bytes.Clone(f.data), durable: bytes.Clone(f.data)}
		}
		data := w.disk.files[rapid.SampledFrom(w.disk.names()).Draw(rt, "file")].data
		at := rapid.IntRange(0, len(data)-1).Draw(rt, "at")
		if rapid.Bool().Draw(rt, "block") {
			block := data[at/512*512:][:512]
			copy(block, data[rapid.IntRange(0, len(data)/512-1).Draw(rt, "from")*512:])
		} else {
			data[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		}
		n := w.patient(nil)
		var corrupt *CorruptError
		switch {
		case n.err != nil && !errors.As(n.err, &corrupt):
			rt.Fatalf("not called damage: %v", n.err)
		case n.err == nil && len(n.machine.entries) < len(want)-1:
			rt.Fatalf("%d entries of %d are left", len(n.machine.entries), len(want))
		case n.err == nil:
			for i, e := range n.machine.entries {
				if !bytes.Equal(e, want[i]) {
					rt.Fatalf("entry %d is %.20q, want %.20q", i, e, want[i])
				}
			}
			n.close()
		}
	})
}

func TestATornLastGroupEndsTheLog(t *testing.T) {
	for torn := range 17 {
		w := newWorld(t)
		n := w.start(nil)
		n.write("a")
		w.turn(func() { n.propose(strings.Repeat("b", 8000)) })
		block := 0
		w.crash(func() bool { block++; return block != torn })
		n = w.start(nil)
		if torn == 0 {
			n.has("a", strings.Repeat("b", 8000))
		} else if got := len(n.machine.entries); got > 2 {
			t.Fatalf("block %d lost: %d entries", torn, got)
		}
		n.write("c")
		w.crash(never)
		n = w.start(nil) // the torn group now lies in the middle of the log, and is passed over
		if torn > 0 && torn < 17 {
			if last := len(n.machine.entries) - 1; string(n.machine.entries[0]) != "a" || string(n.machine.entries[last]) != "c" {
				t.Fatalf("block %d lost: %d entries", torn, last+1)
			}
		}
	}
}

// A killed process leaves a group in the page cache that no sync covered. Once a restart has shown
// it, no power failure may take it back (R7).
func TestWhatARestartShowedStays(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	n.write("a")
	w.turn(func() { n.propose("b") })
	w.kill(always)
	w.start(nil).has("a", "b")
	w.crash(never)
	w.start(nil).has("a", "b")
}

func TestACleanlyClosedLogVouchesForItsLastGroup(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	n.write("a")
	at := int(n.q.log.at) - blockBytes
	n.close()
	w.crash(never)
	w.disk.files[w.newest()].data[at+groupHeaderBytes+30] ^= 1
	var corrupt *CorruptError
	if n = w.patient(nil); !errors.As(n.err, &corrupt) {
		t.Fatalf("got %v", n.err)
	}
}

func TestAnotherVersionIsNamed(t *testing.T) {
	for what, prefix := range map[string]string{"segment": segmentPrefix, "snapshot": snapshotPrefix} {
		t.Run(what, func(t *testing.T) {
			w := filled(t)
			for _, name := range w.disk.names() {
				if strings.HasPrefix(name, prefix) {
					b := w.disk.files[name].data
					order.PutUint32(b[8:], 7)
					resum(b, false)
				}
			}
			var version *VersionError
			if n := w.patient(nil); !errors.As(n.err, &version) || version.Version != 7 {
				t.Fatalf("got %v", n.err)
			}
		})
	}
}

// history drives nodes at random through crashes, and knows what each recovery may find.
type history struct {
	*rapid.T
	w        *world
	n        *node
	found    []string // by the last recovery
	proposed []string // since
	serial   int
	full     bool
}

func (h *history) start() {
	entries := rapid.Int64Range(1, 40).Draw(h.T, "snapshot entries")
	bytes := rapid.Int64Range(4096, 200_000).Draw(h.T, "snapshot bytes")
	h.n = h.w.open(func(o *Options) { o.SnapshotEntries, o.SnapshotBytes = entries, bytes })
	h.n.machine.pad = rapid.SampledFrom([]int{0, 5000, pieceBytes}).Draw(h.T, "pad")
}

func (h *history) propose() {
	sizes := rapid.SliceOfN(rapid.IntRange(1, 6000), 1, 5).Draw(h.T, "sizes")
	h.w.turn(func() {
		for _, size := range sizes {
			h.serial++
			e := fmt.Sprintf("%d %s", h.serial, strings.Repeat("x", size))
			h.n.propose(e)
			h.proposed = append(h.proposed, e)
		}
	})
}

func (h *history) step() {
	leads := h.n.done && h.n.err == nil
	if h.n.err != nil && !errors.Is(h.n.err, env.ErrDiskFull) || h.n.failure != nil {
		h.Fatalf("failed: %v %v", h.n.err, h.n.failure)
	}
	switch rapid.IntRange(0, 19).Draw(h.T, "step") {
	case 0, 1, 2, 3:
		if leads {
			h.propose()
		}
	case 4:
		h.w.advance()
	case 5:
		h.full = rapid.IntRange(0, 3).Draw(h.T, "full") == 0
	case 6:
		if rapid.IntRange(0, 3).Draw(h.T, "crash") == 0 {
			h.crash()
		}
	default:
		if n := len(h.w.pending); n > 0 {
			h.w.complete(rapid.IntRange(0, n-1).Draw(h.T, "which"))
		}
	}
}

// crash drops the node and starts the next; if it had led, what it had recovered is checked.
func (h *history) crash() {
	odds := rapid.IntRange(0, 20).Draw(h.T, "odds")
	die := h.w.crash
	if rapid.Bool().Draw(h.T, "kill only") {
		die = h.w.kill
	}
	die(func() bool { return odds == 20 || odds > 0 && rapid.IntRange(1, 20).Draw(h.T, "keep") <= odds })
	h.w.draws++
	acked := len(h.n.acked)
	h.full = false
	h.start()
	if rapid.Bool().Draw(h.T, "crash while it opens") {
		for range rapid.IntRange(0, 30).Draw(h.T, "steps of opening") {
			if len(h.w.pending) > 0 {
				h.w.complete(0)
			}
		}
		h.w.crash(func() bool { return rapid.Bool().Draw(h.T, "keep") })
		h.start()
	}
	for range 100 {
		h.w.settle()
		if h.n.done {
			break
		}
		h.w.advance()
	}
	h.check(acked)
}

// check compares the machine with what was found before, then all that was acknowledged, then
// perhaps more of what was proposed, in order.
func (h *history) check(acked int) {
	if h.n.err != nil || !h.n.done {
		h.Fatalf("recovery: %v, answered %v", h.n.err, h.n.done)
	}
	all := append(slices.Clone(h.found), h.proposed...)
	got := h.n.machine.entries
	if len(got) < len(h.found)+acked || len(got) > len(all) {
		h.Fatalf("recovered %d entries; %d were there before, %d acknowledged, %d proposed", len(got), len(h.found), acked, len(h.proposed))
	}
	for i, e := range got {
		if string(e) != all[i] {
			h.Fatalf("entry %d is %.20q, want %.20q", i, e, all[i])
		}
	}
	h.found, h.proposed = all[:len(got)], nil
	if h.w.memory.live > 1 {
		h.Fatalf("%d slabs in use at rest", h.w.memory.live)
	}
}

func TestEveryAcknowledgedEntryIsFoundAfterCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{T: rt, w: newWorld(t)}
		h.w.disk.block = rapid.SampledFrom([]int{512, 4096}).Draw(rt, "block")
		h.w.disk.failing = func(op env.Event) error {
			if _, write := op.(*env.DiskWrite); write && h.full && h.n.done {
				return env.ErrDiskFull
			}
			return nil
		}
		h.start()
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			h.step()
		}
		h.crash()
		h.n.write("after all")
		h.n.close()
	})
}

var update = flag.Bool("update", false, "write the golden files anew")

// golden is a directory with every structure of the formats: a snapshot with data, a segment with a
// torn tail, one that follows it, groups with and without entries, and a founding.
func golden(t *testing.T) (*world, []string) {
	w := newWorld(t)
	founded := w.open(nil)
	for len(w.disk.files) == 0 || w.disk.files[foundingName] == nil {
		w.complete(0)
	}
	plan := w.disk.files[foundingName]
	w.settle()
	founded.write("first", "second")
	founded.write("third")
	founded.q.snapshots.bytes = founded.q.o.SnapshotBytes
	founded.write("fourth")
	founded.write("fifth", strings.Repeat("sixth", 1000))
	w.turn(func() { founded.propose(strings.Repeat("torn", 2000)) })
	block := 0
	w.crash(func() bool { block++; return block < 4 })
	n := w.start(nil)
	n.write("seventh")
	n.close()
	w.crash(never)
	w.disk.files[foundingName] = plan
	return w, []string{"first", "second", "third", "fourth", "fifth", strings.Repeat("sixth", 1000), "seventh"}
}

// pack joins the disk's files and the marker, the zeros at each end cut off.
func pack(w *world) []byte {
	var b bytes.Buffer
	put := func(name string, data []byte) {
		data = bytes.TrimRight(data, "\x00")
		data = data[:min(len(data), 64<<10)]
		fmt.Fprintf(&b, "%s %d\n", name, len(data))
		b.Write(data)
		b.WriteByte('\n')
	}
	for _, name := range w.disk.names() {
		put(name, w.disk.files[name].data)
	}
	put(markerKey, w.store.objects[markerKey])
	return b.Bytes()
}

func unpack(t *testing.T, w *world, packed []byte) {
	w.disk.files = map[string]*file{}
	for len(packed) > 0 {
		line, rest, _ := bytes.Cut(packed, []byte("\n"))
		var name string
		var bytesCount int
		if _, err := fmt.Sscanf(string(line), "%s %d", &name, &bytesCount); err != nil {
			t.Fatal(err)
		}
		data := append([]byte(nil), rest[:bytesCount]...)
		if name == markerKey {
			w.store.objects[name] = append(data, make([]byte, max(0, markerBytes-len(data)))...)
		} else {
			data = append(data, make([]byte, roundUp(len(data)+1)-len(data))...)
			w.disk.files[name] = &file{data: data, durable: bytes.Clone(data)}
		}
		packed = rest[bytesCount+1:]
	}
}

func TestGoldenFilesOfVersion1(t *testing.T) {
	w, want := golden(t)
	path := filepath.Join("testdata", "v1.quorum")
	if *update {
		if err := os.WriteFile(path, pack(w), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed, pack(w)) {
		t.Error("the same proposals no longer give the same files: a new format needs a new version")
	}
	first, err := os.ReadFile(filepath.Join("testdata", "v1-first.quorum")) // of a start that wrote nothing again
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join("testdata", "v1-second.quorum")) // of a program that encoded snapshots on the loop
	if err != nil {
		t.Fatal(err)
	}
	for _, packed := range [][]byte{packed, first, second} {
		w := newWorld(t)
		unpack(t, w, packed)
		if _, ok := decodeFounding(w.disk.files[foundingName].data); !ok {
			t.Error("the founding cannot be read")
		}
		n := w.start(nil)
		n.has(want...)
		if n.failure != nil {
			t.Fatal(n.failure)
		}
		n.close()
	}
}

// FuzzRecover opens a directory with one file of which bytes were overwritten and the end was cut off,
// as a short script says: the fuzzer works on scripts, which are small, instead of on files.
func FuzzRecover(f *testing.F) {
	w := filled(f)
	names := w.disk.names()
	snapshot, segment := names[len(names)-1], w.newest()
	f.Add(true, []byte{})
	f.Add(true, []byte{mendHeads, 0, 0x10, 48, 4, 0xff, 0xff, 0xff, 0x7f}) // a group's bytes
	f.Add(true, []byte{mendAll, 0, 0x10, groupHeaderBytes, 2, 0xff, 0xff}) // a record's bytes
	f.Add(true, []byte{mendAll, 0, 0x10, groupHeaderBytes + 16, 1, 0x7f})  // its index
	f.Add(true, []byte{mendNothing, 0, 0x20, 9, 0})                        // cut inside a group
	f.Add(false, []byte{mendAll, 0, 0, 56, 5, 0, 0, 0, 0, 0xff})           // the snapshot's bytes
	f.Add(false, []byte{mendNothing, 0, 0, 0, 0})                          // no snapshot
	whole := w.disk.files
	for _, f := range whole {
		f.data = f.data[:roundUp(len(bytes.TrimRight(f.data, "\x00"))+1)] // small is fast
	}
	f.Fuzz(func(t *testing.T, ofLog bool, script []byte) {
		if len(script) > 1<<10 {
			return
		}
		name := snapshot
		if ofLog {
			name = segment
		}
		w := newWorld(t)
		for n, f := range whole {
			data := bytes.Clone(f.data)
			if n == name {
				data = spoil(data, script)
			}
			w.disk.files[n] = &file{data: data, durable: bytes.Clone(data)}
		}
		n := w.open(nil)
		w.settle()
		if !n.done {
			t.Fatal("Open never answers")
		}
		if n.err == nil {
			n.close()
		}
		if w.memory.live != 0 || w.memory.peak > 4<<20 {
			t.Fatalf("%d slabs left, %d bytes at the peak", w.memory.live, w.memory.peak)
		}
	})
}

// How a script's first byte says which checksums are made to fit afterwards, so that the fuzzer gets
// past them.
const (
	mendNothing = iota
	mendHeads   // of segments, snapshots and groups
	mendAll     // of what follows them, too
)

// spoil runs a script on data. After its first byte it is a list of a position of three bytes, a
// number n, and n bytes that overwrite what lies there; with n = 0 data is cut off there.
func spoil(data, script []byte) []byte {
	if len(script) == 0 {
		return data
	}
	mend, script := script[0], script[1:]
	for len(script) >= 4 {
		at, n := int(script[0])<<16|int(script[1])<<8|int(script[2]), int(script[3])
		script = script[4:]
		n = min(n, len(script))
		switch {
		case at >= len(data):
		case n == 0:
			data = data[:at]
		default:
			copy(data[at:], script[:n])
		}
		script = script[n:]
	}
	if mend != mendNothing {
		resum(data, mend == mendAll)
	}
	return data
}

func resum(data []byte, bodies bool) {
	for at := 0; at+blockBytes <= len(data); at += blockBytes {
		switch b := data[at:]; {
		case at == 0 && order.Uint64(b) == snapshotMagic:
			if n := order.Uint64(b[56:]); bodies && n <= uint64(len(b)-blockBytes) {
				order.PutUint32(b[64:], crc32.Checksum(b[blockBytes:blockBytes+n], castagnoli))
			}
			order.PutUint32(b[12:], sumWithout(b[:blockBytes], 12))
		case at == 0:
			order.PutUint32(b[12:], sumWithout(b[:headBytes], 12))
		case order.Uint32(b) == groupMagic:
			if n := order.Uint32(b[48:]); bodies && n >= groupHeaderBytes && uint64(n) <= uint64(len(b)) {
				order.PutUint32(b[56:], crc32.Checksum(b[groupHeaderBytes:n], castagnoli))
			}
			order.PutUint32(b[4:], sumWithout(b[:groupHeaderBytes], 4))
		}
	}
}

// A sync that succeeds after one that failed says nothing of what that one was to make durable. So a start writes the newest group
// again, before anybody trusts it, and goes no further if that fails.
func TestAStartMakesDurableWhatItTrusts(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	n.write("first")
	w.turn(func() { n.propose("second") })
	group := w.pending[0].event.(*env.DiskWrite)
	newest := w.disk.handle(group.File)
	at := group.Offset
	w.kill(always) // the group is in the page cache
	again := 0
	w.disk.failing = func(e env.Event) error {
		if write, ok := e.(*env.DiskWrite); ok && w.disk.handle(write.File) == newest && write.Offset == at {
			require.Equal(t, newest.data[at:at+int64(len(write.Data))], write.Data)
			again++
		}
		return nil
	}
	n = w.start(nil)
	n.has("first", "second")
	require.Equal(t, 1, again)

	w.kill(always)
	w.disk.failing = func(e env.Event) error {
		if _, ok := e.(*env.DiskWrite); ok {
			return env.ErrDiskIO
		}
		return nil
	}
	n = w.open(nil)
	w.settle()
	require.ErrorIs(t, n.err, env.ErrDiskIO)
}
