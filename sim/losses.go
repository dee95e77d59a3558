package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/core/metadata"
	"weir/sim/checker"
	"weir/sim/client"
	"weir/sim/event"
	"weir/sim/plan"
)

// losses are the logs that were lost for good, and what of them administrators gave up (R16).
type losses struct {
	epochs    []metadata.BrokerEpoch // whose logs are lost
	names     []string               // of the logs
	committed map[rangeName]int64    // of their ranges, when that happened: what is committed cannot be lost
	metadata  bool                   // a metadata disk was lost, too
	abandoner *client.Abandoner      // nil: nobody waits for a lost log
}

type rangeName struct {
	stream      metadata.StreamID
	leaderEpoch int32
}

// loseLog: the log's disk is lost, or both disks are.
func (b *broker) loseLog(f *plan.Strike) {
	spare := b.spareVoter()
	b.crash(true)
	if f.Kind == "disks-lost" && !b.losses.metadata && spare {
		b.losses.metadata = true
		b.meta.Wipe()
	}
	if b.port == nil {
		b.noteLogs()
		b.wal.Wipe()
		b.lostLog = true
	}
	b.served, b.cluster.LogsLost = false, true
	b.bootAfter(f.For)
	b.copies.end = func() {}
	if b.losses.abandoner == nil {
		b.losses.abandoner = client.NewAbandoner(b.cluster, abandonClient, client.AbandonerOptions{
			Lost: b.isLost, Looked: b.noteLost, Pause: b.draws.Duration(100*time.Millisecond, time.Second),
		})
		b.losses.abandoner.Start()
	}
}

// rebuildPoll is how often a machine looks whether its cluster was rebuilt.
const rebuildPoll = 50 * time.Millisecond

// loseQuorum: the metadata disks of all brokers are lost, or all their disks. The administrator rebuilds the cluster from the store on the
// first machine, and starts the others with empty disks after it. Where the logs are gone, too, brokers are told to start
// without them.
func (w *world) loseQuorum(f *plan.Strike) {
	w.faultCount++
	w.queue.Note(event.KindFault, 0, event.SumString(f.Kind), uint64(f.For), 0)
	for _, b := range w.brokers {
		b.crash(true)
		b.meta.Wipe()
		b.served = false
		if f.Kind == "disks-lost" {
			b.noteLogs()
			b.lostLog = true
		}
		b.bootAfter(f.For)
	}
	for _, b := range w.brokers {
		if f.Kind == "disks-lost" {
			b.wal.Wipe()
			b.cluster.LogsLost = true
		}
		b.config.WALAbandoned = w.losses.names // also of what was lost before, and is not given up yet
	}
	clear(w.losses.committed) // what was not shipped goes with the disks
	w.losses.metadata = true
	w.cluster.Undone()
	w.brokers[0].rebuilding = true
	w.copies.end = func() {}
}

// awaitsRebuild reports whether another machine has to rebuild the cluster first.
func (b *broker) awaitsRebuild() bool {
	return !b.rebuilding && slices.ContainsFunc(b.brokers, func(o *broker) bool { return o.rebuilding })
}

// spareVoter reports whether the quorum survives the loss of a voter: those that are running know of three at least.
func (w *world) spareVoter() bool {
	return slices.ContainsFunc(w.brokers, func(b *broker) bool {
		n, ok := coreOf(b.machine.Node())
		return ok && b.ready && n.Voters() >= 3
	})
}

// isLost reports whether a broker waits for a log that is lost.
func (w *world) isLost(id int32) bool {
	return slices.ContainsFunc(w.brokers, func(b *broker) bool { return b.config.NodeID == id && b.lostLog })
}

// found ends the loss of a log: its broker serves again.
func (b *broker) found() {
	if !b.lostLog {
		return
	}
	b.queue.Hit("losses: a broker serves again without its log")
	b.lostLog, b.copies.end = false, nil
	b.noteLost()
}

// noteLogs notes which logs are on the disk, and what of them is committed.
func (b *broker) noteLogs() {
	l := &b.losses
	if l.committed == nil {
		l.committed = map[rangeName]int64{}
	}
	image := b.newestImage()
	for _, name := range b.wal.Names() {
		number, ok := strings.CutPrefix(name, "wal-")
		epoch, err := strconv.ParseInt(number, 16, 64)
		if !ok || err != nil {
			continue
		}
		l.epochs, l.names = append(l.epochs, metadata.BrokerEpoch(epoch)), append(l.names, name)
		eachRange(image, func(s *metadata.Stream, r *metadata.Range) {
			if r.BrokerEpoch == metadata.BrokerEpoch(epoch) {
				l.committed[rangeName{s.ID, r.LeaderEpoch}] = r.Committed
			}
		})
	}
}

func eachRange(image *metadata.Image, visit func(*metadata.Stream, *metadata.Range)) {
	if image == nil {
		return
	}
	for _, t := range image.Topics() {
		for i := range t.Partitions {
			s, _ := image.Stream(t.Partitions[i].Stream)
			for j := range s.Ranges {
				visit(s, &s.Ranges[j])
			}
		}
	}
}

// newestImage is that of the node that has applied most; nil: none runs.
func (w *world) newestImage() (newest *metadata.Image) {
	for _, b := range w.brokers {
		if n, ok := coreOf(b.machine.Node()); ok && b.machine.Running() && (newest == nil || n.Image().AppliedIndex() > newest.AppliedIndex()) {
			newest = n.Image()
		}
	}
	return newest
}

// noteLost tells the checker which offsets were given up, and makes sure that only a lost log held them.
func (w *world) noteLost() {
	image := w.newestImage()
	if image == nil || len(w.losses.epochs) == 0 {
		return
	}
	for _, p := range w.cluster.Partitions {
		t, ok := image.TopicByID(p.Topic.ID)
		if !ok || int(p.Index) >= len(t.Partitions) {
			continue
		}
		s, _ := image.Stream(t.Partitions[p.Index].Stream)
		for i := range s.Parts {
			if part := &s.Parts[i]; part.Lost() {
				w.noteLostPart(p.History, s, part)
			}
		}
	}
}

func (w *world) noteLostPart(h *checker.Partition, s *metadata.Stream, part *metadata.Part) {
	if slices.ContainsFunc(h.Lost, func(gone checker.Lost) bool { return gone.Start == part.Start && gone.End == part.End }) {
		return
	}
	h.Lost = append(h.Lost, checker.Lost{Start: part.Start, End: part.End, By: w.cluster.Stamp()})
	w.queue.Hit("losses: offsets were given up")
	for i := range s.Ranges {
		r := &s.Ranges[i]
		if r.LeaderEpoch != part.LeaderEpoch {
			continue
		}
		if committed := w.losses.committed[rangeName{s.ID, r.LeaderEpoch}]; !slices.Contains(w.losses.epochs, r.BrokerEpoch) || part.Start < committed {
			w.violate(checker.Violation{Invariant: "I1", Text: fmt.Sprintf("%s: [%d, %d) of leader epoch %d was given up; its log is that of epoch %d, of which is committed up to %d; lost are the logs of %v",
				h.Name, part.Start, part.End, r.LeaderEpoch, r.BrokerEpoch, committed, w.losses.epochs)})
		}
	}
}
