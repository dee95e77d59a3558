package filestore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"weir/core/env"
)

func (r *rig) putError(key string, body []byte) (env.Outcome, error) {
	p := &env.PutObject{Key: key, Body: [][]byte{body}}
	r.Put(p)
	<-r.box
	return p.Outcome, p.Err
}

// TestAFullFileSystemSaysSo, and leaves nothing half written behind.
func TestAFullFileSystemSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	r := openRig(t, filepath.Join(dir, "objects"))
	defer func() { _ = r.Shutdown() }()
	outcome, err := r.putError("large", make([]byte, 2<<20))
	require.Equal(t, env.OutcomeFailed, outcome)
	require.Equal(t, env.CauseFull, env.CauseOf(err), "%v", err)
	require.ErrorContains(t, err, "no space left on device")
	require.ErrorContains(t, err, "free space on the file system of "+r.root)
	require.Equal(t, env.OutcomeDone, r.put("small", "fits: the large one left nothing"))
}

func TestCauses(t *testing.T) {
	s := &Store{root: "/objects"}
	for err, cause := range map[error]env.StoreCause{
		&os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}: env.CauseFull,
		unix.EDQUOT: env.CauseFull,
		unix.EACCES: env.CauseDenied,
		unix.EROFS:  env.CauseDenied,
		unix.EIO:    env.CauseBroken,
		errGone:     env.CauseBucket,
		errEnded:    env.CauseEnded,
		unix.EINVAL: env.CauseOther,
	} {
		require.Equal(t, cause, env.CauseOf(s.failure("put", "k", err)), "%v", err)
	}
}

// TestADirectoryThatIsGoneHasDeletedNothing: an empty directory in the place of a volume that is not
// mounted any more must not look like a store without objects.
func TestADirectoryThatIsGoneHasDeletedNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "objects")
	r := openRig(t, dir)
	require.Equal(t, env.OutcomeDone, r.put("a/b", "body"))
	require.NoError(t, os.Rename(dir, dir+"-away"))
	require.NoError(t, os.Mkdir(dir, 0o700))
	g := &env.GetObject{Key: "a/b", Into: make([]byte, 10)}
	r.Get(g)
	<-r.box
	require.Equal(t, env.OutcomeFailed, g.Outcome)
	require.Equal(t, env.CauseBucket, env.CauseOf(g.Err), "%v", g.Err)
	l := &env.ListObjects{Limit: 10}
	r.List(l)
	<-r.box
	require.Equal(t, env.OutcomeFailed, l.Outcome)
	d := &env.DeleteObject{Key: "a/b"}
	r.Delete(d)
	<-r.box
	require.NotEqual(t, env.OutcomeDone, d.Outcome)
	outcome, err := r.putError("a/c", []byte("body"))
	require.Equal(t, env.OutcomeFailed, outcome)
	require.Equal(t, env.CauseBucket, env.CauseOf(err), "%v", err)
	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.Rename(dir+"-away", dir))
	require.Equal(t, "body", r.get("a/b"))
	require.NoError(t, r.Shutdown())
}

func TestAbandonEndsPuts(t *testing.T) {
	dir := t.TempDir()
	r := openRig(t, dir)
	r.Abandon()
	outcome, err := r.putError("key", bytes.Repeat([]byte("x"), 2*chunkBytes))
	require.Equal(t, env.OutcomeFailed, outcome)
	require.Equal(t, env.CauseEnded, env.CauseOf(err))
	require.ErrorIs(t, r.writer.write(r.session.next(), sliced([][]byte{make([]byte, chunkBytes)}), &r.ended), errEnded)
	require.NoError(t, r.Shutdown())
}

func TestTheRootIsMadeThroughLinks(t *testing.T) {
	base := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(base, "real"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(base, "real"), filepath.Join(base, "link")))
	for _, dir := range []string{"link", "link/deep/er", "other/deep"} {
		require.NoError(t, makeRoot(filepath.Join(base, dir)))
		_, err := os.ReadDir(filepath.Join(base, dir))
		require.NoError(t, err)
	}
	require.Error(t, makeRoot(filepath.Join("/proc", "nothing", "here")))
}
