package wal

import (
	"bytes"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/record"

	"pgregory.net/rapid"
)

func lose() bool { return false }

// fileAt is where a position of small's region lies in the file.
func fileAt(at Position) int { return headBytes + int(at)%int(small.SizeBytes) }

// filled is a crashed log on a disk of n batches, each a group of its own, all acknowledged.
func filled(t testing.TB, n, bytes int) (*world, *journal) {
	w := newWorld(t)
	return w, w.fill(n, bytes)
}

func (w *world) fill(n, bytes int) *journal {
	j := w.create("wal-7", grown(), nil)
	for range n {
		w.turn(func() { j.append(bytes) })
		w.settle()
	}
	w.crash(lose)
	return j
}

// damages are what may become of the group that a begins: b is what is stored, and at is where a's
// record lies in it.
var damages = map[string]func(b []byte, at int, a *Append){
	"payload":      func(b []byte, at int, _ *Append) { b[at+recordHeaderBytes+200] ^= 1 },
	"last byte":    func(b []byte, at int, a *Append) { b[at+recordHeaderBytes+len(a.Payload)-1] ^= 1 },
	"batch head":   func(b []byte, at int, _ *Append) { b[at+recordHeaderBytes+3] ^= 1 },
	"batch CRC":    func(b []byte, at int, _ *Append) { b[at+recordHeaderBytes+17] ^= 1 },
	"record sum":   func(b []byte, at int, _ *Append) { b[at] ^= 1 },
	"record head":  func(b []byte, at int, _ *Append) { b[at+20] ^= 1 },
	"group header": func(b []byte, at int, _ *Append) { b[at-groupHeaderBytes+40] ^= 1 },
	"zeroed block": func(b []byte, at int, _ *Append) { clear(b[at-groupHeaderBytes:][:blockBytes]) },
}

func TestDamageBelowTheMarkIsLoud(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			onEachMedium(t, func(t *testing.T, w *world) {
				w.expectLoud(func(a *Append) {
					b, at := w.stored(a.At)
					damage(b, at, a)
				})
			})
		})
	}
}

func TestAMisdirectedWriteBelowTheMarkIsLoud(t *testing.T) {
	for name, blocks := range map[string][2]int{"group": {0, 3}, "body": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.expectLoud(func(a *Append) {
				b, at := w.stored(a.At)
				copy(b[at-groupHeaderBytes+blocks[0]*blockBytes:][:(blocks[1]-blocks[0])*blockBytes], b[headBytes+blocks[0]*blockBytes:])
			})
		})
	}
}

func TestASlotThatIsGoneOrAnotherBelowTheMarkIsLoud(t *testing.T) {
	for name, spoil := range map[string]func(values map[uint64][]byte){
		"gone":    func(v map[uint64][]byte) { delete(v, 3) },
		"earlier": func(v map[uint64][]byte) { v[3] = v[2] },
		"later":   func(v map[uint64][]byte) { v[3] = v[4] },
		"short":   func(v map[uint64][]byte) { v[3] = v[3][:len(v[3])-8] },
	} {
		t.Run(name, func(t *testing.T) {
			w := newSlotWorld(t)
			w.expectLoud(func(*Append) { spoil(w.stores["wal-7"].values) })
		})
	}
}

// expectLoud damages the fourth group of a log, and expects recovery to name it.
func (w *world) expectLoud(damage func(*Append)) {
	w.t.Helper()
	j := w.fill(6, 9000)
	damage(j.accepted[3])
	var corrupt *CorruptError
	r := w.recover("wal-7")
	if !errors.As(r.err, &corrupt) || r.sealed != nil {
		w.t.Fatalf("got %v", r.err)
	}
	if corrupt.File != "wal-7" || corrupt.At != j.accepted[3].At-groupHeaderBytes || corrupt.Durable <= corrupt.At {
		w.t.Fatalf("the error says %+v", corrupt)
	}
	if w.disk.closed != 1 || w.memory.live != 0 {
		w.t.Fatalf("%d logs closed, %d slabs left", w.disk.closed, w.memory.live)
	}
}

