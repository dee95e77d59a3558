package disk

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"weir/core/env"
	"weir/core/env/envtest"
)

func mustOpen(t testing.TB, path string, deliver func(env.Event)) *Disk {
	t.Helper()
	d, err := Open(Options{Path: path, Deliver: deliver})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestContract(t *testing.T) {
	envtest.TestDisk(t, func(t testing.TB) envtest.Harness {
		dir := t.TempDir()
		return world(t, func(deliver func(env.Event)) *Disk { return mustOpen(t, dir, deliver) })
	})
}

// TestContractWithoutDirectIO is the same on a file system that offers neither direct I/O nor
// durable single writes.
func TestContractWithoutDirectIO(t *testing.T) {
	envtest.TestDisk(t, func(t testing.TB) envtest.Harness {
		dir := t.TempDir()
		return world(t, func(deliver func(env.Event)) *Disk {
			s, err := openDirectory(dir, false)
			if err != nil {
				t.Fatal(err)
			}
			s.direct, s.dsync = false, false
			return newDisk(Options{Deliver: deliver}, s, s.abilities)
		})
	})
}

// TestProbeOfAFullFileSystem: a start must get past a full file system, since it may be what frees
// space there. Writes to /dev/full fail with ENOSPC.
func TestProbeOfAFullFileSystem(t *testing.T) {
	a, err := probe("/dev/full")
	require.NoError(t, err)
	require.False(t, a.direct)
	require.False(t, a.dsync)
	require.ErrorIs(t, a.whyNot, unix.ENOSPC)
}

// TestProbeKeepsItsBlock: the second probe overwrites what the first one wrote.
func TestProbeKeepsItsBlock(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		require.NoError(t, mustOpen(t, dir, func(env.Event) {}).Shutdown())
		stat, err := os.Stat(filepath.Join(dir, probeName))
		require.NoError(t, err)
		require.EqualValues(t, blockBytesMax, stat.Size())
	}
}

// lines keeps what was logged.
type lines []string

func (l *lines) Log(level slog.Level, message string, attrs ...slog.Attr) {
	*l = append(*l, level.String()+" "+message)
}

func TestSaysOnceWhatItFound(t *testing.T) {
	var log lines
	d, err := Open(Options{Path: t.TempDir(), Deliver: func(env.Event) {}, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Shutdown() }()
	want := "INFO disk opened"
	if !d.Direct() {
		want = "WARN no direct I/O"
	}
	if len(log) != 1 || !strings.HasPrefix(log[0], want) {
		t.Fatalf("logged %q", log)
	}
	log = nil
	(&Options{Log: &log}).say(abilities{whyNot: errDirect})
	if len(log) != 1 || !strings.HasPrefix(log[0], "WARN") {
		t.Fatalf("logged %q", log)
	}
}

func TestOneProcessADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	first := mustOpen(t, dir, nil)
	if _, err := Open(Options{Path: dir}); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Fatalf("a second open: %v", err)
	}
	if err := first.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, dir, nil).Shutdown(); err != nil {
		t.Fatal(err)
	}
}

func TestNamesStayInside(t *testing.T) {
	dir := t.TempDir()
	s, err := openDirectory(filepath.Join(dir, "in"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	for _, name := range []string{"", "..", "../out", "a/../../out", "/etc/passwd", "a//b", "a/", ".hidden", "a/.b", "LOCK", "a b", "a\x00b", "ü", strings.Repeat("a", 256)} {
		if _, _, err := s.open(&env.DiskOpen{Name: name, Create: true}); err == nil {
			t.Errorf("%q was opened", name)
		}
		if s.remove(name) == nil || s.rename(name, "x") == nil || s.rename("x", name) == nil {
			t.Errorf("%q was removed or renamed", name)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Fatalf("the parent has %v", entries)
	}
	if files, err := s.list(""); err != nil || len(files) != 0 {
		t.Fatalf("listed %v, %v", files, err)
	}
}

// TestErrorsHaveSentinels: /dev/full refuses each write for want of space, a read-only descriptor
// each write at all.
func TestErrorsHaveSentinels(t *testing.T) {
	for path, want := range map[string]struct {
		flags    int
		sentinel error
	}{
		"/dev/full": {unix.O_RDWR, env.ErrDiskFull},
		"/dev/null": {unix.O_RDONLY, env.ErrDiskIO},
	} {
		fd, err := unix.Open(path, want.flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := &file{fd: fd, name: "file"}
		if err := f.writeAt(make([]byte, 512), 0, true); !errors.Is(err, want.sentinel) || !strings.Contains(err.Error(), `"file"`) {
			t.Errorf("%s: %v", path, err)
		}
		_ = f.close()
	}
	for errno, want := range map[error]error{unix.ENOENT: env.ErrNotExist, unix.EEXIST: env.ErrExist, unix.EDQUOT: env.ErrDiskFull, unix.EIO: env.ErrDiskIO} {
		if err := failure("open", "x", errno); !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v became %v", errno, err)
		}
	}
}

func TestOperationOnAClosedFile(t *testing.T) {
	box := newCompletions()
	d := mustOpen(t, t.TempDir(), box.deliver)
	defer func() { _ = d.Shutdown() }()
	w := &env.DiskWrite{File: 7, Data: make([]byte, 512), Done: func(*env.DiskWrite) {}}
	d.Write(w)
	box.pump()
	if !errors.Is(w.Err, env.ErrDiskIO) {
		t.Fatal(w.Err)
	}
}
