package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
)

// verdict is what the comparison of a disk with the store came to.
type verdict uint8

const (
	current verdict = iota // everything that was shipped is in this log
	behind                 // the store has more, or other entries
)

// prepareShipping readies the shipper from what was recovered, before any entry is applied.
func (q *Quorum) prepareShipping(at position, term uint64) {
	s := &q.ship
	s.at, s.marked, s.durable = at, at.sequence, at.sequence
	if q.o.Shipping != ShipNever && at.sequence == 0 {
		s.at.last = q.store.index
		data := q.o.Machine.AppendSnapshot(nil)
		s.genesis = &shippable{index: q.store.index, term: term, members: q.store.members, data: data, sum: checksum(data), first: 1}
	}
}

// compare brings the shipper's position to the newest shipment, as long as what was shipped is in
// this log.
func (q *Quorum) compare(r *remote) (verdict, error) {
	s := &q.ship
	after := ""
	if s.at.sequence > 0 {
		after = q.cluster.shipKey(s.at.incarnation, s.at.sequence-1)
	}
	names, err := r.names(after)
	if err != nil {
		return behind, err
	}
	if s.at.sequence > 0 {
		switch {
		case len(names) == 0:
			return behind, fmt.Errorf("shipment %d of the metadata's log, which this disk made, is gone from the object store: "+
				"it is the wrong bucket (or prefix), or it was emptied or rolled back", s.at.sequence)
		case names[0].sequence != s.at.sequence || names[0].incarnation != s.at.incarnation:
			return behind, q.otherIncarnation(names[len(names)-1])
		}
		names = names[1:]
	}
	for _, n := range names {
		if err := q.otherIncarnation(n); err != nil {
			return behind, err
		}
		if n.sequence != s.at.sequence+1 {
			return behind, nil
		}
		got, found, err := r.shipment(n.key)
		if err != nil || !found {
			return behind, err
		}
		if got.kind == shipmentSeal {
			return behind, q.replaced(got.at.incarnation + 1)
		}
		if !q.continues(&got, s.at.incarnation) || s.genesis != nil && got.at.ref.sum != checksum(s.genesis.data) {
			return behind, nil
		}
		s.at, s.genesis = got.at, nil
	}
	s.synced = true
	return current, nil
}

// otherIncarnation refuses names of a cluster's later incarnation.
func (q *Quorum) otherIncarnation(n shipName) error {
	if n.incarnation > q.ship.at.incarnation {
		return q.replaced(n.incarnation)
	}
	return nil
}

// syncWithStore compares the disk with the store before the node starts. It reports whether the disk
// was brought up to date, and must be read again.
func (q *Quorum) syncWithStore(f files) (again bool, err error) {
	if q.o.Shipping == ShipNever {
		return false, nil
	}
	r := q.remote(f.proc, env.PurposeRecovery)
	if q.o.Shipping == ShipAsync {
		r.triesMax = 1
	}
	v, err := q.compare(r)
	if errors.Is(err, errSilent) {
		q.o.Telemetry.Warn("the object store does not answer; whether this metadata disk is the newest is found out later",
			slog.String("error", err.Error()))
		return false, nil
	}
	if err != nil || v == current {
		return false, err
	}
	r.triesMax = 0
	if err := q.mayCatchUp(); err != nil {
		return false, err
	}
	return true, q.catchUp(f, r)
}

// unshipped counts the entries after the newest shipment that hold anything.
func (q *Quorum) unshipped() (n int) {
	for i := max(q.ship.at.last, q.store.index); i < q.store.last(); i++ {
		if len(q.store.entries[i-q.store.index].GetData()) > 0 {
			n++
		}
	}
	return n
}

// mayCatchUp refuses to drop entries that somebody may have relied on. Where everything waits until
// it is shipped, nobody has: what is not in the store was neither acknowledged nor used (R19).
func (q *Quorum) mayCatchUp() error {
	own := q.unshipped()
	if q.o.Shipping == ShipWait || own == 0 {
		return nil
	}
	return fmt.Errorf("%w: the store has gone on after entry %d, and this disk has %d other entries after it; start with the newer metadata "+
		"disk, or put this one away and start with an empty one and `weir recover-cluster`", ErrOldDisk, q.ship.at.last, own)
}

// syncLate compares the disk with the store while the node runs.
func (q *Quorum) syncLate(r *remote) error {
	if !q.alone() {
		return q.adoptShipped(r)
	}
	v, err := q.compare(r)
	if err == nil && v == behind {
		err = fmt.Errorf("%w: start again while the store answers, and the disk catches up", ErrOldDisk)
	}
	if err == nil {
		q.tellShipped()
	}
	return err
}