func TestDamageOfTheLastGroupOfACleanlyClosedLogIsLoud(t *testing.T) {
	onEachMedium(t, testDamageOfTheLastGroupOfACleanlyClosedLogIsLoud)
}

func testDamageOfTheLastGroupOfACleanlyClosedLogIsLoud(t *testing.T, w *world) {
	j := w.create("wal-7", small, nil)
	w.turn(func() { j.append(9000) })
	w.settle()
	j.close()
	data, at := w.stored(j.accepted[0].At)
	data[at+100] ^= 1
	var corrupt *CorruptError
	if r := w.recover("wal-7"); !errors.As(r.err, &corrupt) {
		t.Fatalf("got %v", r.err)
	}
}

func TestAHoleAmongWritesInFlightIsATornTail(t *testing.T) {
	onEachMedium(t, testAHoleAmongWritesInFlightIsATornTail)
}

func testAHoleAmongWritesInFlightIsATornTail(t *testing.T, w *world) {
	for hole := range 3 {
		w := w.another()
		j := w.create("wal-7", grown(), nil)
		w.settle()
		w.turn(func() { j.append(9000) })
		w.settle()
		for range 3 {
			w.turn(func() { j.append(9000) })
		}
		if len(w.disk.pending) != 3 {
			t.Fatalf("%d writes in flight", len(w.disk.pending))
		}
		n, each := 0, w.pieces(9000)
		w.crash(func() bool { n++; return n != hole*each+min(5, each) })
		r := w.recover("wal-7")
		j.expect(r, 0)
		if len(r.entries) != 1+hole {
			t.Fatalf("hole in write %d: found %d entries", hole, len(r.entries))
		}
	}
}

// TestABodyOfTheLapBeforeIsATornTail: heads got to the device, and the blocks behind them still hold
// what lay there a lap before, at the very same places within batches of the same size.
func TestABodyOfTheLapBeforeIsATornTail(t *testing.T) {
	w := newWorld(t)
	j := w.create("wal-7", grown(), nil)
	w.settle()
	for range 3 * int(small.SizeBytes) / (4 * blockBytes) {
		w.turn(func() { j.append(4*blockBytes - groupHeaderBytes - recordHeaderBytes) })
		w.settle()
		w.turn(func() { j.log.Trim(j.accepted[len(j.accepted)-1].At) })
		w.settle()
	}
	w.turn(func() { j.append(4*blockBytes - groupHeaderBytes - recordHeaderBytes) })
	block := 0
	w.crash(func() bool { block++; return block <= blockBytes/w.disk.block })
	r := w.recover("wal-7")
	if r.err != nil || r.sealed.End != j.accepted[len(j.accepted)-1].At-groupHeaderBytes {
		t.Fatalf("%v; the log ends at %d, its last batch begins at %d", r.err, r.sealed.End, j.accepted[len(j.accepted)-1].At)
	}
}

func TestATornSuperblockLeavesTheOther(t *testing.T) {
	w := newWorld(t)
	j := w.create("wal-7", small, nil)
	for range 6 {
		w.turn(func() { j.append(9000) })
		w.settle()
	}
	w.turn(func() { j.log.Trim(j.accepted[4].At) })
	if len(w.disk.pending) == 0 {
		t.Fatal("no superblock is being written")
	}
	w.crash(lose)
	data := w.disk.files["wal-7"].data
	for i := range 512 {
		data[blockBytes+i] = 0xEE
	}
	j.expect(w.recover("wal-7"), 0)
}

