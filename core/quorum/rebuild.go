package quorum

import (
	"errors"
	"fmt"
	"time"

	"weir/core/env"
	"weir/core/task"
)

// incarnationStride is how far the log of a new incarnation of the cluster begins above the old one:
// at the next multiple. Whatever the old one had in its log beyond what was shipped lies below.
const incarnationStride = 1 << 32

// ErrNotEmpty: a rebuild was asked for, but the metadata disk holds something.
var ErrNotEmpty = errors.New("the metadata disk is not empty: a rebuild would replace it; move its directory away first")

// Incarnations is implemented by a state machine that can begin a new incarnation of the cluster.
type Incarnations interface {
	// BeginIncarnation makes the state that of a new incarnation, as of a log index: no id, epoch or
	// name that the incarnation before may have given is given again, even if its record was never
	// shipped.
	BeginIncarnation(incarnation uint32, index uint64)
}

// Rebuilt is what a rebuild found and did.
type Rebuilt struct {
	ClusterID   string
	Node        int32
	Incarnation uint32    // the new one
	Sequence    uint64    // of the newest shipment of the old one
	Index       uint64    // of the last entry that was shipped
	ShippedAt   time.Time // when, by the clock of the node that did it
	Shipments   int       // that were read
	Done        bool      // the disk was written; otherwise nothing was changed
}

// Rebuild writes a lost metadata disk anew from what was shipped (R19). It first reads, and asks
// confirm, with the machine in the state as of the last shipment, whether to go on; up to there it
// changes nothing. Then it seals the first free name, so that the lost disk, should it come back, can
// ship nothing more; reads again, now that nothing can be added; begins a new incarnation of the
// cluster, whose ids and epochs lie above all of the old one's; and writes the disk, whose directory
// must be empty. Of a quorum that had several members, any node can be the first of the new incarnation, as its only
// voter, with a disk of a new number; the others join it with empty disks. It goes on for as long as the store takes. done gets an error for people. A rebuild
// that was cut off is begun anew.
func Rebuild(o Options, confirm func(Rebuilt) bool, done func(Rebuilt, error)) {
	o, err := o.resolve()
	if err != nil {
		done(Rebuilt{}, err)
		return
	}
	q := &Quorum{o: o, id: memberID(o.Node, 0), metrics: newMetrics(o.Telemetry)}
	o.Loop.Go("rebuild quorum", func(p *task.Proc) {
		result, err := q.rebuild(files{p, o.Env}, confirm)
		done(result, err)
	})
}

func (q *Quorum) rebuild(f files, confirm func(Rebuilt) bool) (Rebuilt, error) {
	if err := q.wantEmpty(f); err != nil {
		return Rebuilt{}, err
	}
	m, found, err := q.readMarker(f.proc)
	switch {
	case err != nil:
		return Rebuilt{}, err
	case !found:
		return Rebuilt{}, errors.New("the bucket holds no cluster: it is the wrong bucket (or prefix), or it was emptied")
	}
	q.cluster = m.cluster
	r := q.remote(f.proc, env.PurposeRecovery)
	c, err := q.loadChain(r)
	if err != nil {
		return Rebuilt{}, err
	}
	result := q.describe(c)
	if !confirm(result) {
		return result, nil
	}
	seal, err := q.seal(r, c)
	if err != nil {
		return result, err
	}
	if c, err = q.loadChain(r); err != nil { // nothing can have come since the seal: this is all there is
		return result, err
	}
	result.Index, result.Done = c.head.at.last, true
	return result, q.begin(f, r, seal, c.head.lastTerm)
}

// wantEmpty refuses a disk that a log can be read from, or soon could.
func (q *Quorum) wantEmpty(f files) error {
	list, err := f.list()
	if err != nil {
		return err
	}
	if inv := takeInventory(list); len(inv.snapshots) > 0 || inv.restoring {
		return ErrNotEmpty
	}
	return nil
}

