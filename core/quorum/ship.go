package quorum

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
	"weir/core/task"
)

// Shipping says whether committed entries go to the object store, and whether a start waits for that
// (R19).
type Shipping uint8

const (
	// ShipNever keeps the log on the disk only: AwaitShipped does not wait. It is for tests.
	ShipNever Shipping = iota
	// ShipAsync ships in the background. A start compares the disk with the store if the store answers
	// at once, and else later, while the node runs already.
	ShipAsync
	// ShipWait ships in the background too, but a start waits until the store has shown that the disk is
	// not old.
	ShipWait
)

// Errors of a disk that is not the newest copy of its cluster's log.
var (
	// ErrSuperseded: somebody else shipped the next entries.
	ErrSuperseded = errors.New("another process goes on with a copy of this metadata disk")
	// ErrReplaced: the cluster was rebuilt from the store meanwhile.
	ErrReplaced = errors.New("the cluster was rebuilt by recover-cluster, and goes on with another metadata disk")
	// ErrOldDisk: the disk lacks what was shipped, and cannot catch up.
	ErrOldDisk = errors.New("the metadata disk is older than what the object store has seen")
)

// shipmentBytes is about how much one shipment holds: an entry more at most.
const shipmentBytes = 8 << 20

// shipper sends committed entries to the object store, one PUT at a time.
type shipper struct {
	synced  bool     // the store holds nothing beyond at
	at      position // the newest shipment that counts
	marked  uint64   // sequence of the newest position that is durable on the disk, or being written
	durable uint64   // sequence of the newest position that is durable on the disk
	genesis *shippable
	active  bool // a proc ships
	elapsed bool // the interval since an entry was applied is over
	timer   task.Timer
	waiters []shipWaiter // ascending by index

	upload    *shippable  // a snapshot that waits to be put into the store
	uploading bool        // a proc does
	next      snapshotRef // is in the store, and no shipment names it yet
	nextHead  snapshotHead
	removing  bool // a proc removes what the newest snapshot replaced

	head   snapshotHead // of the newest snapshot, if it is known
	wanted bool         // a member needs the newest snapshot, and its head is not known, or it is too old
}

// snapshotHead is what the log's members must know of a shipped snapshot.
type snapshotHead struct {
	ref     snapshotRef
	term    uint64
	members members
}

// shippable is a snapshot for the store.
type shippable struct {
	index, term uint64
	members     members
	data        []byte
	sum         uint32 // of data
	first       uint64
}

type shipWaiter struct {
	index uint64
	done  func()
}

// Shipped is the index up to which the log is in the object store; with ShipNever, up to which it is
// applied.
func (q *Quorum) Shipped() uint64 {
	if q.o.Shipping == ShipNever {
		return q.applied
	}
	if !q.ship.synced && q.alone() {
		return 0
	}
	return q.ship.at.last
}

// AwaitShipped calls done once every entry up to index is in the object store: at once, or in a
// later step. It makes the next shipment leave as soon as the one in flight is done. If the node
// fails or closes first, done never runs. Calls are made with indexes that have been applied.
func (q *Quorum) AwaitShipped(index uint64, done func()) {
	if index <= q.Shipped() {
		done()
		return
	}
	s := &q.ship
	i := len(s.waiters)
	for i > 0 && s.waiters[i-1].index > index {
		i--
	}
	s.waiters = append(s.waiters, shipWaiter{})
	copy(s.waiters[i+1:], s.waiters[i:])
	s.waiters[i] = shipWaiter{index, done}
	q.wake()
}

// ships reports whether this member ships the log. What is applied is committed, so that a new leader need not wait for a
// majority: that may need the snapshot which a member is to fetch.
func (q *Quorum) ships() bool { return q.leading || q.leads && !q.alone() }

func (q *Quorum) live() bool { return q.err == nil && q.closing == nil }

// stepShip runs with every turn: it starts a proc for whatever is due.
func (q *Quorum) stepShip() {
	s := &q.ship
	if q.o.Shipping == ShipNever || !q.live() || !q.ships() {
		return
	}
	if q.shipDue() && !s.active {
		s.active = true
		q.o.Loop.Go("ship quorum log", q.shipAll)
	}
	if s.upload != nil && !s.uploading && q.Shipped() >= s.upload.index {
		s.uploading = true
		q.o.Loop.Go("ship quorum snapshot", q.shipSnapshot)
	}
	if s.at.last < q.applied && !s.active && !s.timer.Pending() {
		q.o.Loop.Reset(&s.timer, q.o.ShipInterval, func() { s.elapsed = true })
	}
}

