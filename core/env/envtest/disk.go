package envtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"weir/core/env"
)

// Harness is a world under test.
type Harness struct {
	Disk   env.Disk
	Memory env.Memory // slabs aligned as Direct files need them

	// Pump delivers completions: at least one, if an operation is in flight; it waits for it if
	// the world runs on its own. Everything is delivered on the caller's goroutine.
	Pump func()

	// Crash loses what need not survive, and gives the disk and memory of the next incarnation.
	// Nothing in flight is delivered afterwards. Nil where the world cannot crash.
	Crash func() (env.Disk, env.Memory)
}

// disk is a harness with the operations made synchronous.
type disk struct {
	testing.TB
	Harness
	block int
}

// TestDisk runs the contract tests of env.Disk. fresh gives an empty disk each time.
func TestDisk(t *testing.T, fresh func(testing.TB) Harness) {
	tests := []struct {
		name string
		run  func(*disk)
	}{
		{"BlockBytes", (*disk).testBlockBytes},
		{"OpenAbsent", (*disk).testOpenAbsent},
		{"CreateExclusive", (*disk).testCreateExclusive},
		{"CreateKeepsContents", (*disk).testCreateKeepsContents},
		{"ReadBack", (*disk).testReadBack},
		{"ReadPastEnd", (*disk).testReadPastEnd},
		{"WriteLeavesHole", (*disk).testWriteLeavesHole},
		{"WritesInFlight", (*disk).testWritesInFlight},
		{"PrepareRunsOnceBeforeTheWrite", (*disk).testPrepare},
		{"LargeWrite", (*disk).testLargeWrite},
		{"Sync", (*disk).testSync},
		{"Rename", (*disk).testRename},
		{"Remove", (*disk).testRemove},
		{"ListSortedByPrefix", (*disk).testList},
		{"Space", (*disk).testSpace},
		{"TwoFiles", (*disk).testTwoFiles},
		{"CompletionIsNotInline", (*disk).testNotInline},
		{"CrashKeepsWhatIsDurable", (*disk).testCrash},
		{"CrashTearsAtBlocksOnly", (*disk).testCrashTears},
	}
	for _, direct := range []bool{false, true} {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s/direct=%v", test.name, direct), func(t *testing.T) {
				h := fresh(t)
				d := &disk{TB: t, Harness: h, block: h.Disk.BlockBytes()}
				directFiles[direct](d)
				test.run(d)
			})
		}
	}
}

// directFiles wraps the disk so that every file is opened direct, or none is.
var directFiles = map[bool]func(*disk){
	false: func(*disk) {},
	true:  func(d *disk) { d.Disk = directDisk{d.Disk} },
}

type directDisk struct{ env.Disk }

func (d directDisk) Open(o *env.DiskOpen) {
	o.Direct = true
	d.Disk.Open(o)
}

// wait pumps until done.
func (d *disk) wait(done *bool) {
	d.Helper()
	for range 1_000_000 {
		if *done {
			return
		}
		d.Pump()
	}
	d.Fatal("an operation never completed")
}

// once makes a Done that fails the test when it is called twice.
func (d *disk) once(done *bool) {
	if *done {
		d.Error("an operation completed twice")
	}
	*done = true
}

func (d *disk) open(o env.DiskOpen) *env.DiskOpen {
	d.Helper()
	done := false
	o.Done = func(*env.DiskOpen) { d.once(&done) }
	d.Disk.Open(&o)
	d.wait(&done)
	return &o
}

func (d *disk) create(name string) env.FileID {
	d.Helper()
	o := d.open(env.DiskOpen{Name: name, Create: true})
	if o.Err != nil {
		d.Fatalf("create %q: %v", name, o.Err)
	}
	return o.File
}

// blocks is n blocks of aligned memory, each byte telling seed and place apart.
func (d *disk) blocks(n int, seed byte) []byte {
	data := d.aligned(n * d.block)
	for i := range data {
		data[i] = seed + byte(i/d.block)*7 + byte(i)*3
	}
	return data
}

func (d *disk) aligned(bytes int) []byte { return d.Memory.Alloc(bytes).Data[:bytes] }

func (d *disk) write(file env.FileID, offset int, data []byte, durable bool) {
	d.Helper()
	done := false
	o := &env.DiskWrite{File: file, Offset: int64(offset), Data: data, Durable: durable, Done: func(*env.DiskWrite) { d.once(&done) }}
	d.Disk.Write(o)
	d.wait(&done)
	if o.Err != nil {
		d.Fatalf("write at %d: %v", offset, o.Err)
	}
}

