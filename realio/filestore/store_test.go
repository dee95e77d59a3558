package filestore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"weir/core/env"
)

type rig struct {
	*Store
	box chan env.Event
}

func openRig(t testing.TB, dir string) *rig {
	t.Helper()
	r := &rig{box: make(chan env.Event, 100)}
	var err error
	if r.Store, err = Open(Options{Path: dir, Deliver: func(e env.Event) { r.box <- e }}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) put(key, body string) env.Outcome {
	p := &env.PutObject{Key: key, Body: [][]byte{[]byte(body)}}
	r.Put(p)
	<-r.box
	return p.Outcome
}

func (r *rig) get(key string) string {
	g := &env.GetObject{Key: key, Into: make([]byte, 100)}
	r.Get(g)
	<-r.box
	return string(g.Into[:g.N])
}

func (r *rig) keys() (keys []string) {
	l := &env.ListObjects{Limit: 1000}
	r.List(l)
	<-r.box
	for _, o := range l.Objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func TestObjectsOutliveTheStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	r := openRig(t, dir)
	if r.put("a/b", "body") != env.OutcomeDone {
		t.Fatal("not put")
	}
	if err := r.Shutdown(); err != nil {
		t.Fatal(err)
	}
	r = openRig(t, dir)
	defer func() { _ = r.Shutdown() }()
	if r.get("a/b") != "body" || r.put("a/b", "other") != env.OutcomeRefused {
		t.Fatal("the object is gone")
	}
}

// TestKilledWriterIsSwept: files that a dead store never named go; those of a living one stay.
func TestKilledWriterIsSwept(t *testing.T) {
	dir := t.TempDir()
	living := openRig(t, dir)
	defer func() { _ = living.Shutdown() }()
	kept := living.session.next()
	stale := filepath.Join(dir, sessionsName, "1-dead", "7")
	if err := os.Mkdir(filepath.Dir(stale), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{kept, stale} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := openRig(t, dir)
	defer func() { _ = second.Shutdown() }()
	if _, err := os.Stat(filepath.Dir(stale)); !os.IsNotExist(err) {
		t.Errorf("the dead session: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("the living session: %v", err)
	}
	if keys := second.keys(); len(keys) != 0 {
		t.Errorf("half written objects are listed: %q", keys)
	}
	if living.put("k", "1") != env.OutcomeDone || second.put("k", "2") != env.OutcomeRefused || second.get("k") != "1" {
		t.Error("two stores of one directory do not see each other's objects")
	}
}

// TestNothingTemporaryStays, whether puts win or lose.
func TestNothingTemporaryStays(t *testing.T) {
	r := openRig(t, t.TempDir())
	for i := range 20 {
		for range 3 {
			r.Put(&env.PutObject{Key: fmt.Sprint("k", i), Body: [][]byte{{1}}})
		}
	}
	for range 60 {
		<-r.box
	}
	if left, err := os.ReadDir(r.session.dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	if err := r.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(r.root, sessionsName)); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestFolderTidiedUpByHand(t *testing.T) {
	dir := t.TempDir()
	r := openRig(t, dir)
	defer func() { _ = r.Shutdown() }()
	r.put("a/b/1", "x")
	if err := os.RemoveAll(filepath.Join(dir, "a+")); err != nil {
		t.Fatal(err)
	}
	if r.put("a/b/2", "x") == env.OutcomeDone && r.get("a/b/2") != "x" {
		t.Fatal("put, and not there")
	}
	if r.put("a/b/2", "x") == env.OutcomeFailed {
		t.Fatal("it never recovers")
	}
}

func TestForeignFilesAreNotListed(t *testing.T) {
	dir := t.TempDir()
	r := openRig(t, dir)
	defer func() { _ = r.Shutdown() }()
	r.put("a/b", "x")
	for _, name := range []string{"lost+found", "plain-folder"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"white space", "%a", "plain-folder/file"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if keys := r.keys(); len(keys) != 1 || keys[0] != "a/b" {
		t.Fatalf("listed %q", keys)
	}
}

func TestBodiesWithAndWithoutThePageCache(t *testing.T) {
	for _, direct := range []bool{true, false} {
		for _, size := range []int{0, 1, blockBytes - 1, blockBytes, blockBytes + 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3*chunkBytes + 5} {
			want := bytes.Repeat([]byte("0123456789abcdefg"), size/17+1)[:size]
			var pieces [][]byte
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1000)
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			name := filepath.Join(t.TempDir(), "file")
			if err := newWriter(direct).write(name, sliced(pieces), new(atomic.Bool)); err != nil {
				if direct && size > 0 {
					t.Skipf("this file system takes no direct I/O: %v", err)
				}
				t.Fatal(err)
			}
			if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("direct %v: %d bytes read back of %d, %v", direct, len(got), size, err)
			}
		}
	}
}

func TestKeysThatAreNone(t *testing.T) {
	for _, key := range []string{"", "a b", "a\x00", "ü", "a+b", "%", ",tmp/x", strings.Repeat("a/", 600), strings.Repeat("a", 255)} {
		if _, _, err := locate(key); err == nil {
			t.Errorf("%q has a place", key)
		}
	}
	r := openRig(t, t.TempDir())
	defer func() { _ = r.Shutdown() }()
	if r.put("../x", "x") != env.OutcomeDone || r.get("../x") != "x" {
		t.Error("a key of dots is a key")
	}
	if _, err := os.Stat(filepath.Join(r.root, "..", "x")); err == nil {
		t.Error("a key left the directory")
	}
	long := strings.Repeat("a", 300)
	if r.put(long, "x") != env.OutcomeFailed || r.get(long) != "" {
		t.Error("a segment too long")
	}
}

// unlocate finds the key of a path the way that a listing does.
func unlocate(dir, name string) (string, bool) {
	prefix := ""
	for _, folder := range strings.FieldsFunc(dir, func(c rune) bool { return c == '/' }) {
		var ok bool
		if prefix, ok = entryKey(prefix, folder, true); !ok {
			return "", false
		}
	}
	return entryKey(prefix, name, false)
}

func FuzzNames(f *testing.F) {
	for _, key := range []string{"a", "a/b", "a//b", "a/", "/", "..", "a/../b", ".", "%", "data/0000000000000001"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		dir, name, err := locate(key)
		if err != nil {
			return
		}
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") || len(name) > 255 {
			t.Fatalf("%q is named %q", key, name)
		}
		for segment := range strings.SplitSeq(dir, "/") {
			if dir != "" && (segment == "" || segment == "." || segment == ".." || len(segment) > 255) {
				t.Fatalf("%q lies in %q", key, dir)
			}
		}
		if back, ok := unlocate(dir, name); !ok || back != key {
			t.Fatalf("%q became %q in %q, and that %q", key, name, dir, back)
		}
	})
}

// TestListingIsSortedKeys compares with the sorted keys themselves.
func TestListingIsSortedKeys(t *testing.T) {
	r := openRig(t, t.TempDir())
	defer func() { _ = r.Shutdown() }()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-b/.\-0]{1,5}`), 0, 12, rapid.ID).Draw(t, "keys")
		for _, key := range all {
			r.put(key, "")
		}
		defer func() {
			for _, key := range all {
				r.Delete(&env.DeleteObject{Key: key})
				<-r.box
			}
		}()
		prefix, after := rapid.StringMatching(`[a-b/.\-0]{0,2}`).Draw(t, "prefix"), rapid.StringMatching(`[a-b/.\-0]{0,3}`).Draw(t, "after")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		checkPages(t, r, all, prefix, after, limit)
	})
}

func checkPages(t *rapid.T, r *rig, all []string, prefix, after string, limit int) {
	want := expected(all, prefix, after)
	for {
		l := &env.ListObjects{Prefix: prefix, StartAfter: after, Limit: limit}
		r.List(l)
		<-r.box
		for _, o := range l.Objects {
			if len(want) == 0 || o.Key != want[0] {
				t.Fatalf("listed %q, want %q", o.Key, want)
			}
			want, after = want[1:], o.Key
		}
		if l.More != (len(want) > 0) {
			t.Fatalf("more is %v, and %q are", l.More, want)
		}
		if !l.More {
			return
		}
	}
}

func expected(all []string, prefix, after string) (want []string) {
	for _, key := range slices.Sorted(slices.Values(all)) {
		if strings.HasPrefix(key, prefix) && key > after {
			want = append(want, key)
		}
	}
	return want
}
