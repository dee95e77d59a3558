package objectstore

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"weir/core/env"
)

// Harness is a store under test, empty at first.
type Harness struct {
	Store env.ObjectStore

	// Pump delivers completions on the caller's goroutine: at least one, if an operation is in
	// flight; it waits for it if the world runs on its own.
	Pump func()

	// Deviations are the cases that this store is known to fail, by name.
	Deviations map[string]Deviation
}

// Deviation is a known failure.
type Deviation struct {
	Reason    string
	Sometimes bool // it takes an unlucky race
}

// Run runs the battery, each case on a fresh store.
func Run(t *testing.T, fresh func(testing.TB) Harness) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := fresh(t)
			err := (&store{Harness: h}).try(c.run)
			known, deviates := h.Deviations[c.name]
			switch {
			case err == nil && deviates && !known.Sometimes:
				t.Fatalf("listed as a deviation, but it holds; take it off the list: %s", known.Reason)
			case err != nil && deviates:
				t.Logf("known deviation: %s (%v)", known.Reason, err)
			case err != nil:
				t.Fatal(err)
			}
		})
	}
}

// errCase is how a case ends early.
var errCase = errors.New("does not hold")

// store is a harness with the operations made synchronous.
type store struct{ Harness }

// try runs a case and returns what it found wrong.
func (s *store) try(run func(*store)) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			if !errors.Is(r, errCase) {
				panic(r)
			}
			err = r
		default:
			panic(r)
		}
	}()
	run(s)
	return nil
}

func failf(format string, args ...any) {
	panic(fmt.Errorf("%w: %w", errCase, fmt.Errorf(format, args...)))
}

// wait pumps until left is zero.
func (s *store) wait(left *int) {
	for range 10_000_000 {
		if *left == 0 {
			return
		}
		s.Pump()
	}
	failf("%d operations never completed", *left)
}

// putAll submits puts together, and waits for all of them.
func (s *store) putAll(puts []*env.PutObject) {
	left := len(puts)
	for _, p := range puts {
		p.Done = func(*env.PutObject) { left-- }
		s.Store.Put(p)
	}
	s.wait(&left)
}

// triesMax is how often the battery tries again what failed for a reason that may pass.
const triesMax = 10

func (s *store) put(key string, body ...[]byte) *env.PutObject {
	p := &env.PutObject{For: env.PurposeUpload, Key: key, Body: body}
	for range triesMax {
		if s.putAll([]*env.PutObject{p}); p.Outcome != env.OutcomeFailed {
			break
		}
	}
	return p
}

// mustPut puts what must not be there yet.
func (s *store) mustPut(key string, body ...[]byte) {
	if p := s.put(key, body...); p.Outcome != env.OutcomeDone {
		failf("put %s: outcome %d, %w", short(key), p.Outcome, p.Err)
	}
}

// mustPutAll is mustPut for many keys, some at a time.
func (s *store) mustPutAll(keys []string, body func(key string) []byte) {
	const together = 32
	for from := 0; from < len(keys); from += together {
		var puts []*env.PutObject
		for _, key := range keys[from:min(from+together, len(keys))] {
			puts = append(puts, &env.PutObject{For: env.PurposeUpload, Key: key, Body: [][]byte{body(key)}})
		}
		s.putAll(puts)
		for _, p := range puts {
			if p.Outcome != env.OutcomeDone {
				failf("put %s: outcome %d, %w", short(p.Key), p.Outcome, p.Err)
			}
		}
	}
}

// get reads a range into pieces of memory, which are one.
func (s *store) get(key string, offset int64, size int) (*env.GetObject, []byte) {
	whole := make([]byte, size)
	first, second := size/3, size/2
	g := &env.GetObject{
		For: env.PurposeCatchUp, Key: key, Offset: offset, Into: whole[:first], Then: [][]byte{whole[first:second], whole[second:]},
	}
	for range triesMax {
		left := 1
		g.Done = func(*env.GetObject) { left-- }
		s.Store.Get(g)
		if s.wait(&left); g.Outcome != env.OutcomeFailed {
			break
		}
	}
	return g, whole
}

// expect reads a range of an object of which the whole is known.
func (s *store) expect(key string, whole []byte, offset int64, size int) {
	want := whole[min(offset, int64(len(whole))):]
	want = want[:min(size, len(want))]
	g, got := s.get(key, offset, size)
	if g.Outcome != env.OutcomeDone {
		failf("get %d bytes at %d of %s: outcome %d, %w", size, offset, short(key), g.Outcome, g.Err)
	}
	if g.Size != int64(len(whole)) {
		failf("get %d bytes at %d of %s: the object has %d bytes, not %d", size, offset, short(key), g.Size, len(whole))
	}
	if !bytes.Equal(got[:g.N], want) {
		failf("get %d bytes at %d of %s: %d bytes, which differ from the %d expected", size, offset, short(key), g.N, len(want))
	}
}

func (s *store) expectAbsent(key string) {
	if g, _ := s.get(key, 0, 10); g.Outcome != env.OutcomeRefused || g.N != 0 || g.Err == nil {
		failf("get %s, which is absent: outcome %d, %d bytes, %w", short(key), g.Outcome, g.N, g.Err)
	}
}

func (s *store) remove(key string) {
	d := &env.DeleteObject{For: env.PurposeDeletion, Key: key}
	for range triesMax {
		left := 1
		d.Done = func(*env.DeleteObject) { left-- }
		s.Store.Delete(d)
		if s.wait(&left); d.Outcome != env.OutcomeFailed {
			break
		}
	}
	if d.Outcome != env.OutcomeDone {
		failf("delete %s: outcome %d, %w", short(key), d.Outcome, d.Err)
	}
}

func (s *store) page(prefix, after string, limit int) *env.ListObjects {
	l := &env.ListObjects{For: env.PurposeSweep, Prefix: prefix, StartAfter: after, Limit: limit}
	for range triesMax {
		left := 1
		l.Done = func(*env.ListObjects) { left-- }
		s.Store.List(l)
		if s.wait(&left); l.Outcome != env.OutcomeFailed {
			break
		}
	}
	if l.Outcome != env.OutcomeDone || len(l.Objects) > limit {
		failf("list %s after %s: outcome %d, %d objects, %w", short(prefix), short(after), l.Outcome, len(l.Objects), l.Err)
	}
	return l
}

// listAll follows the pages to the end.
func (s *store) listAll(prefix, after string, limit int) (keys []string) {
	for {
		l := s.page(prefix, after, limit)
		for _, o := range l.Objects {
			keys = append(keys, o.Key)
		}
		if !l.More {
			return keys
		}
		if len(l.Objects) == 0 {
			failf("list %s after %s: nothing, and more", short(prefix), short(after))
		}
		after = keys[len(keys)-1]
	}
}

// short is a key for people.
func short(key string) string {
	if len(key) > 60 {
		return fmt.Sprintf("%q... (%d bytes)", key[:50], len(key))
	}
	return fmt.Sprintf("%q", key)
}

// pattern is bytes of which each stretch tells its place.
func pattern(size int, seed byte) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = seed + byte(i) ^ byte(i>>8)*3 ^ byte(i>>16)*5
	}
	return data
}

// sliced cuts data into pieces of the given size, with empty ones between.
func sliced(data []byte, size int) (pieces [][]byte) {
	for len(data) > 0 {
		n := min(size, len(data))
		pieces = append(pieces, data[:n:n], nil)
		data = data[n:]
	}
	return pieces
}