func (d *disk) read(file env.FileID, offset, bytes int) []byte {
	d.Helper()
	done := false
	o := &env.DiskRead{File: file, Offset: int64(offset), Data: d.aligned(bytes), Done: func(*env.DiskRead) { d.once(&done) }}
	d.Disk.Read(o)
	d.wait(&done)
	if o.Err != nil {
		d.Fatalf("read at %d: %v", offset, o.Err)
	}
	return o.Data[:o.N]
}

func (d *disk) sync(file env.FileID) {
	d.Helper()
	done := false
	o := &env.DiskSync{File: file, Done: func(*env.DiskSync) { d.once(&done) }}
	d.Disk.Sync(o)
	d.wait(&done)
	if o.Err != nil {
		d.Fatalf("sync: %v", o.Err)
	}
}

func (d *disk) remove(name string) {
	d.Helper()
	done := false
	o := &env.DiskRemove{Name: name, Done: func(*env.DiskRemove) { d.once(&done) }}
	d.Disk.Remove(o)
	d.wait(&done)
	if o.Err != nil {
		d.Fatalf("remove %q: %v", name, o.Err)
	}
}

func (d *disk) rename(from, to string) error {
	d.Helper()
	done := false
	o := &env.DiskRename{From: from, To: to, Done: func(*env.DiskRename) { d.once(&done) }}
	d.Disk.Rename(o)
	d.wait(&done)
	return o.Err
}

func (d *disk) list(prefix string) []env.FileInfo {
	d.Helper()
	done := false
	o := &env.DiskList{Prefix: prefix, Done: func(*env.DiskList) { d.once(&done) }}
	d.Disk.List(o)
	d.wait(&done)
	if o.Err != nil {
		d.Fatalf("list %q: %v", prefix, o.Err)
	}
	return o.Files
}

func (d *disk) expect(got, want []byte) {
	d.Helper()
	if !bytes.Equal(got, want) {
		d.Fatalf("%d bytes differ from the %d expected", len(got), len(want))
	}
}

func (d *disk) testBlockBytes() {
	if d.block != 512 && d.block != 4096 {
		d.Fatalf("BlockBytes is %d", d.block)
	}
}

func (d *disk) testOpenAbsent() {
	if o := d.open(env.DiskOpen{Name: "absent"}); !errors.Is(o.Err, env.ErrNotExist) {
		d.Fatalf("got %v", o.Err)
	}
	if files := d.list(""); len(files) != 0 {
		d.Fatalf("a failed open made %v", files)
	}
}

func (d *disk) testCreateExclusive() {
	d.create("a/b/file-1.log")
	if o := d.open(env.DiskOpen{Name: "a/b/file-1.log", Create: true, Exclusive: true}); !errors.Is(o.Err, env.ErrExist) {
		d.Fatalf("got %v", o.Err)
	}
	if o := d.open(env.DiskOpen{Name: "a/b/file-2.log", Create: true, Exclusive: true}); o.Err != nil || o.Size != 0 {
		d.Fatalf("size %d, %v", o.Size, o.Err)
	}
}

func (d *disk) testCreateKeepsContents() {
	file := d.create("file")
	want := d.blocks(3, 1)
	d.write(file, 0, want, true)
	d.Disk.Close(file)
	o := d.open(env.DiskOpen{Name: "file", Create: true})
	if o.Err != nil || o.Size != int64(len(want)) {
		d.Fatalf("size %d, %v", o.Size, o.Err)
	}
	d.expect(d.read(o.File, 0, len(want)), want)
}

func (d *disk) testReadBack() {
	file := d.create("file")
	want := d.blocks(8, 9)
	d.write(file, 0, want, false)
	d.expect(d.read(file, 0, len(want)), want)
	d.expect(d.read(file, 3*d.block, 2*d.block), want[3*d.block:5*d.block])
	patch := d.blocks(1, 77)
	d.write(file, 4*d.block, patch, true)
	d.expect(d.read(file, 4*d.block, d.block), patch)
	d.expect(d.read(file, 5*d.block, d.block), want[5*d.block:6*d.block])
}

func (d *disk) testReadPastEnd() {
	file := d.create("file")
	want := d.blocks(2, 5)
	d.write(file, 0, want, true)
	d.expect(d.read(file, d.block, 4*d.block), want[d.block:])
	d.expect(d.read(file, 2*d.block, d.block), nil)
	d.expect(d.read(file, 9*d.block, d.block), nil)
}

