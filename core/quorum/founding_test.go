package quorum

import (
	"errors"
	"strings"
	"testing"

	"weir/core/env"
)

// patient opens a node and lets time pass until Open answers.
func (w *world) patient(change func(*Options)) *node {
	n := w.open(change)
	for range 1000 {
		w.settle()
		if n.done {
			return n
		}
		w.advance()
	}
	w.t.Fatal("Open never answers")
	return nil
}

func TestFoundingWaitsForTheStore(t *testing.T) {
	w := newWorld(t)
	tries := 0
	w.store.ill = func(env.Event) int {
		if tries++; tries < 40 {
			return refuse
		}
		return healthy
	}
	n := w.open(nil)
	w.settle()
	if n.done || len(w.logged) != 1 {
		t.Fatalf("answered %v (%v), log %q", n.done, n.err, w.logged)
	}
	for !n.done {
		w.advance()
		w.settle()
	}
	if n.err != nil || tries < 40 {
		t.Fatalf("after %d tries: %v", tries, n.err)
	}
}

func TestALostAnswerIsSettledByReading(t *testing.T) {
	for name, ills := range map[string][]int{
		"it happened":            {lostAfter},
		"it did not":             {lostBefore},
		"twice unknown":          {lostBefore, healthy, lostAfter},
		"the reading fails":      {lostAfter, refuse, refuse},
		"the reading is spoiled": {lostAfter, corrupt, corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.store.ill = func(env.Event) int {
				if len(ills) == 0 {
					return healthy
				}
				ill := ills[0]
				ills = ills[1:]
				return ill
			}
			n := w.patient(nil)
			m, ok := decodeMarker(w.store.objects[markerKey])
			if n.err != nil || !ok || m.cluster.String() != n.q.ClusterID() {
				t.Fatalf("%v; marker %v of %s", n.err, ok, m.cluster)
			}
			n.write("a")
			n.close()
		})
	}
}

// A crash at each step of a founding is one that the next start recognises as its own.
func TestACrashDuringFoundingIsRecognised(t *testing.T) {
	for _, keep := range []func() bool{always, never} {
		for steps := 0; ; steps++ {
			w := newWorld(t)
			n := w.open(nil)
			for range steps {
				if len(w.pending) > 0 {
					w.complete(0)
				}
			}
			finished := n.done
			w.crash(keep)
			w.draws++ // another incarnation draws other nonces
			n = w.patient(nil)
			if n.err != nil {
				t.Fatalf("a crash after step %d: %v", steps, n.err)
			}
			m, _ := decodeMarker(w.store.objects[markerKey])
			if m.cluster.String() != n.q.ClusterID() {
				t.Fatalf("a crash after step %d: the marker names %s, the log %s", steps, m.cluster, n.q.ClusterID())
			}
			n.write("a")
			n.has("a")
			n.close()
			if finished {
				break
			}
		}
	}
}

func TestAnEmptyDiskBesideACluster(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	id := n.q.ClusterID()
	n.write("a")
	n.close()
	w.crash(always)
	w.disk.files = map[string]*file{}
	w.draws++
	n = w.patient(nil)
	if n.err == nil || !strings.Contains(n.err.Error(), id) || !strings.Contains(n.err.Error(), "empty") {
		t.Fatalf("got %v", n.err)
	}
	if w.memory.live != 0 || w.disk.opens() != 0 {
		t.Fatalf("%d slabs left, %d files open", w.memory.live, w.disk.opens())
	}
	n = w.patient(nil) // and again, with the founding's file on the disk
	if n.err == nil || !strings.Contains(n.err.Error(), id) {
		t.Fatalf("got %v", n.err)
	}
}

func TestTwoNodesFoundOneCluster(t *testing.T) {
	w := newWorld(t)
	first, second := w.disk, &disk{w: w, files: map[string]*file{}, block: 512}
	a := w.open(func(o *Options) { o.Node = 1 })
	for w.store.puts == 0 {
		w.complete(0)
	}
	w.draws, w.disk = 99, second
	b := w.open(func(o *Options) { o.Node = 2 })
	for range 1000 {
		w.settle()
		if a.done && b.done {
			break
		}
		w.advance()
	}
	w.disk = first
	if !a.done || !b.done || (a.err == nil) == (b.err == nil) {
		t.Fatalf("first: %v %v, second: %v %v", a.done, a.err, b.done, b.err)
	}
}

func TestARestartDoesNotNeedTheStore(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	n.write("a")
	n.close()
	w.crash(never)
	down := true
	w.store.ill = func(env.Event) int {
		if down {
			return refuse
		}
		return healthy
	}
	n = w.start(nil)
	n.has("a")
	n.write("b")
	down = false
	before := w.store.gets
	for w.store.gets == before {
		w.advance()
		w.settle()
	}
	if n.failure != nil {
		t.Fatal(n.failure)
	}
	n.close()
}

func TestAnotherClustersBucketIsFoundOut(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"another cluster": func(w *world) {
			w.store.objects[markerKey] = (&marker{cluster: clusterID{1, 2, 3}, nonce: 9}).encode()
		},
		"no cluster": func(w *world) { delete(w.store.objects, markerKey) },
		"another version": func(w *world) {
			b := w.store.objects[markerKey]
			order.PutUint32(b[8:], 2)
			order.PutUint32(b[12:], sumWithout(b, 12))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.start(nil)
			id := n.q.ClusterID()
			n.close()
			w.crash(never)
			spoil(w)
			n = w.start(nil)
			var version *VersionError
			if n.failure == nil || !errors.As(n.failure, &version) && !strings.Contains(n.failure.Error(), id) {
				t.Fatalf("failure %v", n.failure)
			}
			n.close()
		})
	}
}

func TestTheDiskBelongsToItsNode(t *testing.T) {
	w := newWorld(t)
	w.start(func(o *Options) { o.Node = 3 }).close()
	w.crash(never)
	n := w.patient(func(o *Options) { o.Node = 4 })
	if n.err == nil || !strings.Contains(n.err.Error(), "node 3") {
		t.Fatalf("got %v", n.err)
	}
}

func TestANodeThatMayOnlyJoinWaitsForACluster(t *testing.T) {
	w := newWorld(t)
	first, second := w.disk, &disk{w: w, files: map[string]*file{}, block: 512}
	joins := func(o *Options) { o.Node, o.Joins, o.Peers = 2, true, silence{} }
	w.disk = second
	b := w.open(joins)
	for range 20 {
		w.settle()
		w.advance()
	}
	if b.done || w.store.puts > 0 {
		t.Fatalf("done: %v, with %d PUTs, while there is no cluster", b.done, w.store.puts)
	}
	w.draws, w.disk = 99, first
	a := w.open(func(o *Options) { o.Node = 1 })
	for range 1000 {
		w.settle()
		if a.done && b.replica != nil && b.replica.AwaitsAdmission() {
			return
		}
		w.advance()
	}
	t.Fatalf("the first is open: %v; the other waits to be let in: %v", a.done, b.replica != nil && b.replica.AwaitsAdmission())
}

// silence is peers that nobody hears.
type silence struct{}

func (silence) Send(*Message) {}
