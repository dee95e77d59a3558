package event

import (
	"slices"
	"testing"
	"time"
)

type recorder struct{ got []uint64 }

func (r *recorder) Fire(arg uint64) { r.got = append(r.got, arg) }

func TestQueueFiresByTimeThenOrder(t *testing.T) {
	q, r := NewQueue(1), &recorder{}
	draws := q.Stream("test", 0)
	type want struct {
		at  Time
		arg uint64
	}
	var wants []want
	for i := uint64(0); i < 1000; i++ {
		at := Time(draws.Below(50))
		wants = append(wants, want{at, i})
		q.At(at, r, i)
	}
	slices.SortStableFunc(wants, func(a, b want) int { return int(a.at - b.at) })
	for q.Step() {
	}
	for i, w := range wants {
		if r.got[i] != w.arg {
			t.Fatalf("event %d: got %d, want %d", i, r.got[i], w.arg)
		}
	}
}

func TestRunUntilStopsAtDeadline(t *testing.T) {
	q := NewQueue(1)
	fired := 0
	q.Call(time.Second, func() { fired++ })
	q.Call(3*time.Second, func() { fired++ })
	if q.RunUntil(Time(2*time.Second), func() bool { return false }) {
		t.Fatal("done reported")
	}
	if fired != 1 || q.Now() != Time(2*time.Second) {
		t.Fatalf("fired %d at %v", fired, q.Now())
	}
}

func TestDrawsAreKeyed(t *testing.T) {
	a, b := SeedRand(7), SeedRand(7)
	if a.Draw(1, 2, 3) != b.Draw(1, 2, 3) {
		t.Fatal("same key, different draws")
	}
	seen := map[uint64]bool{}
	for i := uint64(0); i < 1000; i++ {
		for _, v := range []uint64{a.Draw(i, 2, 3), a.Draw(1, i+1000, 3), a.Draw(1, 2, i+5000), SeedRand(i+100).Draw(1, 2, 3)} {
			if seen[v] {
				t.Fatal("draw repeated")
			}
			seen[v] = true
		}
	}
}

func TestBelowIsBoundedAndSpread(t *testing.T) {
	s := SeedRand(3).Stream("spread", 9)
	var counts [10]int
	for range 10000 {
		counts[s.Below(10)]++
	}
	for i, n := range counts {
		if n < 800 || n > 1200 {
			t.Errorf("bucket %d holds %d of 10000", i, n)
		}
	}
}

func TestTraceHashTellsOrderAndContent(t *testing.T) {
	run := func(entries ...uint64) uint64 {
		var tr Trace
		for i, e := range entries {
			tr.Add(Time(i), KindDisk, 0, e, 0, 0)
		}
		return tr.Hash()
	}
	once, again := run(1, 2), run(1, 2)
	if once == run(2, 1) || once == run(1, 2, 0) || once != again {
		t.Fatal("hash does not tell runs apart")
	}
}

func BenchmarkQueue(b *testing.B) {
	q, r := NewQueue(1), &recorder{}
	draws := q.Stream("bench", 0)
	for range 256 {
		q.After(time.Duration(draws.Below(1e6)), r, 0)
	}
	b.ReportAllocs()
	for range b.N {
		q.Step()
		r.got = r.got[:0]
		q.After(time.Duration(draws.Below(1e6)), r, 0)
	}
}
