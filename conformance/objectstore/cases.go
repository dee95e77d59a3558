package objectstore

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"weir/bill"
	"weir/core/env"
)

// partBytes is the body above which weir's S3 client sends parts.
const partBytes = bill.PartBytes

var cases = []struct {
	name string
	run  func(*store)
}{
	{"CreateIfAbsent", (*store).createIfAbsent},
	{"RacingCreates", (*store).racingCreates},
	{"EmptyBody", (*store).emptyBody},
	{"Ranges", (*store).ranges},
	{"Absent", (*store).absent},
	{"DeleteAndCreateAgain", (*store).deleteAndCreateAgain},
	{"ManySlices", (*store).manySlices},
	{"BodyIsTheCallersAgain", (*store).bodyIsTheCallersAgain},
	{"CompletionIsNotInline", (*store).completionIsNotInline},
	{"ListPages", (*store).listPages},
	{"ListStartAfter", (*store).listStartAfter},
	{"ListThousand", (*store).listThousand},
	{"OddKeys", (*store).oddKeys},
	{"KeyBesideFolder", (*store).keyBesideFolder},
	{"DotSegments", (*store).dotSegments},
	{"LongKey", (*store).longKey},
	{"Large", (*store).large},
	{"LargeRefused", (*store).largeRefused},
	{"RacingLargeCreates", (*store).racingLargeCreates},
	{"Compose", (*store).compose},
	{"ComposeLarge", (*store).composeLarge},
	{"ComposeRefused", (*store).composeRefused},
}

// composed composes an object, and expects an outcome.
func (s *store) composed(key string, want env.Outcome, pieces ...env.Piece) {
	c := &env.ComposeObject{Key: key, Pieces: pieces}
	for range triesMax {
		left := 1
		c.Done = func(*env.ComposeObject) { left-- }
		s.Store.Compose(c)
		if s.wait(&left); c.Outcome != env.OutcomeFailed {
			break
		}
	}
	if c.Outcome != want || (c.Err == nil) != (want == env.OutcomeDone) {
		failf("compose %s: outcome %d, not %d; %w", short(key), c.Outcome, want, c.Err)
	}
}

// compose makes objects of bytes and of small runs of others.
func (s *store) compose() {
	one, two := pattern(5000, 1), pattern(7000, 2)
	s.mustPut("source/one", one)
	s.mustPut("source/two", two)
	s.composed("made", env.OutcomeDone, env.Piece{Data: []byte("head")}, env.Piece{Key: "source/two", Offset: 100, Bytes: 6900},
		env.Piece{Key: "source/one", Bytes: 5000}, env.Piece{Key: "source/one", Offset: 4999, Bytes: 1}, env.Piece{Data: []byte("tail")})
	s.expect("made", slices.Concat([]byte("head"), two[100:], one, one[4999:], []byte("tail")), 0, 20_000)
	s.composed("bytes", env.OutcomeDone, env.Piece{Data: []byte("only")}, env.Piece{Data: []byte(" bytes")})
	s.expect("bytes", []byte("only bytes"), 0, 100)
	s.expect("source/one", one, 0, 6000)
}

// composeLarge makes an object of runs that a store copies, and of some that it does not.
func (s *store) composeLarge() {
	whole := pattern(12<<20, 3)
	s.mustPut("source", whole)
	s.composed("made", env.OutcomeDone, env.Piece{Data: []byte("head")}, env.Piece{Key: "source", Offset: 10, Bytes: 11 << 20},
		env.Piece{Key: "source", Bytes: 100}, env.Piece{Key: "source", Bytes: 12 << 20}, env.Piece{Data: []byte("tail")})
	want := slices.Concat([]byte("head"), whole[10:10+11<<20], whole[:100], whole, []byte("tail"))
	s.expect("made", want, 0, len(want))
	s.expect("made", want, int64(len(want))-10, 100)
}

// composeRefused: one name, one body; and no object is made of what is not there.
func (s *store) composeRefused() {
	s.mustPut("source", pattern(6<<20, 4))
	s.mustPut("key", []byte("one"))
	s.composed("key", env.OutcomeRefused, env.Piece{Data: []byte("head")}, env.Piece{Key: "source", Bytes: 6 << 20})
	s.expect("key", []byte("one"), 0, 100)
	s.composed("made", env.OutcomeRefused, env.Piece{Data: []byte("head")}, env.Piece{Key: "absent", Bytes: 6 << 20})
	s.composed("made", env.OutcomeRefused, env.Piece{Data: []byte("head")}, env.Piece{Key: "absent", Bytes: 10})
	s.expectAbsent("made")
}

