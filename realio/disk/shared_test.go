package disk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"weir/core/env"
	"weir/core/env/envtest"
)

func openShared(t testing.TB, path string, deliver func(env.Event)) *Disk {
	t.Helper()
	d, err := Open(Options{Path: path, Deliver: deliver, Shared: true})
	if err != nil {
		t.Skip("no shared directory here: ", err)
	}
	return d
}

func TestSharedContract(t *testing.T) {
	envtest.TestSharedDisk(t, func(t testing.TB) envtest.SharedHarness {
		dir := t.TempDir()
		attach := func() envtest.Harness {
			return world(t, func(deliver func(env.Event)) *Disk { return openShared(t, dir, deliver) })
		}
		return envtest.SharedHarness{A: attach(), B: attach()}
	})
}

// TestADirectoryIsSharedByAllOrNone: a process that has a directory for itself keeps those out that would share it, and they it.
func TestADirectoryIsSharedByAllOrNone(t *testing.T) {
	dir := t.TempDir()
	first := openShared(t, dir, nil)
	_, err := Open(Options{Path: dir})
	require.ErrorContains(t, err, "in use by processes that share it")
	require.NoError(t, first.Shutdown())

	alone := mustOpen(t, dir, nil)
	_, err = Open(Options{Path: dir, Shared: true})
	require.ErrorContains(t, err, "in use by process "+strconv.Itoa(os.Getpid()))
	require.NoError(t, alone.Shutdown())
}

// A page cache would keep one machine from seeing what another wrote.
func TestASharedDirectoryNeedsDirectIO(t *testing.T) {
	d := &directory{abilities: abilities{whyNot: errDirect}}
	require.ErrorIs(t, d.needDirect(), errDirect)
	d.whyNot = unix.ENOSPC
	require.NoError(t, d.needDirect())
	require.True(t, d.direct)
}

const childFile = "WEIR_TEST_SHARED_FILE"

// TestAnotherProcessesWritesAreSeen: a file that is open, and was read, shows what another process then wrote.
func TestAnotherProcessesWritesAreSeen(t *testing.T) {
	if path := os.Getenv(childFile); path != "" {
		writeAsChild(t, path)
		return
	}
	dir := t.TempDir()
	box := newCompletions()
	d := openShared(t, dir, box.deliver)
	defer func() { require.NoError(t, d.Shutdown()) }()
	var file env.FileID
	d.Open(&env.DiskOpen{Name: "file", Create: true, Direct: true, Done: func(o *env.DiskOpen) { file = o.File }})
	box.pump()
	d.Write(&env.DiskWrite{File: file, Data: alignedBlock(), Durable: true, Done: func(o *env.DiskWrite) { require.NoError(t, o.Err) }})
	box.pump()
	read := func() byte {
		block := alignedBlock()
		d.Read(&env.DiskRead{File: file, Data: block, Done: func(o *env.DiskRead) { require.NoError(t, o.Err) }})
		box.pump()
		return block[0]
	}
	require.Zero(t, read())

	child := exec.Command(os.Args[0], "-test.run=^TestAnotherProcessesWritesAreSeen$")
	child.Env = append(os.Environ(), childFile+"="+filepath.Join(dir, "file"))
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.EqualValues(t, 'x', read())
}

func writeAsChild(t *testing.T, path string) {
	box := newCompletions()
	d := openShared(t, filepath.Dir(path), box.deliver)
	var file env.FileID
	d.Open(&env.DiskOpen{Name: filepath.Base(path), Direct: true, Done: func(o *env.DiskOpen) { file = o.File }})
	box.pump()
	block := alignedBlock()
	block[0] = 'x'
	d.Write(&env.DiskWrite{File: file, Data: block, Durable: true, Done: func(o *env.DiskWrite) { require.NoError(t, o.Err) }})
	box.pump()
	require.NoError(t, d.Shutdown())
}