func (q *Quorum) shipDue() bool {
	s := &q.ship
	return q.ships() && (!s.synced || s.wanted || s.at.last < q.applied && (s.elapsed || len(s.waiters) > 0))
}

func (q *Quorum) shipAll(p *task.Proc) {
	r := q.shipping(p, env.PurposeShipment)
	for q.live() && q.shipDue() {
		err := q.shipNext(r)
		if err != nil {
			q.shipFailed(err)
			break
		}
	}
	q.ship.active = false
}

// shipFailed ends the replica: this disk is not, or no longer, the newest.
func (q *Quorum) shipFailed(err error) {
	if errors.Is(err, errEnded) || q.err != nil {
		return
	}
	if errors.Is(err, errOutdated) {
		q.o.Telemetry.Hit("quorum: a later leader shipped")
		q.ship.synced = false
		q.o.Loop.Reset(&q.ship.timer, q.o.ShipInterval, q.wake)
		return
	}
	q.metrics.superseded.Add(1)
	q.o.Telemetry.Hit("quorum: superseded")
	q.fail(err)
}

// shipNext ships what was applied since the last shipment, as one object.
func (q *Quorum) shipNext(r *remote) error {
	s := &q.ship
	s.elapsed = false
	q.o.Loop.Stop(&s.timer)
	if !s.synced {
		if err := q.syncLate(r); err != nil || s.at.last >= q.applied {
			return err
		}
	}
	if s.next.index <= s.at.ref.index {
		s.next = snapshotRef{} // another leader has shipped one as new meanwhile; this one is removed with those before it
	}
	if s.wanted {
		if err := q.prepareOffer(r); err != nil || s.at.last >= q.applied && s.next.nonce == 0 {
			return err
		}
	}
	if s.at.ref.nonce == 0 {
		if err := q.shipGenesis(r); err != nil {
			return err
		}
	}
	began := q.o.Loop.Now()
	h, entries := q.nextShipment()
	body := encodeShipment(&h, entries)
	at, err := q.win(r, h, body)
	if err != nil {
		return err
	}
	q.metrics.shipments.Add(1)
	q.metrics.shipLatency.Observe(int64(q.o.Loop.Now().Sub(began)))
	q.shippedTo(at)
	return nil
}

// nextShipment gathers the entries after the last shipment.
func (q *Quorum) nextShipment() (shipmentHeader, []*raftpb.Entry) {
	s := &q.ship
	from := int(s.at.last - q.store.index)
	upTo, bytes := from, 0
	for upTo < int(q.applied-q.store.index) && (upTo == from || bytes < shipmentBytes) {
		bytes += recordBytes(q.store.entries[upTo])
		upTo++
	}
	at := position{
		incarnation: s.at.incarnation, sequence: s.at.sequence + 1, last: s.at.last + uint64(upTo-from), ref: s.at.ref,
		nonce: q.nonce("shipment nonce", s.at.sequence+1),
	}
	if s.next.index > s.at.ref.index {
		at.ref = s.next
	}
	term, err := q.store.Term(at.last)
	if err != nil {
		panic(fmt.Sprintf("quorum: the term of applied entry %d is unknown: %v", at.last, err))
	}
	return shipmentHeader{
		cluster: q.cluster, node: q.o.Node, at: at, previous: s.at.nonce, after: s.at.last, lastTerm: term, millis: q.o.Env.Clock.WallMillis(),
	}, q.store.entries[from:upTo]
}

// nonce draws a number that no other incarnation of this disk, or of a copy of it, draws.
func (q *Quorum) nonce(purpose string, entity uint64) uint64 {
	return q.o.Env.Rand.Uint64(purpose, entity, uint64(q.o.Env.Clock.WallMillis())) | 1
}