func (s *store) createIfAbsent() {
	one, two := []byte("one"), []byte("the second body")
	s.mustPut("key", one)
	if p := s.put("key", two); p.Outcome != env.OutcomeRefused || p.Err == nil {
		failf("the second put: outcome %d, %w", p.Outcome, p.Err)
	}
	s.expect("key", one, 0, 100)
}

// race puts the same key with different bodies at once, and expects one of them.
func (s *store) race(key string, writers, size int) {
	var puts []*env.PutObject
	for i := range writers {
		puts = append(puts, &env.PutObject{For: env.PurposeUpload, Key: key, Body: sliced(pattern(size, byte(i)), 64<<10)})
	}
	s.putAll(puts)
	winner, open := -1, 0
	for i, p := range puts {
		switch {
		case p.Outcome == env.OutcomeUnknown:
			open++
		case p.Outcome == env.OutcomeDone && winner >= 0:
			failf("writers %d and %d both created %s", winner, i, key)
		case p.Outcome == env.OutcomeDone:
			winner = i
		}
	}
	if winner < 0 && open == 0 {
		failf("none of %d writers created %s: %w", writers, key, puts[0].Err)
	}
	if winner >= 0 {
		s.expect(key, bytes.Join(puts[winner].Body, nil), 0, size+1)
	}
}

func (s *store) racingCreates() {
	for round := range 4 {
		s.race(fmt.Sprintf("race/%d", round), 32, 100<<round)
	}
}

func (s *store) emptyBody() {
	s.mustPut("empty")
	s.mustPut("empty-slices", nil, []byte{}, nil)
	for _, key := range []string{"empty", "empty-slices"} {
		s.expect(key, nil, 0, 10)
		s.expect(key, nil, 5, 10)
	}
	if p := s.put("empty", []byte("x")); p.Outcome != env.OutcomeRefused {
		failf("a put over an empty object: outcome %d, %w", p.Outcome, p.Err)
	}
}

func (s *store) ranges() {
	whole := pattern(100_000, 3)
	s.mustPut("object", whole)
	for _, r := range []struct {
		offset int64
		size   int
	}{
		{0, 100_000},
		{0, 1},
		{99_999, 1},
		{50_000, 10_000},
		{0, 100_001},
		{99_000, 5_000},
		{100_000, 10},
		{1 << 40, 10},
		{50, 0},
		{0, 0},
	} {
		s.expect("object", whole, r.offset, r.size)
	}
}

func (s *store) absent() {
	s.expectAbsent("nothing")
	s.expectAbsent("no/such/folder")
	s.remove("nothing")
	s.remove("no/such/folder")
	if l := s.page("", "", 10); len(l.Objects) != 0 || l.More {
		failf("an empty store lists %v", l.Objects)
	}
}

func (s *store) deleteAndCreateAgain() {
	body := pattern(1000, 1)
	s.mustPut("folder/key", body)
	s.remove("folder/key")
	s.remove("folder/key")
	s.expectAbsent("folder/key")
	if keys := s.listAll("", "", 10); len(keys) != 0 {
		failf("a deleted object is listed: %v", keys)
	}
	s.mustPut("folder/key", body)
	s.expect("folder/key", body, 0, 1000)
}

func (s *store) manySlices() {
	whole := pattern(3<<20+17, 9)
	for _, size := range []int{997, 4096, 16 << 10, 1<<20 + 1} {
		key := fmt.Sprintf("slices-of-%d", size)
		s.mustPut(key, sliced(whole, size)...)
		s.expect(key, whole, 0, len(whole))
	}
}

func (s *store) bodyIsTheCallersAgain() {
	body := pattern(1<<20, 4)
	want := slices.Clone(body)
	s.mustPut("key", body)
	clear(body)
	s.expect("key", want, 0, len(want))
}

func (s *store) completionIsNotInline() {
	left, submitted := 1, false
	inline := false
	s.Store.Put(&env.PutObject{For: env.PurposeUpload, Key: "key", Done: func(*env.PutObject) { left--; inline = !submitted }})
	submitted = true
	if s.wait(&left); inline {
		failf("a put completed inside the call that submitted it")
	}
}

// some keys whose order depends on how a store compares '/' with '-', '.' and digits.
var ordered = []string{
	"a-b", "a.b", "a/", "a/0", "a/b/c", "a/b-c", "a/bb", "a0", "b", "data/0000000000000001", "data/0000000000000002",
	"data/000000000000000a", "data/000000000000000f", "data0", "z/z/z/z",
}

func bodyOf(key string) []byte { return []byte("body of " + key) }

// listed is ordered without what is no object of every store (a key that ends in a slash), in byte order.
func (s *store) listed() []string {
	keys := slices.DeleteFunc(slices.Clone(ordered), func(key string) bool { return strings.HasSuffix(key, "/") })
	slices.Sort(keys)
	s.mustPutAll(keys, bodyOf)
	return keys
}

