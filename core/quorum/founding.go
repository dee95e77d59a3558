package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/task"
)

// markerKey names the marker object, by whose creation a cluster is founded.
const markerKey = "cluster"

const complainEach = 30 * time.Second

var storeRetries = task.BackOff{First: 100 * time.Millisecond, Max: 10 * time.Second}

// found founds a cluster from an empty disk, or goes on with a founding that a crash interrupted.
// It returns what the disk holds then.
func (q *Quorum) found(f files, inv inventory) (inventory, error) {
	if len(inv.segments) > 0 && !inv.founding {
		return inv, &CorruptError{File: snapshotPrefix, Reason: "there are log segments but no snapshot"}
	}
	plan, err := q.planFounding(f, inv)
	if err != nil {
		return inv, err
	}
	other, err := q.winMarker(f.proc, plan)
	if err != nil {
		return inv, err
	}
	if other != nil {
		if err := q.join(f, plan, other.cluster); err != nil {
			return inv, err
		}
		list, err := f.list()
		return takeInventory(list), err
	}
	q.o.Telemetry.Info("founded a cluster", slog.String("cluster", plan.cluster.String()), slog.Int64("node", int64(plan.node)))
	if err := q.writeFirst(f, plan); err != nil {
		return inv, err
	}
	list, err := f.list()
	return takeInventory(list), err
}

// planFounding makes the nonce durable by which this disk will know its own marker again.
func (q *Quorum) planFounding(f files, inv inventory) (founding, error) {
	if inv.founding {
		return q.readFounding(f)
	}
	now := uint64(q.o.Env.Clock.WallMillis())
	draw := func(counter uint64) uint64 { return q.o.Env.Rand.Uint64("quorum founding", now, counter) }
	plan := founding{node: q.o.Node, nonce: draw(0)}
	order.PutUint64(plan.cluster[:], draw(1))
	order.PutUint64(plan.cluster[8:], draw(2))
	plan.cluster[0] &= 0x7f // no leading '-', as Kafka avoids it
	plan.cluster[6] = plan.cluster[6]&0x0f | 0x40
	plan.cluster[8] = plan.cluster[8]&0x3f | 0x80
	return plan, f.publish(foundingName, plan.encode, nil)
}

func (q *Quorum) readFounding(f files) (plan founding, err error) {
	file, size, err := f.open(foundingName, false)
	if err != nil {
		return plan, err
	}
	defer f.env.Meta.Close(file)
	slab, data, err := f.readAll(file, foundingName, min(size, blockBytes))
	if err != nil {
		return plan, err
	}
	defer slab.Release()
	ok := len(data) == blockBytes
	if ok {
		plan, ok = decodeFounding(data)
	}
	switch {
	case !ok:
		return plan, &CorruptError{File: foundingName, Reason: "it fails its checksum"}
	case plan.version != FormatVersion:
		return plan, &VersionError{File: foundingName, Version: plan.version}
	case plan.node != q.o.Node:
		return plan, otherNode(foundingName, plan.node, q.o.Node)
	}
	return plan, nil
}

// writeFirst writes the first segment and the snapshot that a log begins with: entry 1, of term 1,
// is the founding itself, and its state the empty machine's.
func (q *Quorum) writeFirst(f files, plan founding) error {
	now := uint64(q.o.Env.Clock.WallMillis())
	segment := segmentHeader{
		cluster: plan.cluster, node: plan.node, nonce: q.o.Env.Rand.Uint64("quorum segment nonce", 0, now),
		last: 1, hard: hardState{term: 1, commit: 1},
	}
	if err := f.publish(segmentName(0), segment.encode, nil); err != nil {
		return err
	}
	snapshot := snapshotHeader{cluster: plan.cluster, node: plan.node, index: 1, term: 1, member: q.id, members: members{voters: []uint64{uint64(q.id)}}}
	return publishSnapshot(f, &snapshot, q.o.Machine.AppendSnapshot(nil))
}