// adoptShipped brings the shipper of a new leader to the newest shipment. Several members ship what is committed, so that
// this log has all of it; only a foreign one would say otherwise.
func (q *Quorum) adoptShipped(r *remote) error {
	s := &q.ship
	names, err := r.names("")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if s.at.sequence > 0 {
			return q.shippedIsGone()
		}
		s.synced = true
		return nil
	}
	got, found, err := r.shipment(names[len(names)-1].key)
	switch {
	case err != nil:
		return err
	case !found:
		return nil // again, from a new listing
	case got.kind == shipmentSeal:
		return q.replaced(got.at.incarnation + 1)
	case got.at.incarnation > s.at.incarnation && s.at.sequence > 0:
		return q.replaced(got.at.incarnation)
	case got.at.sequence < s.at.sequence:
		return q.shippedIsGone()
	case !q.store.agrees(got.entries):
		return q.superseded(&got)
	}
	s.at, s.synced, s.genesis = got.at, true, nil
	q.o.Telemetry.Hit("quorum: a new leader ships on")
	q.tellShipped()
	q.tellPosition()
	return nil
}

func (q *Quorum) shippedIsGone() error {
	return fmt.Errorf("shipment %d of the metadata's log, which this cluster made, is gone from the object store: "+
		"it is the wrong bucket (or prefix), or it was emptied or rolled back", q.ship.at.sequence)
}

// agrees reports whether the log has all of the entries that its snapshot does not hold.
func (s *storage) agrees(entries []*raftpb.Entry) bool {
	for _, e := range entries {
		if e.GetIndex() > s.index && !s.holds(e) {
			return false
		}
	}
	return true
}

// prepareOffer learns what must be said of the newest shipped snapshot to a member that is to fetch it; or has a newer one
// shipped, if this log has no longer what follows it.
func (q *Quorum) prepareOffer(r *remote) error {
	s := &q.ship
	s.wanted = false
	if s.at.ref.nonce == 0 || s.upload != nil || s.next.nonce != 0 { // a newer one is named soon: by an empty shipment, if need be
		return nil
	}
	if s.at.ref.index < q.store.index {
		upload := q.capture(r.proc)
		if q.err == nil {
			s.upload = &upload
			q.AwaitShipped(upload.index, func() {})
		}
		return nil
	}
	if s.head.ref == s.at.ref {
		return nil
	}
	h, _, found, err := r.snapshot(s.at.ref)
	if err == nil && found {
		s.head = snapshotHead{s.at.ref, h.term, h.members}
	}
	return err
}

// catchUp replaces the log on the disk by what was shipped. The file "restoring" is durable while that
// lasts, so that a crash in between begins it anew.
func (q *Quorum) catchUp(f files, r *remote) error {
	q.o.Telemetry.Warn("this metadata disk is older than what the object store has seen; it catches up from there",
		slog.Uint64("shipment", q.ship.at.sequence), slog.Uint64("entry", q.store.last()), slog.Int("dropped", q.unshipped()))
	q.o.Telemetry.Hit("quorum: an old disk caught up")
	plan := restoring{cluster: q.cluster, node: q.o.Node, incarnation: q.ship.at.incarnation, term: q.store.hard.term}
	if err := f.publish(restoringName, plan.encode, nil); err != nil {
		return err
	}
	return q.restoreShipped(f, r, plan)
}

// resumeRestoring goes on with a restoring that a crash interrupted.
func (q *Quorum) resumeRestoring(f files) error {
	plan, err := q.readRestoring(f)
	if err != nil {
		return err
	}
	q.cluster = plan.cluster
	return q.restoreShipped(f, q.remote(f.proc, env.PurposeRecovery), plan)
}

func (q *Quorum) readRestoring(f files) (plan restoring, err error) {
	file, size, err := f.open(restoringName, false)
	if err != nil {
		return plan, err
	}
	defer f.env.Meta.Close(file)
	slab, data, err := f.readAll(file, restoringName, min(size, blockBytes))
	if err != nil {
		return plan, err
	}
	defer slab.Release()
	ok := len(data) == blockBytes
	if ok {
		plan, ok = decodeRestoring(data)
	}
	switch {
	case !ok:
		return plan, &CorruptError{File: restoringName, Reason: "it fails its checksum"}
	case plan.version != FormatVersion:
		return plan, &VersionError{File: restoringName, Version: plan.version}
	case plan.node != q.o.Node:
		return plan, otherNode(restoringName, plan.node, q.o.Node)
	}
	return plan, nil
}

func (q *Quorum) restoreShipped(f files, r *remote, plan restoring) error {
	c, err := q.readChain(r)
	if err != nil {
		return err
	}
	if c.head.at.incarnation != plan.incarnation || c.head.kind == shipmentSeal {
		q.ship.at.incarnation = plan.incarnation
		return q.replaced(c.incarnation())
	}
	if c.head.node != q.o.Node {
		return otherNode(q.cluster.shipKey(c.head.at.incarnation, c.head.at.sequence), c.head.node, q.o.Node)
	}
	if !c.single(q.id) {
		return fmt.Errorf("%w: the cluster's metadata have other members by now; put this disk away and start with an empty one, which joins them anew", ErrOldDisk)
	}
	if err := c.load(q.o.Machine); err != nil {
		return err
	}
	if err := q.wipe(f); err != nil {
		return err
	}
	if err := q.writeLog(f, c.head.at, max(plan.term, c.head.lastTerm), c.head.lastTerm); err != nil {
		return err
	}
	return f.remove(restoringName)
}

