package durability

import (
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// world is a partition's log and the ledger that agrees with it.
type world struct {
	ledger *ledger
	log    []stored
	seen   []identity
}

func drawWorld(t *rapid.T) *world {
	w := &world{ledger: newLedger()}
	for range rapid.IntRange(10, 60).Draw(t, "records") {
		id := w.ledger.sends(account{producer: rapid.Int32Range(0, 2).Draw(t, "producer")})
		switch rapid.IntRange(0, 5).Draw(t, "fate") {
		case 0: // never answered, not stored
		case 1: // never answered, stored
			w.store(id)
		default:
			w.ledger.answered(id, w.store(id), nil)
		}
	}
	for _, r := range w.log[:len(w.log)/2] {
		id, _ := readPayload(r.value)
		w.seen = append(w.seen, id)
	}
	return w
}

func (w *world) store(id identity) int64 {
	offset := int64(len(w.log))
	w.log = append(w.log, stored{offset, id.appendPayload(nil)})
	return offset
}

func (w *world) judge() error {
	a := newAudit(w.ledger, 0, w.seen)
	for i, r := range w.log {
		a.record(stored{int64(i), r.value})
	}
	return a.end()
}

func (w *world) anyAcked(t *rapid.T) int {
	var all []int
	for i, r := range w.log {
		id, _ := readPayload(r.value)
		if w.ledger.offsets[account{producer: id.producer}][id.sequence] >= 0 {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		t.Skip("nothing acknowledged was drawn")
	}
	return rapid.SampledFrom(all).Draw(t, "victim")
}

func TestAGoodLogPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		if err := w.judge(); err != nil {
			t.Fatal(err)
		}
	})
}

// Each kind of loss is found, wherever it strikes.
func TestEveryDefectIsFound(t *testing.T) {
	defects := map[string]func(*rapid.T, *world, int){
		"lost":       func(_ *rapid.T, w *world, i int) { w.log = append(w.log[:i:i], w.log[i+1:]...) },
		"twice":      func(_ *rapid.T, w *world, i int) { w.log = append(w.log, w.log[i]) },
		"truncated":  func(_ *rapid.T, w *world, i int) { w.log = w.log[:i] },
		"rotten":     func(t *rapid.T, w *world, i int) { w.rot(t, i) },
		"moved":      func(_ *rapid.T, w *world, i int) { w.log = append([]stored{w.log[i]}, w.log...) },
		"misplaced":  func(_ *rapid.T, w *world, i int) { w.log[i].value = identity{partition: 7}.appendPayload(nil) },
		"never sent": func(_ *rapid.T, w *world, _ int) { w.store(identity{producer: 1, sequence: 1 << 20}) },
	}
	for name, plant := range defects {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := drawWorld(t)
				plant(t, w, w.anyAcked(t))
				if w.judge() == nil {
					t.Fatal("not found")
				}
			})
		})
	}
}

func (w *world) rot(t *rapid.T, i int) {
	value := append([]byte(nil), w.log[i].value...)
	value[rapid.IntRange(0, len(value)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	w.log[i].value = value
}

// A record that a reader saw and nobody acknowledged may not change either.
func TestWhatAReaderSawStays(t *testing.T) {
	w := &world{ledger: newLedger()}
	a, b := w.ledger.sends(account{}), w.ledger.sends(account{producer: 1})
	w.store(a)
	w.seen = []identity{b}
	if w.judge() == nil {
		t.Fatal("not found")
	}
	w.log, w.seen = nil, []identity{a}
	if w.judge() == nil {
		t.Fatal("not found when the log is shorter")
	}
}

func FuzzReadPayload(f *testing.F) {
	f.Add(identity{producer: 1, partition: 2, sequence: 3}.appendPayload(nil))
	f.Add([]byte("WD"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := readPayload(b)
		if err == nil && string(id.appendPayload(nil)) != string(b) {
			t.Fatalf("%v from %x", id, b)
		}
	})
}

var update = flag.Bool("update", false, "write the golden file")

// Data that an older version of this test wrote stay readable.
func TestPayloadIsAsEver(t *testing.T) {
	const file = "testdata/payload.v1"
	id := identity{producer: 3, partition: 5, sequence: 1 << 33}
	if *update {
		if err := os.WriteFile(file, id.appendPayload(nil), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readPayload(golden); err != nil || got != id {
		t.Fatalf("%+v, error %v", got, err)
	}
}