func TestALostNewerSuperblockIsLoudOnceItsSpaceIsUsed(t *testing.T) {
	w := newWorld(t)
	j := w.create("wal-7", small, nil)
	for range 200 {
		w.turn(func() {
			if !j.append(9000) {
				t.Fatal("refused")
			}
		})
		w.settle()
		w.turn(func() { j.log.Trim(j.accepted[len(j.accepted)-1].At) })
		w.settle()
	}
	w.crash(lose)
	slot := int(j.device().supers.last.sequence%2) * blockBytes
	w.disk.files["wal-7"].data[slot+30] ^= 4
	// One save of the trim point is far less than a lap, so the older superblock still serves here.
	first := 0
	r := w.recover("wal-7")
	for j.accepted[first].At < r.entries[0].At {
		first++
	}
	j.expect(r, first)

	both := w.disk.files["wal-7"].data
	both[blockBytes-slot+30] ^= 4
	var corrupt *CorruptError
	if r := w.recover("wal-7"); !errors.As(r.err, &corrupt) {
		t.Fatalf("without superblocks: %v", r.err)
	}

	// An old superblock brought back: its trim point holds groups of a later lap.
	old := superblock{identity: j.log.id, region: small.SizeBytes, ahead: j.device().supers.last.ahead, marks: marks{summary: noPosition}}
	old.encode(both[:blockBytes])
	if r := w.recover("wal-7"); !errors.As(r.err, &corrupt) {
		t.Fatalf("with an old superblock: %v", r.err)
	}
}

func TestRecoverySyncsBeforeItReads(t *testing.T) {
	w, _ := filled(t, 2, 100)
	w.recover("wal-7")
	if w.disk.syncs != 1 || w.disk.readsUnsynced != 0 {
		t.Fatalf("%d syncs, %d reads before the first", w.disk.syncs, w.disk.readsUnsynced)
	}
	w, _ = filled(t, 2, 100)
	w.disk.syncErr = env.ErrDiskIO
	if r := w.recover("wal-7"); !errors.Is(r.err, env.ErrDiskIO) {
		t.Fatalf("after a failed sync: %v", r.err)
	}
}

// A sync that succeeds after one that failed says nothing of what that one was to make durable. So recovery writes again what no
// mark vouches for, as it is, and trusts nothing if that fails.
func TestRecoveryMakesDurableWhatItTrusts(t *testing.T) {
	w, _ := filled(t, 3, 100)
	before := slices.Clone(w.disk.files["wal-7"].data)
	var again []byte
	w.disk.failing = func(data []byte) error {
		again = append(again, data...)
		return nil
	}
	r := w.recover("wal-7")
	require.NoError(t, r.err)
	require.Equal(t, before, w.disk.files["wal-7"].data)
	from := bytes.Index(before, again)
	require.Positive(t, len(again))
	require.Equal(t, fileOffset(r.sealed.End, small.SizeBytes), int64(from+len(again)), "up to the end")
	last := r.entries[len(r.entries)-1]
	require.GreaterOrEqual(t, fileOffset(last.At, small.SizeBytes), int64(from), "the newest group")

	w, _ = filled(t, 3, 100)
	w.disk.failing = func([]byte) error { return env.ErrDiskIO }
	require.ErrorIs(t, w.recover("wal-7").err, env.ErrDiskIO)
}

func TestAnotherVersionIsNamed(t *testing.T) {
	w, _ := filled(t, 1, 100)
	data := w.disk.files["wal-7"].data
	order.PutUint32(data[8:], 2)
	order.PutUint32(data[12:], sumWithout(data[:superBytes], 12))
	var version *VersionError
	if r := w.recover("wal-7"); !errors.As(r.err, &version) || version.Version != 2 {
		t.Fatalf("got %v", r.err)
	}
}

func TestReadOfADamagedBatchIsAnError(t *testing.T) {
	onEachMedium(t, testReadOfADamagedBatchIsAnError)
}

