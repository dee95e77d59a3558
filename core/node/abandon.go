package node

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/peer"
	"weir/core/task"
	"weir/core/wire"
)

// AbandonWAL implements broker.Cluster.
func (c clusterOf) AbandonWAL(r *wire.AbandonWALRequest, done func(*wire.AbandonWALResponse)) {
	n := c.node
	if n.peers == nil {
		done(abandonRefused(&controller.Error{Code: wire.InvalidRequest, Message: "This broker is a cluster of its own: no other one waits for its log."}))
		return
	}
	if !n.release.serves(methodAbandonWAL) {
		done(abandonRefused(&controller.Error{Code: wire.UnsupportedVersion, Message: "This release does not know what it means to give a log up."}))
		return
	}
	n.peers.askLeader(methodAbandonWAL, r.AppendTo(nil), callTimeout, func(b []byte, err error) {
		out := &wire.AbandonWALResponse{}
		if err == nil {
			err = out.ReadFrom(b)
		}
		if err != nil {
			out = abandonRefused(&controller.Error{Code: wire.RequestTimedOut, Message: err.Error()})
		}
		done(out)
	})
}

func abandonRefused(err error) *wire.AbandonWALResponse {
	e := &controller.Error{Code: wire.NotController, Message: err.Error()}
	errors.As(err, &e)
	return &wire.AbandonWALResponse{ErrorCode: e.Code, ErrorMessage: &e.Message}
}

// abandonWALFor answers another node, or this one, as the active controller.
func (n *Node) abandonWALFor(_ int32, body []byte, reply func([]byte, *peer.Refusal)) {
	var r wire.AbandonWALRequest
	if err := r.ReadFrom(body); err != nil {
		reply(nil, &peer.Refusal{Code: refusedForGood, Text: err.Error()})
		return
	}
	waiting := n.waitingWALs(r.Broker)
	answer := func(out *wire.AbandonWALResponse) {
		out.Waiting = waiting
		reply(out.AppendTo(nil), nil)
	}
	if !r.GiveUp {
		answer(&wire.AbandonWALResponse{})
		return
	}
	n.sessions.AbandonWAL(metadata.BrokerID(r.Broker), metadata.BrokerEpoch(r.Epoch), n.env.Clock.WallMillis(), func(err error) {
		if err != nil {
			answer(abandonRefused(err))
			return
		}
		answer(&wire.AbandonWALResponse{})
	})
}

// waitingWALs is what waits for the logs of a broker that is gone, or of all such; below 0: of all.
func (n *Node) waitingWALs(of int32) (all []wire.WaitingWAL) {
	for _, w := range n.metadata.image.WaitingWALs() {
		if of >= 0 && int32(w.Broker) != of {
			continue
		}
		use := n.sessions.LogUse(w.Broker)
		all = append(all, wire.WaitingWAL{
			Broker: int32(w.Broker), Epoch: int64(w.Epoch), Partitions: int32(w.Partitions), Leaderless: int32(w.Leaderless), Records: w.Records,
			Offsets: n.sessions.UncommittedOffsetsMax, BytesUsed: use.Bytes, BytesMax: use.BytesMax,
		})
	}
	return all
}

// forgoLogs gives up logs of this broker that are lost, by the word of its administrator (config.Broker.WALAbandoned): without it the broker
// could not start, and where no other runs, nobody could be asked. It comes before newer logs are read, which go on from where these ended.
func (n *Node) forgoLogs(p *task.Proc) (err error) {
	if len(n.abandoned) == 0 {
		return nil
	}
	r := &metadata.AbandonWAL{
		Broker: metadata.BrokerID(n.config.NodeID), Epoch: n.epoch, Ended: n.abandoned, At: n.env.Clock.WallMillis(),
		Offsets: cmp.Or(n.options.Tuning.UncommittedOffsets, metadata.UncommittedOffsetsMax),
		Leaders: []metadata.Leader{{Broker: metadata.BrokerID(n.config.NodeID), Epoch: n.epoch}},
	}
	r.Ended = slices.DeleteFunc(r.Ended, func(epoch metadata.BrokerEpoch) bool { return !n.metadata.image.EpochOwes(epoch) })
	if len(r.Ended) == 0 {
		return nil
	}
	if err := n.raiseLevel(p); err != nil {
		return err
	}
	p.Await(func(wake func()) {
		n.metadata.Propose(r, func(_ metadata.Outcome, proposeErr error) {
			err = proposeErr
			wake()
		})
	})
	if err == nil {
		n.telemetry.Hit("node: lost logs were given up at a start")
		n.telemetry.Warn("write-ahead logs were given up, as weir.wal.abandoned says: what was acknowledged and is in no object is lost", slog.Any("epochs", r.Ended))
	}
	return err
}

// sayIfGivenUp tells operators that a log which has come back was given up: nothing of it is used.
func (n *Node) sayIfGivenUp(epoch metadata.BrokerEpoch) {
	if n.metadata.image.EpochOwes(epoch) || !n.metadata.image.GivenUp(epoch) {
		return
	}
	n.telemetry.Hit("node: a log that was given up came back")
	n.telemetry.Warn("a write-ahead log that an administrator gave up (weir abandon-wal) is here again: what it holds is not part of the cluster any more, and it is removed",
		slog.String("file", logName(epoch)), slog.Int64("epoch", int64(epoch)))
}