// win creates the shipment under its name and returns the position that is reached then: it counts
// only if nothing lies above it (see doc.go, "Names that were removed").
func (q *Quorum) win(r *remote, h shipmentHeader, body []byte) (position, error) {
	key := q.cluster.shipKey(h.at.incarnation, h.at.sequence)
	at, err := q.create(r, key, h, body)
	if err != nil {
		return at, err
	}
	above, found, err := r.higher(key)
	if err != nil {
		return at, err
	}
	if found {
		q.o.Telemetry.Hit("quorum: a shipment lay above a name that was free")
		if q.alone() {
			return at, q.supersededBy(above)
		}
		if got, found, err := r.shipment(above.key); err != nil || !found || errors.Is(q.superseded(&got), errOutdated) {
			return at, cmp.Or(err, errOutdated)
		}
		return at, q.supersededBy(above)
	}
	return at, nil
}

// create creates the object, and settles an outcome that does not say whose it is (R20).
func (q *Quorum) create(r *remote, key string, h shipmentHeader, body []byte) (position, error) {
	for {
		outcome, err := r.create(key, body)
		if err != nil {
			return position{}, err
		}
		if outcome == env.OutcomeDone {
			return h.at, nil
		}
		found, got, err := false, shipment{}, error(nil)
		if got, found, err = r.shipment(key); err != nil {
			return position{}, err
		}
		switch {
		case !found:
			q.o.Telemetry.Hit("quorum: a lost shipment was absent")
		case got.at.nonce == h.at.nonce:
			q.o.Telemetry.Hit("quorum: a lost shipment was there")
			return h.at, nil
		case h.kind == shipmentEntries && q.continues(&got, h.at.incarnation):
			// An earlier incarnation of this disk sent it, and it arrived late; or a copy of the disk
			// did, from what both have.
			q.o.Telemetry.Hit("quorum: a shipment of an earlier incarnation was there")
			return got.at, nil
		default:
			return position{}, q.superseded(&got)
		}
	}
}

// continues reports whether a shipment continues what this log has shipped, with entries that this
// log has.
func (q *Quorum) continues(s *shipment, incarnation uint32) bool {
	at := &q.ship.at
	if s.kind != shipmentEntries || s.at.incarnation != incarnation || s.previous != at.nonce || s.after != at.last {
		return false
	}
	for _, e := range s.entries {
		if !q.store.holds(e) {
			return false
		}
	}
	return true
}

// holds reports whether the log, after its snapshot, has exactly that entry.
func (s *storage) holds(e *raftpb.Entry) bool {
	i := e.GetIndex()
	if i <= s.index || i > s.last() {
		return false
	}
	own := s.entries[i-s.index-1]
	return own.GetTerm() == e.GetTerm() && own.GetType() == e.GetType() && bytes.Equal(own.GetData(), e.GetData())
}

// errOutdated: a leader that was elected after this one ships already.
var errOutdated = errors.New("quorum: a later leader ships the log")

// superseded is the error of a disk whose next name is taken.
func (q *Quorum) superseded(by *shipment) error {
	switch {
	case by.kind == shipmentEntries && by.at.incarnation == q.ship.at.incarnation && by.lastTerm > q.term && !q.alone():
		return errOutdated
	case by.kind == shipmentSeal:
		return q.replaced(by.at.incarnation + 1)
	case by.at.incarnation != q.ship.at.incarnation:
		return q.replaced(by.at.incarnation)
	}
	return fmt.Errorf("%w: shipment %d of the metadata's log was written by node %d at %s, and not by this process; run only one copy: "+
		"stop the other, then start the one whose log disk (weir.wal.path) is the newest, and it catches up from the object store",
		ErrSuperseded, by.at.sequence, by.node, time.UnixMilli(by.millis).UTC().Format(time.RFC3339))
}

func (q *Quorum) supersededBy(n shipName) error {
	if n.incarnation != q.ship.at.incarnation {
		return q.replaced(n.incarnation)
	}
	return fmt.Errorf("%w: shipment %d of the metadata's log is in the object store, and this process is only at %d; run only one copy: "+
		"stop the other, then start the one whose log disk (weir.wal.path) is the newest, and it catches up from the object store",
		ErrSuperseded, n.sequence, q.ship.at.sequence)
}