// join writes the snapshot that the log of a new member begins with: empty, without voters, at entry 0. The number of the disk
// comes from the nonce of the founding that was not to be.
func (q *Quorum) join(f files, plan founding, cluster clusterID) error {
	q.id = memberID(plan.node, uint32(plan.nonce)|1)
	q.o.Telemetry.Info("this node joins the cluster that the object store names: it waits to be added to the metadata's quorum",
		slog.String("cluster", cluster.String()), slog.String("member", q.id.String()))
	q.o.Telemetry.Hit("quorum: joined")
	snapshot := snapshotHeader{cluster: cluster, node: plan.node, member: q.id, hard: hardState{term: 1}}
	return publishSnapshot(f, &snapshot, q.o.Machine.AppendSnapshot(nil))
}

// winMarker creates the marker, or finds that it did so before. It returns the marker of another's cluster that this node may join.
func (q *Quorum) winMarker(p *task.Proc, plan founding) (*marker, error) {
	if q.o.Joins {
		return q.awaitMarker(p)
	}
	body := (&marker{cluster: plan.cluster, nonce: plan.nonce}).encode()
	b := backOff{q: q, proc: p, what: "create the cluster's marker in the object store"}
	for {
		put := &env.PutObject{For: env.PurposeFounding, Key: markerKey, Body: [][]byte{body}}
		p.Await(func(wake func()) {
			put.Done = func(*env.PutObject) { wake() }
			q.o.Env.Store.Put(put)
		})
		switch put.Outcome {
		case env.OutcomeDone:
			return nil, nil
		case env.OutcomeFailed:
			b.wait(put.Err)
			continue
		}
		m, found, err := q.readMarker(p)
		switch {
		case err != nil:
			return nil, err
		case found && m.nonce == plan.nonce && m.cluster == plan.cluster:
			return nil, nil
		case found && q.o.Peers != nil:
			return &m, nil
		case found:
			return nil, fmt.Errorf("the metadata disk of node %d is empty, but the bucket already holds cluster %s: start with the disk "+
				"that belongs to that cluster (any copy will do), rebuild it with `weir recover-cluster` if it is lost, or use an empty bucket "+
				"(or prefix) for a new one", q.o.Node, m.cluster)
		}
		b.wait(put.Err)
	}
}

// awaitMarker waits for the marker of a cluster that another node founds.
func (q *Quorum) awaitMarker(p *task.Proc) (*marker, error) {
	b := backOff{q: q, proc: p, what: "find a cluster in the object store to join, which one of the quorum's voters founds"}
	for q.err == nil {
		m, found, err := q.readMarker(p)
		if found || err != nil {
			return &m, err
		}
		b.wait(errNotFounded)
	}
	return nil, q.err
}

var errNotFounded = errors.New("there is no cluster yet")

// readMarker reads the marker, for as long as it takes. Errors are about what it holds.
func (q *Quorum) readMarker(p *task.Proc) (m marker, found bool, err error) {
	b := backOff{q: q, proc: p, what: "read the cluster's marker in the object store"}
	for q.err == nil {
		get := &env.GetObject{For: env.PurposeFounding, Key: markerKey, Into: make([]byte, blockBytes)}
		p.Await(func(wake func()) {
			get.Done = func(*env.GetObject) { wake() }
			q.o.Env.Store.Get(get)
		})
		if get.Outcome == env.OutcomeRefused {
			return m, false, nil
		}
		if get.Outcome != env.OutcomeDone {
			b.wait(get.Err)
			continue
		}
		m, ok := decodeMarker(get.Into[:get.N])
		if ok && m.version != FormatVersion {
			return m, true, &VersionError{File: markerKey, Version: m.version}
		}
		if ok {
			return m, true, nil
		}
		b.wait(fmt.Errorf("object %q of %d bytes fails its checksum", markerKey, get.Size))
	}
	return m, false, q.err
}

// checkMarker compares the store's cluster with the disk's, in the background: the store may be down
// at a restart.
func (q *Quorum) checkMarker(p *task.Proc) {
	m, found, err := q.readMarker(p)
	switch {
	case q.err != nil:
		return
	case err == nil && !found:
		err = fmt.Errorf("the bucket holds no cluster, but the metadata disk of node %d belongs to cluster %s: "+
			"it is the wrong bucket (or prefix), or it was emptied", q.o.Node, q.cluster)
	case err == nil && m.cluster != q.cluster:
		err = fmt.Errorf("the bucket holds cluster %s, but the metadata disk of node %d belongs to cluster %s: "+
			"start it with the bucket (or prefix) of its cluster", m.cluster, q.o.Node, q.cluster)
	}
	if err != nil {
		q.fail(err)
	}
}