// wipe removes every snapshot and segment.
func (q *Quorum) wipe(f files) error {
	list, err := f.list()
	if err != nil {
		return err
	}
	inv := takeInventory(list)
	names := inv.temps
	if inv.founding {
		names = append(names, foundingName)
	}
	for _, index := range inv.snapshots {
		names = append(names, snapshotName(index))
	}
	for _, ordinal := range inv.segments {
		names = append(names, segmentName(ordinal))
	}
	for _, name := range names {
		if err := f.remove(name); err != nil {
			return err
		}
	}
	return nil
}

// writeLog begins a log anew, with the machine's state as of the position's last entry.
func (q *Quorum) writeLog(f files, at position, hardTerm, term uint64) error {
	segment := segmentHeader{
		cluster: q.cluster, node: q.o.Node, nonce: q.nonce("quorum segment nonce", 0),
		last: at.last, hard: hardState{term: hardTerm, commit: at.last},
	}
	if err := f.publish(segmentName(0), segment.encode, nil); err != nil {
		return err
	}
	snapshot := snapshotHeader{
		cluster: q.cluster, node: q.o.Node, member: q.id, index: at.last, term: term, members: members{voters: []uint64{uint64(q.id)}}, shipped: at,
	}
	return publishSnapshot(f, &snapshot, q.o.Machine.AppendSnapshot(nil))
}

// chain is what the store holds of a cluster's log: a snapshot and the shipments that continue it.
type chain struct {
	head      shipment // the newest
	ref       snapshotRef
	members   members // as of the snapshot
	snapshot  []byte
	entries   []*raftpb.Entry // after the snapshot
	shipments int
}

// incarnation is the number of the cluster's incarnation that the chain is of, or that is to come
// after a seal.
func (c *chain) incarnation() uint32 {
	if c.head.kind == shipmentSeal {
		return c.head.at.incarnation + 1
	}
	return c.head.at.incarnation
}

// single reports whether a member has always been the only one.
func (c *chain) single(id MemberID) bool {
	return c.members.single(id) && !slices.ContainsFunc(c.entries, func(e *raftpb.Entry) bool { return e.GetType() != raftpb.EntryNormal })
}

// load brings a machine to the state as of the chain's last entry.
func (c *chain) load(m StateMachine) error {
	if err := m.Restore(c.ref.index, c.snapshot); err != nil {
		return fmt.Errorf("restore the metadata from the shipped snapshot of entry %d: %w", c.ref.index, err)
	}
	for _, e := range c.entries {
		if !isRecord(e) {
			continue
		}
		if err := m.Apply(e.GetIndex(), e.GetTerm(), e.GetData()); err != nil {
			return fmt.Errorf("shipped entry %d: %w", e.GetIndex(), err)
		}
	}
	return nil
}

const chainTriesMax = 20

// readChain reads what is in the store, up to the newest shipment. Whoever owns the log may remove old
// shipments meanwhile: then it begins again from the newest.
func (q *Quorum) readChain(r *remote) (*chain, error) {
	for range chainTriesMax {
		c, whole, err := q.tryChain(r)
		if err != nil || whole {
			return c, err
		}
		if err := r.failed("read the shipped metadata as one", errors.New("it changed while it was read")); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the metadata's log in the object store has a gap: objects under %s are missing", q.cluster.shipPrefix())
}

func (q *Quorum) tryChain(r *remote) (c *chain, whole bool, err error) {
	names, err := r.names("")
	if err != nil || len(names) == 0 {
		return nil, false, err
	}
	c = &chain{}
	var found bool
	if c.head, found, err = r.shipment(names[len(names)-1].key); err != nil || !found {
		return nil, false, err
	}
	c.ref = c.head.at.ref
	var h snapshotHeader
	if h, c.snapshot, found, err = r.snapshot(c.ref); err != nil || !found {
		return nil, false, err
	}
	c.members = h.members
	expected := c.ref.first
	last, nonce := c.ref.index, uint64(0)
	for _, n := range names {
		if n.sequence < c.ref.first {
			continue
		}
		s, found, err := r.shipment(n.key)
		if err != nil || !found || n.sequence != expected {
			return nil, false, err
		}
		if n.sequence > c.ref.first && s.previous != nonce || s.after > last {
			return nil, false, fmt.Errorf("shipment %d of the metadata's log does not continue the one before it", n.sequence)
		}
		for _, e := range s.entries {
			if e.GetIndex() > last {
				c.entries = append(c.entries, e)
				last = e.GetIndex()
			}
		}
		nonce = s.at.nonce
		expected++
		c.shipments++
	}
	if expected != c.head.at.sequence+1 || last != c.head.at.last {
		return nil, false, nil
	}
	return c, true, nil
}
