package quorum

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
)

var updateShipment = flag.Bool("update-shipment", false, "write the golden shipment")

func goldenShipment() (shipmentHeader, []*raftpb.Entry) {
	kind := raftpb.EntryNormal
	entry := func(term, index uint64, data string) *raftpb.Entry {
		return &raftpb.Entry{Type: &kind, Term: new(term), Index: new(index), Data: []byte(data)}
	}
	at := position{incarnation: 2, sequence: 7, nonce: 11, last: 42, ref: snapshotRef{index: 30, nonce: 13, first: 5, sum: 17}}
	h := shipmentHeader{cluster: clusterID{1, 2, 3}, node: 4, at: at, previous: 19, after: 40, lastTerm: 6, millis: 1_790_000_000_000}
	return h, []*raftpb.Entry{entry(5, 41, "one"), entry(6, 42, "two, longer")}
}

// A shipment of each released version stays readable.
func TestGoldenShipment(t *testing.T) {
	const path = "testdata/shipment.v1"
	h, entries := goldenShipment()
	body := encodeShipment(&h, entries)
	if *updateShipment {
		require.NoError(t, os.WriteFile(path, body, 0o644))
	}
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(golden, body), "%s holds other bytes than this code writes; a format that changed needs a new version", path)
	got, err := decodeShipment(golden)
	require.NoError(t, err)
	h.version = ShipmentVersion
	require.Equal(t, h, got.shipmentHeader)
	require.Len(t, got.entries, 2)
	require.Equal(t, "two, longer", string(got.entries[1].GetData()))
}

// No damage, and no cut, of a shipment is taken for a shipment, or panics.
func TestDamagedShipments(t *testing.T) {
	h, entries := goldenShipment()
	body := encodeShipment(&h, entries)
	for i := range body {
		damaged := bytes.Clone(body)
		damaged[i] ^= 1
		_, err := decodeShipment(damaged)
		require.Error(t, err, "byte %d", i)
		_, err = decodeShipment(body[:i])
		require.Error(t, err, "cut at %d", i)
	}
}

func TestShipmentNames(t *testing.T) {
	id := clusterID{9}
	key := id.shipKey(3, 0xabc)
	incarnation, sequence, ok := id.parseShipKey(key)
	require.True(t, ok)
	require.EqualValues(t, 3, incarnation)
	require.EqualValues(t, 0xabc, sequence)
	require.Less(t, id.shipKey(0, 1<<40), id.shipKey(1, 1), "a later incarnation sorts above")
	for _, other := range []string{"", key + "0", key[:len(key)-1], id.shipPrefix() + "x", id.shipKey(3, 0xABC)[:len(key)-1] + "C"} {
		_, _, ok := id.parseShipKey(other)
		require.False(t, ok, other)
	}
}

// shipped writes entries and waits until they are in the store.
func (n *node) shipped(entries ...string) (counted bool) {
	n.write(entries...)
	n.w.turn(func() { n.q.AwaitShipped(n.q.applied, func() { counted = true }) })
	n.w.settle()
	return counted
}

func shipping(o *Options) { o.Shipping = ShipWait }

// A process that stood still between its last look at the store and its next create finds its name
// free, since whoever went on has removed it again: the create succeeds and must not count.
func TestARemovedNameDoesNotCount(t *testing.T) {
	w := newWorld(t)
	n := w.start(shipping)
	require.True(t, n.shipped("a"))
	at := n.q.ship.at
	above := shipmentHeader{cluster: n.q.cluster, at: position{sequence: at.sequence + 5, nonce: 99, last: at.last + 9}, after: at.last + 9}
	w.store.objects[n.q.cluster.shipKey(0, at.sequence+5)] = encodeShipment(&above, nil)
	require.False(t, n.shipped("b"))
	require.ErrorIs(t, n.failure, ErrSuperseded)
	require.NotNil(t, w.store.objects[n.q.cluster.shipKey(0, at.sequence+1)], "the name was free")
}

// Of two copies of a disk one wins the next name; the other ends, and nothing that waited for it counts.
func TestATakenNameEndsTheLoser(t *testing.T) {
	w := newWorld(t)
	n := w.start(shipping)
	require.True(t, n.shipped("a"))
	at := n.q.ship.at
	theirs := shipmentHeader{cluster: n.q.cluster, node: 0, at: at, previous: at.nonce, after: at.last, lastTerm: 1}
	theirs.at.sequence, theirs.at.nonce, theirs.at.last = at.sequence+1, 99, at.last+1
	kind := raftpb.EntryNormal
	entry := &raftpb.Entry{Type: &kind, Term: new(uint64(7)), Index: new(at.last + 1), Data: []byte("theirs")}
	w.store.objects[n.q.cluster.shipKey(0, at.sequence+1)] = encodeShipment(&theirs, []*raftpb.Entry{entry})
	require.False(t, n.shipped("b"))
	require.ErrorIs(t, n.failure, ErrSuperseded)

	w.crash(always) // where everything waits, what was not shipped was relied on by nobody: it is dropped
	w.start(shipping).has("a", "theirs")
}

