package store

import (
	"bytes"
	"fmt"
	"testing"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/machine"
)

type rig struct {
	queue   *event.Queue
	store   *Store
	box     *machine.Box
	objects env.ObjectStore
}

func newRig(seed uint64) *rig {
	r := &rig{queue: event.NewQueue(seed)}
	r.store = New(r.queue)
	r.box = machine.NewBox(0, 1, func(e env.Event) { e.Deliver() })
	r.objects = r.store.Attach(r.box)
	return r
}

func (r *rig) run() {
	for r.queue.Step() {
	}
}

func (r *rig) put(key, body string) *env.PutObject {
	p := &env.PutObject{For: env.PurposeUpload, Key: key, Body: [][]byte{[]byte(body)}, Done: func(*env.PutObject) {}}
	r.objects.Put(p)
	r.run()
	return p
}

func (r *rig) get(key string, offset int64, size int) *env.GetObject {
	g := &env.GetObject{For: env.PurposeCatchUp, Key: key, Offset: offset, Into: make([]byte, size), Done: func(*env.GetObject) {}}
	r.objects.Get(g)
	r.run()
	return g
}

func TestPutIsCreateIfAbsent(t *testing.T) {
	r := newRig(1)
	if p := r.put("a", "one"); p.Outcome != env.OutcomeDone {
		t.Fatalf("first put: %v %v", p.Outcome, p.Err)
	}
	if p := r.put("a", "two"); p.Outcome != env.OutcomeRefused {
		t.Fatalf("second put: %v", p.Outcome)
	}
	if g := r.get("a", 1, 10); g.Outcome != env.OutcomeDone || string(g.Into[:g.N]) != "ne" || g.Size != 3 {
		t.Fatalf("get: %+v", g)
	}
	if g := r.get("b", 0, 1); g.Outcome != env.OutcomeRefused {
		t.Fatalf("get of nothing: %v", g.Outcome)
	}
}

// TestUnknownMeansUnknown sees each outcome of a lost answer with and without its effect.
func TestUnknownMeansUnknown(t *testing.T) {
	type fate struct {
		outcome env.Outcome
		exists  bool
	}
	seen := map[fate]int{}
	for seed := uint64(1); seed <= 300; seed++ {
		r := newRig(seed)
		r.store.Faults = Faults{Refuse: 250, LostBefore: 250, LostAfter: 250, Late: 150}
		body := []byte("body")
		var exists bool
		p := &env.PutObject{For: env.PurposeUpload, Key: "k", Body: [][]byte{body}, Done: func(p *env.PutObject) {
			_, exists = r.store.Object("k")
			copy(body, "XXXX") // the body is the caller's again
		}}
		r.objects.Put(p)
		r.run()
		seen[fate{p.Outcome, exists}]++
		object, late := r.store.Object("k")
		if late && string(object.Body) != "body" {
			t.Fatalf("stored %q", object.Body)
		}
		if late && !exists {
			seen[fate{99, true}]++
		}
		if p.Outcome == env.OutcomeFailed && late {
			t.Fatal("a failed put took effect")
		}
	}
	for _, want := range []fate{{env.OutcomeDone, true}, {env.OutcomeFailed, false}, {env.OutcomeUnknown, false}, {env.OutcomeUnknown, true}, {99, true}} {
		if seen[want] == 0 {
			t.Errorf("never saw %+v", want)
		}
	}
}

func TestReadsFailShortAndCorrupt(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 10)
	short, corrupt, failed := 0, 0, 0
	for seed := uint64(1); seed <= 200; seed++ {
		r := newRig(seed)
		r.put("k", string(want))
		r.store.Faults = Faults{Refuse: 200, Short: 200, Corrupt: 200}
		g := r.get("k", 0, 100)
		switch {
		case g.Outcome == env.OutcomeFailed:
			failed++
		case g.N < 100:
			short++
		case !bytes.Equal(g.Into, want):
			corrupt++
		}
		if object, _ := r.store.Object("k"); !bytes.Equal(object.Body, want) {
			t.Fatal("the stored bytes were damaged")
		}
	}
	if short == 0 || corrupt == 0 || failed == 0 {
		t.Fatalf("short %d, corrupt %d, failed %d", short, corrupt, failed)
	}
}

func TestListPages(t *testing.T) {
	r := newRig(1)
	for i := range 25 {
		r.put(fmt.Sprintf("a/%02d", i), "x")
	}
	r.put("b", "x")
	var got []string
	after := ""
	for {
		l := &env.ListObjects{For: env.PurposeSweep, Prefix: "a/", StartAfter: after, Limit: 10, Done: func(*env.ListObjects) {}}
		r.objects.List(l)
		r.run()
		for _, o := range l.Objects {
			got = append(got, o.Key)
		}
		if !l.More {
			break
		}
		after = got[len(got)-1]
	}
	if len(got) != 25 || got[0] != "a/00" || got[24] != "a/24" {
		t.Fatalf("listed %v", got)
	}
}

func TestCrashLeavesRequestsOpen(t *testing.T) {
	arrived, never := 0, 0
	for seed := uint64(1); seed <= 60; seed++ {
		r := newRig(seed)
		body := []byte("body")
		r.objects.Put(&env.PutObject{For: env.PurposeUpload, Key: "k", Body: [][]byte{body}, Done: func(*env.PutObject) { t.Fatal("delivered to the dead") }})
		r.box.Kill()
		r.store.Crash(r.box)
		copy(body, "XXXX")
		r.run()
		if o, ok := r.store.Object("k"); ok {
			arrived++
			if string(o.Body) != "body" {
				t.Fatalf("stored %q", o.Body)
			}
		} else {
			never++
		}
	}
	if arrived == 0 || never == 0 {
		t.Fatalf("arrived %d, never %d", arrived, never)
	}
}

func TestASecondBodyPanics(t *testing.T) {
	r := newRig(1)
	r.put("k", "one")
	d := &env.DeleteObject{For: env.PurposeDeletion, Key: "k", Done: func(*env.DeleteObject) {}}
	r.objects.Delete(d)
	r.run()
	defer func() {
		if recover() == nil {
			t.Fatal("R20: a second body was taken")
		}
	}()
	r.put("k", "two")
}

func TestFaultsOfOneMachine(t *testing.T) {
	r := newRig(1)
	r.store.Of(7).Refuse = 1000
	if p := r.put("a", "one"); p.Outcome != env.OutcomeDone {
		t.Fatalf("put of machine 0: %v %v", p.Outcome, p.Err)
	}
	r.store.Of(0).Refuse = 1000
	if p := r.put("b", "two"); p.Outcome != env.OutcomeFailed {
		t.Fatalf("put of machine 0, which is cut off: %v", p.Outcome)
	}
	r.store.Heal()
	if p := r.put("b", "two"); p.Outcome != env.OutcomeDone {
		t.Fatalf("put after all faults: %v %v", p.Outcome, p.Err)
	}
}
