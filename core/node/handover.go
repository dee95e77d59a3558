package node

import (
	"cmp"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"time"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/peer"
	"weir/core/quorum"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/wire"
)

// handoverTimeout is how long a partition may wait for what it appended before a handover of it is given up.
const handoverTimeout = 5 * time.Second

// sealRetry is how soon a seal whose outcome is not known is proposed again.
const sealRetry = 50 * time.Millisecond

// handovers are the partitions that this broker gives away (R15). Several that become ready in one turn are sealed by one record.
type handovers struct {
	node  *Node
	ready []readyHandover
	open  int // begun, and not decided
	idle  func()
}

type readyHandover struct {
	*partition.Handover
	seal metadata.Seal
}

// handOver gives a partition to another broker; to this one, if that is not alive any more. It reports whether it began: not while the
// partition is being given away already.
func (n *Node) handOver(p *partition.Partition, to metadata.BrokerID) bool {
	b, ok := n.metadata.image.Broker(to)
	if !ok || !b.Ready() || n.leavers.has(b) || p.Closed() != wire.None {
		return false
	}
	h := &n.handovers
	next := metadata.Leader{Broker: b.ID, Epoch: b.Epoch}
	decided := false
	begun := p.HandOver(func(r *partition.Handover) {
		decided = true
		end := metadata.RangeEnd{Stream: p.Stream, LeaderEpoch: p.LeaderEpoch(), End: r.End}
		h.ready = append(h.ready, readyHandover{r, metadata.Seal{RangeEnd: end, Next: next, Checkpoint: r.Checkpoint}})
		if len(h.ready) == 1 {
			n.loop.Post(h.seal)
		}
	})
	if begun == nil {
		n.telemetry.Hit("node: a partition is being given away already")
		return false
	}
	if n.broker != nil {
		n.broker.Departing(p.Stream)
	}
	h.open++
	n.loop.After(handoverTimeout, func() {
		if !decided {
			begun.Resume()
			h.decided(1)
		}
	})
	return true
}

// seal proposes the record that closes what is ready, in pieces.
func (h *handovers) seal() {
	ready := h.ready
	h.ready = nil
	h.store(ready)
}

// store proposes seals once the large checkpoints among them are in an object.
func (h *handovers) store(ready []readyHandover) {
	n := h.node
	seals := sealsOf(ready)
	n.storeStates(seals, func(states *stream.StoredStates) {
		if n.failed {
			return
		}
		for i := range ready {
			ready[i].seal = seals[i]
		}
		pieces := metadata.Chunks(ready, sealsMax, n.recordBytesMax(), func(r *readyHandover) int { return sealBytesOf(&r.seal) })
		left := len(pieces)
		for _, piece := range pieces {
			h.propose(piece, states, func() {
				if left--; left == 0 {
					states.Release()
				}
			})
		}
	})
}

func sealsOf(ready []readyHandover) []metadata.Seal {
	seals := make([]metadata.Seal, len(ready))
	for i := range ready {
		seals[i] = ready[i].seal
	}
	return seals
}

// recordBytesMax is the size in bytes about which a record is cut into several.
func (n *Node) recordBytesMax() int {
	return cmp.Or(n.options.Tuning.RecordBytesMax, controller.DefaultRecordBytesMax)
}

// propose repeats a seal until the image says what became of it: a partition that has asked for its seal serves nothing before. ended
// runs once these seals are not proposed any more as they are.
func (h *handovers) propose(piece []readyHandover, states *stream.StoredStates, ended func()) {
	n := h.node
	piece = slices.DeleteFunc(piece, func(r readyHandover) bool {
		if r.Partition.Closed() == wire.None {
			return false
		}
		h.decided(1)
		return true
	})
	if len(piece) == 0 || n.failed {
		ended()
		return
	}
	h.announce(piece)
	n.metadata.Propose(n.sealRecord(sealsOf(piece), states), func(o metadata.Outcome, err error) {
		if err == nil {
			ended()
			h.taken(piece, o.Accepted)
			return
		}
		if errors.Is(err, metadata.ErrNotPrepared) {
			n.telemetry.Hit("node: the states of seals are stored again")
			ended()
			h.store(piece)
			return
		}
		if errors.Is(err, metadata.ErrEpochEnded) || errors.Is(err, quorum.ErrClosed) {
			return // the incarnation ends
		}
		n.telemetry.Hit("node: a seal is proposed again")
		n.loop.After(sealRetry, func() { h.propose(piece, states, ended) })
	})
}

