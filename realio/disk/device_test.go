package disk

import (
	"bytes"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"weir/core/env"
	"weir/core/env/envtest"
)

var update = flag.Bool("update", false, "write golden files")

// stand makes a file that stands in for a block device.
func stand(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "device")
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func load(path string) (*device, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.Open(path, unix.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	v, err := loadDevice(fd, path)
	if err != nil {
		_ = unix.Close(fd)
	}
	return v, err
}

func mustLoad(t testing.TB, path string) *device {
	t.Helper()
	v, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDeviceContract(t *testing.T) {
	envtest.TestDisk(t, func(t testing.TB) envtest.Harness {
		path := stand(t, 40<<20)
		return world(t, func(deliver func(env.Event)) *Disk {
			v := mustLoad(t, path)
			return newDisk(Options{Deliver: deliver}, v, v.abilities)
		})
	})
}

// TestRealDeviceContract needs the right to attach a file as a loop device.
func TestRealDeviceContract(t *testing.T) {
	attach := func(t testing.TB) string {
		out, err := exec.Command("losetup", "--find", "--show", stand(t, 40<<20)).CombinedOutput()
		if err != nil {
			t.Skipf("no loop device can be had here: %v: %s", err, out)
		}
		device := strings.TrimSpace(string(out))
		t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
		return device
	}
	attach(t)
	envtest.TestDisk(t, func(t testing.TB) envtest.Harness {
		path := attach(t)
		return world(t, func(deliver func(env.Event)) *Disk { return mustOpen(t, path, deliver) })
	})
	path := attach(t)
	first := mustOpen(t, path, nil)
	defer func() { _ = first.Shutdown() }()
	if _, err := Open(Options{Path: path}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("a second open of a device: %v", err)
	}
}

func mustCreate(t testing.TB, v *device, name string) handle {
	t.Helper()
	f, _, err := v.open(&env.DiskOpen{Name: name, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func filled(size int, with byte) []byte {
	p := alignedBytes(size)
	for i := range p {
		p[i] = with
	}
	return p
}

// TestOldBytesNeverShow: what a removed file left on the device is not seen through the gap of another.
func TestOldBytesNeverShow(t *testing.T) {
	v := mustLoad(t, stand(t, 8<<20))
	defer func() { _ = v.close() }()
	old := mustCreate(t, v, "old")
	if err := old.writeAt(filled(3<<20, 'o'), 0, false); err != nil {
		t.Fatal(err)
	}
	if err := v.remove("old"); err != nil {
		t.Fatal(err)
	}
	f := mustCreate(t, v, "new")
	if err := f.writeAt(filled(4096, 'n'), 2<<20, false); err != nil {
		t.Fatal(err)
	}
	got := alignedBytes(3 << 20)
	n, err := f.readAt(got, 0)
	if want := append(make([]byte, 2<<20), filled(4096, 'n')...); err != nil || !bytes.Equal(got[:n], want) {
		t.Fatalf("%d bytes with old ones among them, %v", n, err)
	}
	if err := old.writeAt(filled(4096, 'x'), 0, true); !errors.Is(err, env.ErrNotExist) {
		t.Fatalf("a write to a removed file: %v", err)
	}
	if _, err := old.readAt(got, 0); !errors.Is(err, env.ErrNotExist) {
		t.Fatalf("a read of a removed file: %v", err)
	}
}

func TestDeviceFull(t *testing.T) {
	path := stand(t, 8<<20)
	v := mustLoad(t, path)
	a, b := mustCreate(t, v, "a"), mustCreate(t, v, "b")
	if err := errors.Join(a.writeAt(filled(4<<20, 'a'), 0, true), b.writeAt(filled(3<<20, 'b'), 0, true)); err != nil {
		t.Fatal(err)
	}
	if err := b.writeAt(filled(4096, 'b'), 3<<20, true); !errors.Is(err, env.ErrDiskFull) {
		t.Fatalf("a write beyond the last chunk: %v", err)
	}
	if err := v.remove("a"); err != nil {
		t.Fatal(err)
	}
	if err := b.writeAt(filled(2<<20, 'c'), 3<<20, true); err != nil {
		t.Fatal(err)
	}
	_ = v.close()
	v = mustLoad(t, path)
	defer func() { _ = v.close() }()
	files, err := v.list("")
	if err != nil || !slices.Equal(files, []env.FileInfo{{Name: "b", Size: 5 << 20}}) {
		t.Fatalf("%v, %v", files, err)
	}
	got := alignedBytes(5 << 20)
	if n, err := mustCreate(t, v, "b").readAt(got, 0); err != nil || n != len(got) || got[3<<20-1] != 'b' || got[3<<20] != 'c' {
		t.Fatalf("%d bytes, %v", n, err)
	}
	for i := range filesMax - 1 {
		mustCreate(t, v, "f"+strings.Repeat("x", i))
	}
	if _, _, err := v.open(&env.DiskOpen{Name: "more", Create: true}); !errors.Is(err, env.ErrDiskFull) {
		t.Fatalf("one file too many: %v", err)
	}
}

// TestForeignDeviceIsLeftAlone: a device with anything on it is refused, byte for byte unchanged.
func TestForeignDeviceIsLeftAlone(t *testing.T) {
	for name, spoil := range map[string]func([]byte){
		"foreign":  func(b []byte) { copy(b[1080:], "a file system's superblock") },
		"damaged":  func(b []byte) { (&table{deviceBytes: 8 << 20, chunkBytes: 1 << 20}).encode(b); b[20] ^= 1 },
		"newer":    func(b []byte) { (&table{deviceBytes: 8 << 20, chunkBytes: 1 << 20}).encode(b); b[8] = 9 },
		"once big": func(b []byte) { (&table{deviceBytes: 80 << 20, chunkBytes: 1 << 20}).encode(b) },
	} {
		path := stand(t, 8<<20)
		before, _ := os.ReadFile(path)
		spoil(before)
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(path); err == nil {
			t.Errorf("%s: taken", name)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s: written to", name)
		}
	}
	if _, err := load(stand(t, 2<<20)); err == nil {
		t.Error("a device of 2 MiB was taken")
	}
}

// TestTornTableLeavesTheOther tears the newest table after each change.
func TestTornTableLeavesTheOther(t *testing.T) {
	path := stand(t, 8<<20)
	v := mustLoad(t, path)
	mustCreate(t, v, "a")
	mustCreate(t, v, "b")
	newest := int64(v.table.sequence % 2 * tableBytes)
	if err := v.writeAt(filled(512, 'x'), newest, true); err != nil {
		t.Skipf("this device takes no block of 512 bytes: %v", err)
	}
	_ = v.close()
	v = mustLoad(t, path)
	defer func() { _ = v.close() }()
	if files, _ := v.list(""); len(files) != 1 || files[0].Name != "a" {
		t.Fatalf("%v", files)
	}
}

// drawTable is a table as a device may hold.
func drawTable(t *rapid.T) *table {
	made, err := newTable(rapid.Int64Range(4<<20, 1<<44).Draw(t, "device"))
	if err != nil {
		t.Fatal(err)
	}
	made.sequence = rapid.Uint64().Draw(t, "sequence")
	free := made.free()
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9][a-z0-9.\-]{0,20}(/[a-z0-9]{1,9})?`), 0, filesMax, rapid.ID).Draw(t, "names")
	slices.Sort(names)
	for _, name := range names {
		n := rapid.IntRange(0, min(len(free), 20)).Draw(t, "chunks")
		r := row{name: name, chunks: free[:n:n], size: int64(n) * made.chunkBytes, node: &inode{}}
		if n > 0 {
			r.size -= rapid.Int64Range(0, made.chunkBytes-1).Draw(t, "less")
		}
		free = free[n:]
		made.files = append(made.files, r)
	}
	return made
}

func (t *table) equal(u *table) bool {
	return t.sequence == u.sequence && t.deviceBytes == u.deviceBytes && t.chunkBytes == u.chunkBytes &&
		slices.EqualFunc(t.files, u.files, func(a, b row) bool {
			return a.name == b.name && a.size == b.size && slices.Equal(a.chunks, b.chunks)
		})
}

func TestTableRoundTrip(t *testing.T) {
	b := make([]byte, tableBytes)
	rapid.Check(t, func(t *rapid.T) {
		want := drawTable(t)
		want.encode(b)
		got, err := decodeTable(b)
		if err != nil || !got.equal(want) {
			t.Fatalf("%v: %+v became %+v", err, want, got)
		}
	})
}

// TestTableHoldsTheMost: the largest table fits its place.
func TestTableHoldsTheMost(t *testing.T) {
	most := &table{deviceBytes: chunksOffset + chunksMax<<20, chunkBytes: 1 << 20}
	for i := range filesMax {
		r := row{name: strings.Repeat("n", nameBytesMax-2) + string([]byte{'0' + byte(i/10), '0' + byte(i%10)})}
		for c := range chunksMax / filesMax {
			r.chunks = append(r.chunks, uint16(i*chunksMax/filesMax+c))
		}
		r.size = int64(len(r.chunks)) << 20
		most.files = append(most.files, r)
	}
	b := make([]byte, tableBytes)
	most.encode(b)
	if got, err := decodeTable(b); err != nil || !got.equal(most) {
		t.Fatal(err)
	}
}

const goldenTable = "testdata/v1.table"

func TestGoldenTable(t *testing.T) {
	want := &table{sequence: 7, deviceBytes: 64 << 30, chunkBytes: 16 << 20, files: []row{
		{name: "wal-0000000000000001", size: 33 << 20, chunks: []uint16{0, 1, 5}},
		{name: "wal-0000000000000009", size: 4096, chunks: []uint16{2}},
	}}
	b := make([]byte, tableBytes)
	want.encode(b)
	b = b[:little.Uint32(b[44:])]
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(goldenTable, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(goldenTable)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, b) {
		t.Error("the format has changed: that needs a new version")
	}
	if got, err := decodeTable(golden); err != nil || !got.equal(want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzTable(f *testing.F) {
	if golden, err := os.ReadFile(goldenTable); err == nil {
		f.Add(golden)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := decodeTable(data); err == nil {
			checkReencoded(t, data)
		}
		if len(data) < tableHead || len(data) > tableBytes { // past the checksum too
			return
		}
		b := slices.Clone(data)
		little.PutUint64(b, tableMagic)
		little.PutUint32(b[8:], tableVersion)
		little.PutUint32(b[44:], uint32(len(b)))
		seal(b)
		if _, err := decodeTable(b); err == nil {
			checkReencoded(t, b)
		}
	})
}

// checkReencoded: what decodes is what encode writes, but for the spare fields of the head.
func checkReencoded(t *testing.T, data []byte) {
	got, _ := decodeTable(data)
	b := make([]byte, tableBytes)
	got.encode(b)
	again, err := decodeTable(b)
	if err != nil || !again.equal(got) {
		t.Fatalf("%+v became %+v, %v", got, again, err)
	}
}

func seal(b []byte) {
	little.PutUint32(b[12:], 0)
	little.PutUint32(b[12:], crc32.Checksum(b, castagnoli))
}