func (s *store) listPages() {
	keys := s.listed()
	for _, prefix := range []string{"", "a", "a/", "a/b", "data/", "data/000000000000000", "z/z/", "nothing", "b", "b/"} {
		want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !strings.HasPrefix(key, prefix) })
		for _, limit := range []int{1, 2, 4, 1000} {
			if got := s.listAll(prefix, "", limit); !slices.Equal(got, want) {
				failf("list %q by %d: %q, want %q", prefix, limit, got, want)
			}
		}
	}
	for _, o := range s.page("", "", 1000).Objects {
		if o.Size != int64(len(bodyOf(o.Key))) {
			failf("%s is listed with %d bytes, not %d", o.Key, o.Size, len(bodyOf(o.Key)))
		}
	}
}

func (s *store) listStartAfter() {
	keys := s.listed()
	for _, after := range []string{"", "a", "a-b", "a-", "a/", "a/0", "a/b", "a/b/", "a/b/c", "a0", "data/0000000000000001", "data/0000000000000003", "z/z/z/z", "zz"} {
		want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key <= after })
		if got := s.listAll("", after, 3); !slices.Equal(got, want) {
			failf("list after %q: %q, want %q", after, got, want)
		}
	}
	if got := s.listAll("data/", "data/0000000000000001", 2); !slices.Equal(got, []string{"data/0000000000000002", "data/000000000000000a", "data/000000000000000f"}) {
		failf("list data/ after its first key: %q", got)
	}
	if got := s.listAll("data/", "a", 2); len(got) != 4 {
		failf("list data/ after a key before it: %q", got)
	}
	if got := s.listAll("a/", "b", 2); len(got) != 0 {
		failf("list a/ after a key behind it: %q", got)
	}
}

func (s *store) listThousand() {
	var keys []string
	for i := range 1005 {
		keys = append(keys, fmt.Sprintf("many/%04d", i))
	}
	s.mustPutAll(keys, func(string) []byte { return nil })
	for _, limit := range []int{1000, 999, 100} {
		if got := s.listAll("many/", "", limit); !slices.Equal(got, keys) {
			failf("list by %d: %d keys", limit, len(got))
		}
	}
}

// expectKeys puts each key, reads each back, and lists them all.
func (s *store) expectKeys(keys ...string) {
	s.mustPutAll(keys, bodyOf)
	for _, key := range keys {
		s.expect(key, bodyOf(key), 0, 2000)
	}
	slices.Sort(keys)
	if got := s.listAll("", "", 1000); !slices.Equal(got, keys) {
		failf("listed %d keys %.300q, want %d", len(got), got, len(keys))
	}
	for _, key := range keys {
		s.remove(key)
	}
	if got := s.listAll("", "", 1000); len(got) != 0 {
		failf("%q stay after their deletion", got)
	}
}

func (s *store) oddKeys() {
	s.expectKeys("A", "Z_z", "0", "-", "_", "=", "a=b", "a-b_c.d=e", "...", "x/.hidden", "x/y=1/z=2/part-0.bin", "lower/UPPER", "lower/upper")
}

func (s *store) keyBesideFolder() { s.expectKeys("a", "a/b", "a/b/c") }

func (s *store) dotSegments() { s.expectKeys("a/../b", "a/./b", "a//b", "a/") }

// longKey leaves something of the 1,024 bytes to the prefix that a store may put before its keys.
func (s *store) longKey() {
	segment := strings.Repeat("k", 198)
	s.expectKeys(strings.Join([]string{segment, segment, segment, segment, segment, "1234"}, "/"))
}

func (s *store) large() {
	for _, size := range []int{partBytes - 1, partBytes, partBytes + 1, 2 * partBytes, 2*partBytes + 12_345} {
		key := fmt.Sprintf("large/%d", size)
		whole := pattern(size, 7)
		s.mustPut(key, sliced(whole, 100_003)...)
		s.expect(key, whole, 0, size+10)
		s.expect(key, whole, partBytes-100, 200)
		s.expect(key, whole, int64(size)-5, 50)
		s.expect(key, whole, int64(size), 50)
		s.remove(key)
	}
}

func (s *store) largeRefused() {
	s.mustPut("key", []byte("small"))
	if p := s.put("key", pattern(partBytes+1, 1)); p.Outcome != env.OutcomeRefused {
		failf("a large put of a key that exists: outcome %d, %w", p.Outcome, p.Err)
	}
	s.expect("key", []byte("small"), 0, 10)
}

func (s *store) racingLargeCreates() { s.race("large", 4, partBytes+100) }