// announce tells the next leaders what they are about to get, so that producers which hear of it first may wait for them there. It is a
// courtesy: nothing depends on its arrival.
func (h *handovers) announce(piece []readyHandover) {
	n := h.node
	if !n.release.serves(methodArriving) {
		return
	}
	for _, b := range n.metadata.image.Brokers() {
		var body []byte
		for _, p := range piece {
			if p.seal.Next.Broker == b.ID && p.seal.Next.Epoch != n.epoch {
				body = binary.LittleEndian.AppendUint64(body, uint64(p.Partition.Stream))
			}
		}
		if len(body) > 0 {
			n.peers.calls.Call(int32(b.ID), methodArriving, body, callTimeout, func([]byte, error) {})
		}
	}
}

// arriving takes an announcement of partitions that are about to come here.
func (n *Node) arriving(_ int32, body []byte, reply func([]byte, *peer.Refusal)) {
	if len(body)%8 != 0 || len(body) > 8*sealsMax || n.partitions == nil || n.broker == nil || n.failed {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "malformed, or this node is not ready"})
		return
	}
	streams := make([]metadata.StreamID, 0, len(body)/8)
	for ; len(body) > 0; body = body[8:] {
		streams = append(streams, metadata.StreamID(binary.LittleEndian.Uint64(body)))
	}
	n.broker.Arriving(streams)
	reply(nil, nil)
}

// taken gives what was refused to this broker itself, under a new leader epoch: whoever was to have it is gone. The object with its state
// may be gone, too, if the seals that named it were taken and have newer ones: it is put anew.
func (h *handovers) taken(piece []readyHandover, accepted []bool) {
	n := h.node
	var again []readyHandover
	for i, p := range piece {
		switch {
		case accepted[i]:
			n.telemetry.Hit("node: a partition was handed over")
			h.decided(1)
		case p.Partition.Closed() != wire.None:
			h.decided(1)
		default:
			p.seal.Next = metadata.Leader{Broker: metadata.BrokerID(n.config.NodeID), Epoch: n.epoch}
			again = append(again, p)
		}
	}
	if len(again) > 0 {
		n.loop.After(sealRetry, func() { h.store(again) })
	}
}

func (h *handovers) decided(count int) {
	if h.open -= count; h.open == 0 && h.idle != nil {
		idle := h.idle
		h.idle = nil
		h.node.loop.Post(idle)
	}
}

// leave gives everything that this broker leads to the others, before a shutdown: it reports whether there is anybody.
func (n *Node) leave(done func()) bool {
	others := n.takersBut(n.epoch)
	open := slices.Clone(n.partitions.Partitions())
	if n.peers == nil || len(others) == 0 || len(open) == 0 {
		return false
	}
	n.telemetry.Info("giving the partitions to other brokers before the shutdown", slog.Int("partitions", len(open)))
	for i, p := range open {
		n.handOver(p, others[i%len(others)].ID)
	}
	h := &n.handovers
	waiting := true
	once := func() {
		if waiting {
			waiting = false
			h.idle = nil
			done()
		}
	}
	h.idle = once
	n.loop.After(n.shutdownTimeLeft(leaveLimit), once)
	if h.open == 0 {
		n.loop.Post(once)
	}
	return true
}

// leaveLimit bounds how long a shutdown waits for others to take the partitions.
const leaveLimit = 10 * time.Second

// lingerTime is how long a broker that has given its partitions away goes on saying who leads them now. A client that finds a closed port
// instead looks at the metadata when it next may, which is seconds later with some, and others show the failure to the application. It
// is longer than clients wait before they try again at first (100 to 500 ms).
const lingerTime = time.Second

// linger lets clients learn where the partitions went, and gives away what this broker was given meanwhile. Where partitions could not be
// given away in time, the metadata's quorum is away: there is nothing to learn.
func (n *Node) linger(done func()) {
	if n.broker.Connections() == 0 || n.handovers.open > 0 {
		done()
		return
	}
	n.telemetry.Hit("node: a shutdown lingers for clients to learn of the new leaders")
	n.loop.After(lingerTime, func() {
		if n.failed || !n.leave(done) {
			done()
		}
	})
}

// takersBut are the brokers that may be given partitions, but for one.
func (n *Node) takersBut(epoch metadata.BrokerEpoch) []*metadata.Broker {
	alive := slices.DeleteFunc(slices.Clone(n.metadata.image.Brokers()), func(b *metadata.Broker) bool { return !b.Ready() || b.Epoch == epoch })
	return controller.Takers(n.metadata.image, n.leavers.but(alive))
}

// awaitUploads waits, within a bound, until nothing that was handed over is in this broker's log alone: its new leaders' readers
// would wait for the next start.
func (n *Node) awaitUploads(p *task.Proc) {
	if n.peers == nil || len(n.metadata.image.OpenRanges(n.epoch)) > 0 {
		return // what nobody took waits for the next start in any case
	}
	limit := n.shutdownTimeLeft(leaveLimit)
	for began := n.loop.Now(); n.metadata.image.EpochOwes(n.epoch) && n.loop.Now().Sub(began) < limit; {
		p.Sleep(startPoll)
	}
}