func (d *disk) testWriteLeavesHole() {
	file := d.create("file")
	want := d.blocks(1, 5)
	d.write(file, 3*d.block, want, true)
	d.expect(d.read(file, 0, 3*d.block), make([]byte, 3*d.block))
	d.expect(d.read(file, 3*d.block, d.block), want)
}

func (d *disk) testWritesInFlight() {
	file := d.create("file")
	const writes = 32
	left := writes
	for i := range writes {
		d.Disk.Write(&env.DiskWrite{
			File: file, Offset: int64(i * 2 * d.block), Data: d.blocks(2, byte(i)), Durable: i%2 == 0,
			Done: func(o *env.DiskWrite) {
				if left--; o.Err != nil {
					d.Errorf("write %d: %v", i, o.Err)
				}
			},
		})
	}
	for n := 0; left > 0; n++ {
		if n > 1_000_000 {
			d.Fatalf("%d writes never completed", left)
		}
		d.Pump()
	}
	for i := range writes {
		d.expect(d.read(file, i*2*d.block, 2*d.block), d.blocks(2, byte(i)))
	}
}

func (d *disk) testPrepare() {
	file := d.create("file")
	data := d.aligned(2 * d.block)
	clear(data)
	want := d.blocks(2, 42)
	calls, done := 0, false
	o := &env.DiskWrite{
		File: file, Data: data, Durable: true,
		Prepare: func() { calls++; copy(data, want) },
		Done:    func(*env.DiskWrite) { d.once(&done) },
	}
	d.Disk.Write(o)
	d.wait(&done)
	if calls != 1 || o.Err != nil {
		d.Fatalf("prepared %d times, %v", calls, o.Err)
	}
	d.expect(d.read(file, 0, len(want)), want)
}

func (d *disk) testLargeWrite() {
	file := d.create("file")
	want := d.blocks((9<<20)/d.block, 3)
	d.write(file, d.block, want, true)
	d.expect(d.read(file, d.block, len(want)), want)
}

func (d *disk) testSync() {
	file := d.create("file")
	d.write(file, 0, d.blocks(1, 1), false)
	d.sync(file)
	d.sync(file)
}

func (d *disk) testRename() {
	file := d.create("dir/old")
	want := d.blocks(1, 1)
	d.write(file, 0, want, true)
	d.Disk.Close(file)
	d.Disk.Close(d.create("dir/new"))
	if err := d.rename("dir/old", "dir/new"); err != nil {
		d.Fatal(err)
	}
	if o := d.open(env.DiskOpen{Name: "dir/old"}); !errors.Is(o.Err, env.ErrNotExist) {
		d.Fatalf("the old name: %v", o.Err)
	}
	o := d.open(env.DiskOpen{Name: "dir/new"})
	if o.Err != nil {
		d.Fatal(o.Err)
	}
	d.expect(d.read(o.File, 0, d.block), want)
	if err := d.rename("dir/absent", "dir/new"); err == nil {
		d.Fatal("renamed what is absent")
	}
}

func (d *disk) testRemove() {
	d.Disk.Close(d.create("dir/file"))
	d.remove("dir/file")
	d.remove("dir/file")
	if o := d.open(env.DiskOpen{Name: "dir/file"}); !errors.Is(o.Err, env.ErrNotExist) {
		d.Fatalf("got %v", o.Err)
	}
}

func (d *disk) testList() {
	for i, name := range []string{"wal/b", "wal-c", "wal/a", "wal/a.d/e", "x"} {
		file := d.create(name)
		d.write(file, 0, d.blocks(i+1, 1), true)
		d.Disk.Close(file)
	}
	block := int64(d.block)
	want := []env.FileInfo{{Name: "wal/a", Size: 3 * block}, {Name: "wal/a.d/e", Size: 4 * block}, {Name: "wal/b", Size: block}}
	if got := d.list("wal/"); !slices.Equal(got, want) {
		d.Fatalf("wal/ lists %v, want %v", got, want)
	}
	if got := d.list("wal"); len(got) != 4 || got[0].Name != "wal-c" {
		d.Fatalf("wal lists %v", got)
	}
	if got := d.list(""); len(got) != 5 {
		d.Fatalf("everything lists %v", got)
	}
	if got := d.list("none"); len(got) != 0 {
		d.Fatalf("none lists %v", got)
	}
}

