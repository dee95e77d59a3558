package txn

import (
	"log/slog"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/task"
	"weir/core/wire"
)

// Marker is the end of a transaction, for one of its partitions.
type Marker struct {
	Producer Producer
	Commit   bool
	// CoordinatorEpoch is the leader epoch of the coordinator's partition.
	CoordinatorEpoch int32
	// Version is the transaction.version under which the transaction ended: from 2 on the epoch is that after the
	// transaction's.
	Version int16
}

// MarkerWriter writes markers.
type MarkerWriter interface {
	// WriteMarker appends a marker to the partition that has the name now, and calls done once: with None when it
	// is durable and, in a partition of __consumer_offsets, applied by its coordinator; with
	// UNKNOWN_TOPIC_OR_PARTITION if there is no such partition (any more). INVALID_PRODUCER_EPOCH means that the partition
	// knows the producer with a later epoch. After any other code it is asked again.
	WriteMarker(p Partition, m Marker, done func(wire.Code))
}

// markerRetry is the wait between two attempts.
var markerRetry = task.BackOff{First: 20 * time.Millisecond, Max: 5 * time.Second}

// markerPatience is how long markers may fail before operators hear of it.
const markerPatience = 30 * time.Second

// marking is the work on a prepared transaction. It belongs to one producer id and epoch: when the id has another
// record, it is over, whatever its partitions answer.
type marking struct {
	marker   Marker
	left     []Partition // without the marker, and not being written
	open     int         // being written
	failures int
	last     wire.Code // of the last failure
	began    env.Time
	timer    task.Timer
}

// mark begins to write the markers of a prepared transaction.
func (m *Machine) mark(e *entry) {
	e.marking = &marking{
		marker: Marker{
			Producer: Producer{e.ProducerID, e.Epoch}, Commit: e.State == PrepareCommit,
			CoordinatorEpoch: m.c.LeaderEpoch(m.shard.Index), Version: e.ClientVersion,
		},
		left: slices.Clone(e.Partitions), began: m.c.Loop.Now(),
	}
	m.c.marking.Set(m.c.marked(1))
	m.post(e, e.marking, m.writeMarkers)
}

// post runs the next step of a marking in a later turn, unless it is over by then.
func (m *Machine) post(e *entry, k *marking, step func(*entry, *marking)) {
	m.c.Loop.Post(func() {
		if e.marking == k {
			step(e, k)
		}
	})
}

func (m *Machine) stopMarking(e *entry) {
	if e.marking == nil {
		return
	}
	m.c.Loop.Stop(&e.marking.timer)
	e.marking = nil
	m.c.marking.Set(m.c.marked(-1))
}

// writeMarkers sends the marker to all partitions that lack it, under the lease (R9), or completes the transaction if none does.
func (m *Machine) writeMarkers(e *entry, k *marking) {
	todo := k.left
	if len(todo) == 0 {
		m.complete(e, k)
		return
	}
	// Another coordinator may have completed the transaction by now, and a partition forgotten the producer since: it would take the
	// marker of an epoch that has long ended.
	if !m.shard.Leased() {
		k.last = wire.NotCoordinator
		m.retryMarking(e, k, m.writeMarkers)
		return
	}
	k.left, k.open = nil, len(todo)
	for _, p := range todo {
		m.c.Markers.WriteMarker(p, k.marker, func(code wire.Code) { m.marked(e, k, p, code) })
	}
}

// marked hears of one partition.
func (m *Machine) marked(e *entry, k *marking, p Partition, code wire.Code) {
	if e.marking != k {
		return
	}
	switch {
	case code == wire.None:
	case code == wire.UnknownTopicOrPartition:
		m.c.skipped.Hit()
	case code == wire.InvalidProducerEpoch && m.shard.Leased(): // else another coordinator may have gone on with the producer
		m.c.outdated.Hit()
		m.warn("later epoch", "a partition knows a producer with a later epoch than the marker that ends its transaction. "+
			"Somebody wrote a marker past the coordinator; check that the partition's records are whole", e,
			slog.String("topic", p.Topic), slog.Int64("partition", int64(p.Index)))
	default:
		k.left, k.last = append(k.left, p), code
	}
	if k.open--; k.open > 0 {
		return
	}
	if len(k.left) == 0 {
		m.post(e, k, m.writeMarkers)
		return
	}
	m.retryMarking(e, k, m.writeMarkers)
}

// retryMarking runs a step again after a while.
func (m *Machine) retryMarking(e *entry, k *marking, step func(*entry, *marking)) {
	m.c.retried.Hit()
	if waited := m.c.Loop.Now().Sub(k.began); waited > markerPatience {
		partition := "none"
		if len(k.left) > 0 {
			partition = k.left[0].Topic
		}
		m.warn("markers", "the markers of a transaction cannot be written, and are tried again; read_committed consumers of its "+
			"partitions wait for them", e, slog.String("topic", partition), slog.Int64("code", int64(k.last)), slog.Duration("for", waited))
	}
	draw := m.c.Env.Rand.Uint64("transaction markers", uint64(e.ProducerID), uint64(k.failures))
	m.c.Loop.Reset(&k.timer, markerRetry.Wait(k.failures, draw), func() {
		if e.marking == k {
			step(e, k)
		}
	})
	k.failures++
}

// complete writes the record that completes a transaction, and with it one that begins the next, if partitions wait for
// that. It is for this producer id and epoch only.
func (m *Machine) complete(e *entry, k *marking) {
	begins := false
	m.do(e.id, func(t *Transaction, c clock) decision {
		if e.marking != k || t == nil || !t.prepared() {
			return decision{}
		}
		d := decision{next: t.complete(c)}
		d.then = m.begin(e, d.next, c)
		begins = d.then != nil
		return d
	}, func(d decision) {
		if e.marking == k && d.code != wire.None {
			k.last = d.code
			m.retryMarking(e, k, m.complete)
		}
		if begins {
			m.added(e, d.code)
		}
	})
}