func testReadOfADamagedBatchIsAnError(t *testing.T, w *world) {
	j := w.fill(3, 9000)
	r := w.recover("wal-7")
	j.expect(r, 0)
	data, at := w.stored(j.accepted[1].At)
	data[at+5000] ^= 1
	var corrupt *CorruptError
	if got, err := w.read(r.sealed, r.entries[1]); !errors.As(err, &corrupt) || got != nil {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if got, err := w.read(r.sealed, r.entries[2]); err != nil || !bytes.Equal(got, want(j.accepted[2])) {
		t.Fatalf("the sound one: %v", err)
	}
	if w.memory.live != 0 {
		t.Fatalf("%d slabs left", w.memory.live)
	}
}

func TestRemoveWaitsForReads(t *testing.T) { onEachMedium(t, testRemoveWaitsForReads) }

func testRemoveWaitsForReads(t *testing.T, w *world) {
	j := w.fill(1, 9000)
	r := w.recover("wal-7")
	j.expect(r, 0)
	read, removed := false, false
	w.turn(func() {
		r.sealed.Read(r.entries[0].At, r.entries[0].Bytes, func(slab *env.Slab, _ int, err error) {
			read = err == nil
			slab.Release()
		})
		r.sealed.Remove(func(error) { removed = true })
	})
	if w.disk.closed != 0 {
		t.Fatal("closed under a read")
	}
	w.settle()
	if !read || !removed || w.disk.closed != 1 || w.disk.files["wal-7"] != nil || w.stores["wal-7"] != nil {
		t.Fatalf("read %v, removed %v", read, removed)
	}
}

func TestPayloadThatLooksLikeAGroupFoolsNobody(t *testing.T) {
	w := newWorld(t)
	j := w.create("wal-7", grown(), nil)
	w.settle()
	w.turn(func() { j.append(9000) })
	// The forger knows everything but the nonce, and claims that all of this was durable.
	forged := groupHeader{identity: identity{epoch: 7, nonce: 1}, at: 2 * blockBytes, bytes: blockBytes, durable: 2 * blockBytes}
	forged.encode(j.accepted[0].Payload[2*blockBytes-groupHeaderBytes-recordHeaderBytes:])
	record.Seal(j.accepted[0].Payload)
	block := 0
	w.crash(func() bool { block++; return block > 2 })
	if r := w.recover("wal-7"); r.err != nil || len(r.entries) != 0 {
		t.Fatalf("%d entries, %v", len(r.entries), r.err)
	}
}

// history drives a log at random and knows what recovery may say.
type history struct {
	*rapid.T
	w    *world
	j    *journal
	mark Position // highest that a completed group carries
}

func newHistory(rt *rapid.T, w *world) *history {
	h := &history{T: rt, w: w}
	h.w.disk.block = rapid.SampledFrom([]int{512, 4096}).Draw(rt, "block")
	config := small
	config.WritesInFlightMax = rapid.IntRange(1, 5).Draw(rt, "in flight")
	config.GroupBytesMax = rapid.SampledFrom([]int{4096, 16384, 32768}).Draw(rt, "group")
	config.GrowBytes = rapid.SampledFrom([]int64{4096, 32768, 1 << 20}).Draw(rt, "grow")
	var summary Summarizer
	if rapid.Bool().Draw(rt, "summaries") {
		summary = textSummary{func() string { return long(50 * len(h.j.accepted) % 12000) }}
	}
	h.j = h.w.create("wal-7", config, summary)
	h.w.disk.failing = func(data []byte) error {
		if g, ok := decodeGroupHeader(data, h.j.log.id); ok {
			h.mark = max(h.mark, g.durable)
		}
		return nil
	}
	return h
}

func (h *history) step() {
	switch rapid.IntRange(0, 9).Draw(h.T, "step") {
	case 0, 1, 2, 3:
		sizes := rapid.SliceOfN(rapid.IntRange(61, 9000), 1, 6).Draw(h.T, "sizes")
		if rapid.IntRange(0, 9).Draw(h.T, "large") == 0 {
			sizes = append(sizes, 32768)
		}
		h.w.turn(func() {
			for _, n := range sizes {
				h.j.append(n)
			}
		})
	case 4, 5, 6, 7, 8:
		if n := len(h.w.disk.pending); n > 0 {
			h.w.complete(rapid.IntRange(0, n-1).Draw(h.T, "which"))
		}
	case 9:
		if h.j.durable > 0 {
			upTo := h.j.accepted[rapid.IntRange(0, h.j.durable-1).Draw(h.T, "trim")].At
			h.w.turn(func() { h.j.log.Trim(upTo) })
		}
	}
}

// first is the index of the first append at or above the recovered trim point.
func (h *history) first(r recovered) int {
	first := 0
	for first < len(h.j.accepted) && h.j.accepted[first].At < r.sealed.Trimmed {
		first++
	}
	return first
}

// damage spoils one byte or block of an acknowledged batch that the trim point keeps.
func (h *history) damage() (at Position, ok bool) {
	low := 0
	for low < h.j.durable && h.j.accepted[low].At < h.j.log.Trimmed() {
		low++
	}
	if low >= h.j.durable {
		return 0, false
	}
	a := h.j.accepted[rapid.IntRange(low, h.j.durable-1).Draw(h.T, "victim")]
	data, spot := h.w.stored(a.At)
	spot += rapid.IntRange(0, recordHeaderBytes+len(a.Payload)-1).Draw(h.T, "spot")
	if rapid.Bool().Draw(h.T, "bit") {
		data[spot] ^= 1 << rapid.IntRange(0, 7).Draw(h.T, "which bit")
	} else {
		block := data[spot/512*512 : min(spot/512*512+512, len(data))]
		if allZero(block) {
			return 0, false
		}
		clear(block)
	}
	return a.At, true
}

func TestEveryDurableAppendIsFoundAfterACrash(t *testing.T) {
	onEachMedium(t, func(t *testing.T, w *world) {
		rapid.Check(t, func(rt *rapid.T) { everyDurableAppendIsFound(rt, w.another()) })
	})
}

func everyDurableAppendIsFound(rt *rapid.T, w *world) {
	h := newHistory(rt, w)
	for range rapid.IntRange(1, 120).Draw(rt, "steps") {
		h.step()
	}
	odds := rapid.IntRange(0, 20).Draw(rt, "odds")
	h.w.crash(func() bool { return rapid.IntRange(1, 20).Draw(rt, "keep") <= odds })
	soon := h.w.recoverLatest("wal-7")
	r := h.w.recover("wal-7")
	if r.err != nil {
		rt.Fatal(r.err)
	}
	h.j.expect(r, h.first(r))
	soon.check(rt, r)
	again := h.w.recover("wal-7")
	if again.err != nil || len(again.entries) != len(r.entries) || again.sealed.End != r.sealed.End {
		rt.Fatalf("a second recovery differs: %v", again.err)
	}
	for i, e := range r.entries {
		if got, err := h.w.read(r.sealed, e); err != nil || !bytes.Equal(got, want(h.j.accepted[h.first(r)+i])) {
			rt.Fatalf("entry %d: %v", i, err)
		}
	}
	at, damaged := h.damage()
	if !damaged {
		return
	}
	bad := h.w.recover("wal-7")
	var corrupt *CorruptError
	switch {
	case bad.err == nil && at < h.mark:
		rt.Fatalf("damage at %d below the mark %d passed", at, h.mark)
	case bad.err == nil && bad.sealed.End > at:
		rt.Fatalf("damage at %d, yet the log ends at %d", at, bad.sealed.End)
	case bad.err != nil && !errors.As(bad.err, &corrupt):
		rt.Fatal(bad.err)
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// golden is a log with every structure of the format: both superblocks, batches of several sizes
// and stamps, a summary, a filler, and a second lap.
func golden(t *testing.T) (*world, *journal) {
	w := newWorld(t)
	j := w.create("wal-7", small, textSummary{func() string { return "summary" }})
	for i := range 21 {
		w.turn(func() { j.append(1000 + 1000*i); j.append(61) })
		w.settle()
		w.turn(func() { j.log.Trim(j.accepted[max(0, len(j.accepted)-8)].At) })
		w.settle()
	}
	w.crash(lose)
	return w, j
}

func TestGoldenFileOfVersion1(t *testing.T) {
	w, j := golden(t)
	path := filepath.Join("testdata", "v1.wal")
	if *update {
		if err := os.WriteFile(path, w.disk.files["wal-7"].data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, w.disk.files["wal-7"].data) {
		t.Error("the same appends no longer give the same file: a new format needs a new version")
	}
	w.disk.files["wal-7"] = &file{data: data}
	r := w.recover("wal-7")
	if r.err != nil {
		t.Fatal(r.err)
	}
	first := (&history{w: w, j: j}).first(r)
	j.expect(r, first)
	if string(r.summary) != "summary" || first == 0 || j.log.End() < Position(small.SizeBytes) {
		t.Fatalf("summary %q, first entry %d, end %d: the file does not show all of the format", r.summary, first, j.log.End())
	}
}

// FuzzRecover recovers a log of which bytes were overwritten and the end was cut off, as a short
// script says: the fuzzer works on scripts, which are small, instead of on logs.
func FuzzRecover(f *testing.F) {
	w, _ := filled(f, 3, 9000)
	sound := w.disk.files["wal-7"].data[:headBytes+64<<10]
	f.Add([]byte{})
	f.Add([]byte{mendHeads, 0, 0x20, 48, 4, 0xff, 0xff, 0xff, 0xff})  // a group's bytes
	f.Add([]byte{mendAll, 0, 0x20, 56, 8, 0, 0, 0, 0, 0, 0, 0, 0x40}) // its durable mark
	f.Add([]byte{mendAll, 0, 0x20, 72, 4, 0xff, 0xff, 0, 0})          // a record's bytes
	f.Add([]byte{mendHeads, 0, 0, 40, 8, 0, 0, 0, 0, 0, 0, 0, 0x40})  // the region
	f.Add([]byte{mendNothing, 0, 0x30, 200, 0})                       // cut inside the first group
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 1<<10 {
			return
		}
		w := newWorld(t)
		w.disk.files["x"] = &file{data: spoil(bytes.Clone(sound), script)}
		r := w.recover("x")
		if r.err == nil {
			for _, e := range r.entries {
				if _, err := w.read(r.sealed, e); err != nil {
					t.Fatalf("a visited entry does not read back: %v", err)
				}
			}
		}
		if w.memory.live != 0 || w.memory.peak > 16<<20 {
			t.Fatalf("%d slabs left, %d bytes at the peak", w.memory.live, w.memory.peak)
		}
	})
}

// How a script's first byte says which checksums are made to fit afterwards, so that the fuzzer gets
// past them.
const (
	mendNothing = iota
	mendHeads   // of superblocks and group headers
	mendAll     // of records, too
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
	resum(data, mend)
	return data
}

func resum(data []byte, mend byte) {
	if mend == mendNothing {
		return
	}
	for at := 0; at+blockBytes <= len(data); at += blockBytes {
		b := data[at:]
		switch {
		case at < headBytes && order.Uint64(b) == superMagic:
			order.PutUint32(b[12:], sumWithout(b[:superBytes], 12))
		case order.Uint32(b) == groupMagic:
			if mend == mendAll {
				order.PutUint32(b[52:], resumRecords(b))
			}
			order.PutUint32(b[8:], sumWithout(b[:groupHeaderBytes], 8))
		}
	}
}

// resumRecords makes the sums of a group's records fit and returns the sum over them.
func resumRecords(group []byte) (sum uint32) {
	var scratch [16]byte
	nonce, base := order.Uint64(group[24:]), Position(order.Uint64(group[40:]))
	at := groupHeaderBytes
	for range order.Uint32(group[12:]) {
		if at >= len(group) {
			break
		}
		h, ok := decodeRecordHeader(group[at:])
		if !ok {
			break
		}
		end := at + recordHeaderBytes + int(h.bytes)
		order.PutUint32(group[at:], crc32.Update(sumSeed(&scratch, nonce, base+Position(at)), castagnoli, group[at+4:end]))
		sum = crc32.Update(sum, castagnoli, group[at:at+4])
		at += recordBytes(int(h.bytes))
	}
	return sum
}