func (d *disk) testTwoFiles() {
	a, b := d.create("a"), d.create("b")
	d.write(a, 0, d.blocks(1, 1), true)
	d.write(b, 0, d.blocks(1, 2), true)
	d.expect(d.read(a, 0, d.block), d.blocks(1, 1))
	d.expect(d.read(b, 0, d.block), d.blocks(1, 2))
}

func (d *disk) testNotInline() {
	file := d.create("file")
	submitted, done := false, false
	o := &env.DiskWrite{File: file, Data: d.blocks(1, 1), Done: func(*env.DiskWrite) {
		if !submitted {
			d.Error("completed inside the call that submitted it")
		}
		d.once(&done)
	}}
	d.Disk.Write(o)
	submitted = true
	d.wait(&done)
}

// crash starts the next incarnation, or skips the test.
func (d *disk) crash() {
	if d.Crash == nil {
		d.Skip("this world does not crash")
	}
	_, direct := d.Disk.(directDisk)
	d.Disk, d.Memory = d.Crash()
	directFiles[direct](d)
}

func (d *disk) testCrash() {
	file := d.create("file")
	d.write(file, 0, d.blocks(4, 1), true)
	d.write(file, 4*d.block, d.blocks(4, 2), false)
	d.sync(file)
	d.write(file, 8*d.block, d.blocks(4, 3), false) // may go
	d.Disk.Close(d.create("old"))
	if err := d.rename("old", "new"); err != nil {
		d.Fatal(err)
	}
	d.Disk.Close(d.create("gone"))
	d.remove("gone")
	d.crash()
	if o := d.open(env.DiskOpen{Name: "gone"}); !errors.Is(o.Err, env.ErrNotExist) {
		d.Fatalf("a removed file: %v", o.Err)
	}
	if o := d.open(env.DiskOpen{Name: "new"}); o.Err != nil {
		d.Fatalf("a renamed file: %v", o.Err)
	}
	o := d.open(env.DiskOpen{Name: "file"})
	if o.Err != nil || o.Size < int64(8*d.block) {
		d.Fatalf("size %d, %v", o.Size, o.Err)
	}
	d.expect(d.read(o.File, 0, 4*d.block), d.blocks(4, 1))
	d.expect(d.read(o.File, 4*d.block, 4*d.block), d.blocks(4, 2))
}

// testCrashTears overwrites durable blocks and crashes while that is in flight: each block is then
// wholly old or wholly new.
func (d *disk) testCrashTears() {
	const n = 16
	file := d.create("file")
	before := d.blocks(n, 1)
	after := d.blocks(n, 101)
	d.write(file, 0, before, true)
	d.Disk.Write(&env.DiskWrite{File: file, Data: after, Durable: true, Done: func(*env.DiskWrite) {}})
	d.crash()
	before, after = d.blocks(n, 1), d.blocks(n, 101)
	o := d.open(env.DiskOpen{Name: "file"})
	if o.Err != nil {
		d.Fatal(o.Err)
	}
	got := d.read(o.File, 0, n*d.block)
	for i := range n {
		block := got[i*d.block : (i+1)*d.block]
		if !bytes.Equal(block, before[i*d.block:(i+1)*d.block]) && !bytes.Equal(block, after[i*d.block:(i+1)*d.block]) {
			d.Fatalf("block %d is neither old nor new", i)
		}
	}
}

// testSpace: a volume has a bound, and keeps its name. Others may use it meanwhile.
func (d *disk) testSpace() {
	before := d.space()
	if before.TotalBytes <= 0 || before.UsableBytes < 0 || before.UsableBytes > before.TotalBytes {
		d.Fatalf("%d of %d bytes are usable", before.UsableBytes, before.TotalBytes)
	}
	d.write(d.create("file"), 0, d.blocks((8<<20)/d.block, 1), true)
	after := d.space()
	if after.Volume != before.Volume || after.TotalBytes != before.TotalBytes {
		d.Fatalf("volume %d of %d bytes became volume %d of %d bytes", before.Volume, before.TotalBytes, after.Volume, after.TotalBytes)
	}
}

func (d *disk) space() *env.DiskSpace {
	d.Helper()
	done := false
	o := &env.DiskSpace{Done: func(*env.DiskSpace) { d.once(&done) }}
	d.Disk.Space(o)
	d.wait(&done)
	if o.Err != nil {
		d.Fatalf("space: %v", o.Err)
	}
	return o
}