// recover-cluster ran while the broker did: the seal that ended its incarnation tells which one goes on.
func TestASealEndsTheOriginal(t *testing.T) {
	w := newWorld(t)
	n := w.start(shipping)
	require.True(t, n.shipped("a"))
	at := n.q.ship.at
	seal := shipmentHeader{cluster: n.q.cluster, kind: shipmentSeal, at: at, previous: at.nonce, after: at.last}
	seal.at.sequence, seal.at.nonce = at.sequence+1, 99
	w.store.objects[n.q.cluster.shipKey(0, at.sequence+1)] = encodeShipment(&seal, nil)
	require.False(t, n.shipped("b"))
	require.ErrorIs(t, n.failure, ErrReplaced)
	require.ErrorContains(t, n.failure, "its incarnation is 1, this disk's is 0")
}

// While the store is down so much may wait for it, and no more; once it is back, none of that waits any more.
func TestTheBacklogIsBounded(t *testing.T) {
	w := newWorld(t)
	n := w.start(func(o *Options) { shipping(o); o.BacklogEntries = 2 })
	require.True(t, n.shipped("a"))
	w.store.ill = func(env.Event) int { return refuse }
	require.False(t, n.shipped("b", "c"))
	require.False(t, n.q.Backlogged())
	n.write("d")
	require.True(t, n.q.Backlogged())
	w.store.ill = nil
	n.write("e")
	for range 20 {
		w.advance()
		w.settle()
	}
	require.Equal(t, n.q.applied, n.q.Shipped())
	require.False(t, n.q.Backlogged())
}

// After an outage many wait for one shipment. Each is told once, in order, and those behind are not moved for it.
func TestThoseWhoWaitAreNotMovedForEachThatIsTold(t *testing.T) {
	w := newWorld(t)
	n := w.start(shipping)
	require.True(t, n.shipped("a"))
	n.write("b")
	var told []int
	var places []*shipWaiter
	w.turn(func() {
		for i := range 4 {
			n.q.AwaitShipped(n.q.applied, func() {
				told = append(told, i)
				n.q.AwaitShipped(n.q.applied, func() { told = append(told, 10+i) })
				waiters := n.q.ship.waiters
				places = append(places, &waiters[len(waiters)-1])
			})
		}
		n.q.AwaitShipped(n.q.applied+1, func() { told = append(told, 99) })
	})
	w.settle()
	require.Equal(t, []int{0, 10, 1, 11, 2, 12, 3, 13}, told)
	for _, place := range places {
		require.Same(t, places[0], place, "whoever waits for more is moved")
	}
	n.write("c")
	w.turn(func() { n.q.AwaitShipped(n.q.applied, func() {}) })
	w.settle()
	require.Equal(t, 99, told[len(told)-1])
}

// A PUT whose answer was lost is settled by reading, whether it arrived or not (R20).
func TestALostShipmentIsSettled(t *testing.T) {
	for _, ill := range []int{lostBefore, lostAfter} {
		w := newWorld(t)
		n := w.start(shipping)
		require.True(t, n.shipped("a"))
		left := 1
		w.store.ill = func(op env.Event) int {
			if _, put := op.(*env.PutObject); put && left > 0 {
				left--
				return ill
			}
			return healthy
		}
		counted := n.shipped("b")
		for range 20 {
			if counted || n.q.Shipped() >= n.q.applied {
				break
			}
			w.advance()
			w.settle()
		}
		require.GreaterOrEqual(t, n.q.Shipped(), n.machine.index)
		require.NoError(t, n.failure)
		n.close()
		w.crash(never)
		w.start(shipping).has("a", "b")
	}
}

// A disk that lost its newest entries catches up, also where its next name was never taken.
func TestAnOldDiskCatchesUp(t *testing.T) {
	w := newWorld(t)
	n := w.start(shipping)
	require.True(t, n.shipped("a"))
	old := map[string]*file{}
	for name, f := range w.disk.files {
		old[name] = &file{data: bytes.Clone(f.data), durable: bytes.Clone(f.data)}
	}
	require.True(t, n.shipped("b", "c"))
	w.crash(always)
	w.disk.files = old
	n = w.start(shipping)
	n.has("a", "b", "c")
	require.True(t, n.shipped("d"))
}

// With shipping in the background, a disk with entries of its own beside what was shipped ends the
// start: somebody may have relied on them.
func TestAsyncDropsNothing(t *testing.T) {
	async := func(o *Options) { o.Shipping = ShipAsync }
	w := newWorld(t)
	n := w.start(async)
	w.turn(func() {})
	require.True(t, n.shipped("a"))
	at := n.q.ship.at
	n.write("own")
	w.crash(always)
	theirs := shipmentHeader{cluster: n.q.cluster, at: at, previous: at.nonce, after: at.last, lastTerm: 1}
	theirs.at.sequence, theirs.at.nonce = at.sequence+1, 99
	w.store.objects[n.q.cluster.shipKey(0, at.sequence+2)] = encodeShipment(&theirs, nil)
	n = w.open(async)
	w.settle()
	require.ErrorIs(t, n.err, ErrOldDisk)
}