func (q *Quorum) replaced(incarnation uint32) error {
	return fmt.Errorf("%w: its incarnation is %d, this disk's is %d; use the disk that recover-cluster wrote and put this one away",
		ErrReplaced, incarnation, q.ship.at.incarnation)
}

// shippedTo takes a shipment that counts.
func (q *Quorum) shippedTo(at position) {
	s := &q.ship
	before := s.at.ref
	s.at = at
	if at.ref == s.next {
		s.next, s.head = snapshotRef{}, s.nextHead
	}
	q.tellPosition()
	q.metrics.shipped.Set(int64(at.last))
	q.metrics.shippedAt.Set(q.o.Env.Clock.WallMillis())
	q.tellShipped()
	if at.ref != before && before.nonce != 0 && !s.removing && q.live() {
		s.removing = true
		q.o.Loop.Go("remove old shipments", q.removeShipped)
	}
}

// tellShipped tells the node first, then those who wait.
func (q *Quorum) tellShipped() {
	s := &q.ship
	if q.o.Shipped != nil {
		q.o.Shipped(s.at.last)
	}
	n := 0
	for n < len(s.waiters) && s.waiters[n].index <= s.at.last {
		n++
	}
	told := s.waiters[:n]
	s.waiters = s.waiters[n:] // once for all: after an outage of the store they are many
	for i := range told {
		if !q.live() {
			return
		}
		done := told[i].done
		told[i].done = nil
		done()
	}
}

// removeShipped removes the shipments and snapshots that the newest snapshot replaced.
func (q *Quorum) removeShipped(p *task.Proc) {
	s := &q.ship
	r := q.shipping(p, env.PurposeDeletion)
	ref := s.at.ref
	// The name that the disk knows must stay: a start compares from there on.
	err := r.removeBelow(q.cluster.shipPrefix(), q.cluster.shipKey(s.at.incarnation, min(ref.first, s.durable)))
	if err == nil {
		err = r.removeBelow(q.cluster.snapshotPrefix(), q.cluster.snapshotKey(snapshotRef{index: ref.index}))
	}
	s.removing = false
	if err == nil {
		q.o.Telemetry.Hit("quorum: old shipments removed")
	}
}

// shipSnapshot puts a snapshot into the store; the next shipment names it.
func (q *Quorum) shipSnapshot(p *task.Proc) {
	s := &q.ship
	upload := s.upload
	ref, err := q.putSnapshot(q.shipping(p, env.PurposeSnapshot), upload)
	s.uploading = false
	if err != nil {
		return // the quorum ended, or others ship
	}
	s.next = ref
	s.nextHead = snapshotHead{ref, upload.term, upload.members}
	if s.upload == upload {
		s.upload = nil
	}
	q.metrics.shippedSnapshots.Add(1)
	q.o.Telemetry.Hit("quorum: snapshot shipped")
}

func (q *Quorum) putSnapshot(r *remote, s *shippable) (snapshotRef, error) {
	h := snapshotHeader{
		cluster: q.cluster, node: q.o.Node, member: q.id, index: s.index, term: s.term, members: s.members,
		bytes: uint64(len(s.data)), sum: s.sum,
	}
	first := max(s.first, q.ship.at.ref.first) // those before are removed
	ref := snapshotRef{index: s.index, first: first, sum: h.sum, nonce: q.nonce("snapshot nonce", s.index)}
	head := make([]byte, blockBytes)
	h.encode(head)
	for {
		outcome, err := r.create(q.cluster.snapshotKey(ref), head, s.data)
		if err != nil {
			return ref, err
		}
		if outcome != env.OutcomeUnknown { // refused: the name has the nonce in it, so the object is this one
			return ref, nil
		}
	}
}

// shipGenesis puts the snapshot into the store that the first shipment of all continues.
func (q *Quorum) shipGenesis(r *remote) error {
	s := &q.ship
	ref, err := q.putSnapshot(r, s.genesis)
	if err != nil {
		return err
	}
	s.at.ref, s.at.last, s.head, s.genesis = ref, ref.index, snapshotHead{ref, s.genesis.term, s.genesis.members}, nil
	q.o.Telemetry.Info("the metadata's log is shipped to the object store from now on", slog.String("cluster", q.cluster.String()))
	return nil
}