func (q *Quorum) loadChain(r *remote) (*chain, error) {
	if _, found, err := r.higher(""); err != nil {
		return nil, err
	} else if !found {
		return nil, fmt.Errorf("the object store holds nothing of the metadata of cluster %s: it was written by a version that shipped nothing, "+
			"and cannot be rebuilt", q.cluster)
	}
	c, err := q.readChain(r)
	if err != nil {
		return nil, err
	}
	if q.o.Among || !c.single(memberID(c.head.node, 0)) {
		// Any of several may begin anew. As another member than before: old disks of the others know the old ones.
		if q.id == memberID(q.o.Node, 0) {
			q.id = memberID(q.o.Node, uint32(q.nonce("rebuild disk", c.head.at.sequence))|1)
		}
	} else if c.head.node != q.o.Node {
		return nil, fmt.Errorf("the cluster's metadata belong to node %d, but this is node %d: set node.id to %d", c.head.node, q.o.Node, c.head.node)
	}
	return c, c.load(q.o.Machine)
}

func (q *Quorum) describe(c *chain) Rebuilt {
	return Rebuilt{
		ClusterID: q.cluster.String(), Node: c.head.node, Incarnation: c.incarnation() + 1, Sequence: c.head.at.sequence, Index: c.head.at.last,
		ShippedAt: time.UnixMilli(c.head.millis).UTC(), Shipments: c.shipments,
	}
}

// seal takes the first free name: from then on no copy of the old disk can ship anything.
func (q *Quorum) seal(r *remote, c *chain) (position, error) {
	at := position{
		incarnation: c.incarnation(), sequence: c.head.at.sequence + 1, last: c.head.at.last, ref: c.head.at.ref,
		nonce: q.nonce("shipment nonce", c.head.at.sequence+1),
	}
	h := shipmentHeader{
		cluster: q.cluster, node: q.o.Node, kind: shipmentSeal, at: at, previous: c.head.at.nonce, after: at.last, lastTerm: c.head.lastTerm,
		millis: q.o.Env.Clock.WallMillis(),
	}
	q.ship.at = c.head.at
	q.ship.at.incarnation = at.incarnation
	got, err := q.win(r, h, encodeShipment(&h, nil))
	if err != nil {
		return got, fmt.Errorf("seal the metadata's log at shipment %d: %w", at.sequence, err)
	}
	q.o.Telemetry.Hit("quorum: the log was sealed")
	return got, nil
}

// begin makes the machine that of the new incarnation, puts its state into the store and onto the disk.
func (q *Quorum) begin(f files, r *remote, seal position, term uint64) error {
	at := position{
		incarnation: seal.incarnation + 1, sequence: seal.sequence + 1, last: (seal.last/incarnationStride + 1) * incarnationStride,
		nonce: q.nonce("shipment nonce", seal.sequence+1),
	}
	if m, ok := q.o.Machine.(Incarnations); ok {
		m.BeginIncarnation(at.incarnation, at.last)
	}
	data := q.o.Machine.AppendSnapshot(nil)
	ref, err := q.putSnapshot(r, &shippable{
		index: at.last, term: term, members: members{voters: []uint64{uint64(q.id)}}, data: data, sum: checksum(data), first: at.sequence,
	})
	if err != nil {
		return err
	}
	at.ref = ref
	h := shipmentHeader{
		cluster: q.cluster, node: q.o.Node, at: at, previous: seal.nonce, after: at.last, lastTerm: term, millis: q.o.Env.Clock.WallMillis(),
	}
	q.ship.at = seal
	q.ship.at.incarnation = at.incarnation
	got, err := q.win(r, h, encodeShipment(&h, nil))
	if err != nil {
		return fmt.Errorf("begin incarnation %d of the cluster: %w", at.incarnation, err)
	}
	if err := q.wipe(f); err != nil { // of what an interrupted rebuild or founding left
		return err
	}
	return q.writeLog(f, got, term, term)
}
