package node

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/peer"
	"weir/core/quorum"
	"weir/core/task"
)

// ErrFenced ends an incarnation whose epoch has ended: the others took it for dead. A new one may start at once.
var ErrFenced = errors.New("this broker's epoch has ended: it did not renew its lease in time, and others take over its partitions; it starts anew")

// lease is until when this broker may acknowledge writes and serve reads (R9). It is the broker's side of controller.Sessions.
type lease struct {
	node     *Node
	until    env.Time
	number   uint64   // of the last heartbeat that was sent
	answered uint64   // of the newest that was answered
	sent     env.Time // when that of number was sent
	waiting  bool
	timer    task.Timer
	lapsed   bool // it was said that the lease is over
	left     bool // it was given up
}

// Leased reports whether this broker may acknowledge and serve now. A node that has no peers needs no lease: nobody else can
// take its partitions.
func (n *Node) leased() bool {
	l := &n.lease
	if l.node == nil || n.loop.Now() < l.until {
		return true
	}
	if !l.lapsed {
		l.lapsed = true
		n.telemetry.Hit("node: the lease lapsed")
		n.lines.Warn(n.telemetry, "lease", n.loop.Now(),
			"this broker's lease has ended, and it serves nothing until it is renewed: the active controller does not answer; a majority of the quorum's voters must run and be reached")
	}
	return false
}

// epochEnded reports whether the image says that this incarnation's epoch is over. What follows in the log may be of whoever
// took over: a recoverer may commit what this broker's log had in flight, and this broker never knew to be durable.
func (n *Node) epochEnded() bool {
	return n.peers != nil && n.epoch != 0 && !n.failed && !n.metadata.image.Current(n.epoch)
}

// keepLease renews the lease for as long as the incarnation lasts, until it gives the lease up at the end of its shutdown: before,
// it answers clients and owes uploads.
func (n *Node) keepLease() {
	if n.peers == nil {
		return
	}
	n.lease.node = n
	n.lease.renew()
}

func (l *lease) renew() {
	n := l.node
	if n.failed || l.left {
		return
	}
	n.loop.Reset(&l.timer, n.config.Cluster.HeartbeatInterval, l.renew)
	if l.waiting && n.loop.Now().Sub(l.sent) < n.config.Cluster.SessionTimeout/2 {
		return
	}
	l.number++
	l.waiting, l.sent = true, n.loop.Now()
	number, sent := l.number, l.sent
	n.peers.askLeader(methodHeartbeat, l.heartbeat(false), n.config.Cluster.SessionTimeout, func(_ []byte, err error) {
		if number == l.number {
			l.waiting = false
		}
		var refused *peer.Refusal
		switch {
		case err == nil:
			l.granted(number, sent)
		case errors.As(err, &refused) && refused.Code == refusedEnded:
			n.fail(ErrFenced)
		}
	})
}

func (l *lease) granted(number uint64, sent env.Time) {
	if l.left {
		return
	}
	l.until = max(l.until, sent.Add(l.node.config.Cluster.Lease()))
	l.answered = max(l.answered, number)
	if l.lapsed && l.node.loop.Now() < l.until {
		l.lapsed = false
		l.node.telemetry.Info("this broker's lease was renewed; it serves again")
	}
}

// A heartbeat has heartbeatBytes; those of a cluster below controller.CleaningLevel end with leaving, before health (R13).
const (
	heartbeatBytes = heartbeatBare + 17
	heartbeatBare  = 45

	walSick   = 1
	storeSick = 2
)

// heartbeat is what is sent: i32 broker, i64 epoch, u64 number, u64 answered, u64 applied index, u64 lowest object id in use, u8 1 if the broker
// leaves, u8 flags of what is sick, i64 bytes in the log, i64 bytes that it may hold.
func (l *lease) heartbeat(leaves bool) []byte {
	order := binary.LittleEndian
	b := order.AppendUint32(nil, uint32(l.node.config.NodeID))
	b = order.AppendUint64(b, uint64(l.node.epoch))
	b = order.AppendUint64(b, l.number)
	b = order.AppendUint64(b, l.answered)
	b = order.AppendUint64(b, l.node.metadata.AppliedIndex())
	floor := metadata.ObjectID(0)
	if l.node.engine != nil {
		floor = l.node.engine.ObjectFloor()
	}
	b = order.AppendUint64(b, uint64(floor))
	leaving, sick := byte(0), byte(0)
	if leaves {
		leaving = 1
	}
	if l.node.logHangs() {
		sick |= walSick
	}
	if l.node.store.Unreachable(l.node.config.Cluster.SessionTimeout / 4) {
		sick |= storeSick
	}
	if min(int16(l.node.release), l.node.metadata.image.Feature(controller.MetadataFeature)) < controller.CleaningLevel {
		return append(b, leaving) // a controller of an older release knows no more
	}
	use := l.node.logUse()
	b = order.AppendUint64(append(b, leaving, sick), uint64(use.Bytes))
	return order.AppendUint64(b, uint64(use.BytesMax))
}

// readsHeartbeat reports whether the release knows heartbeats of so many bytes.
func (r release) readsHeartbeat(bytes int) bool {
	return bytes == heartbeatBare || bytes == heartbeatBytes && r >= controller.CleaningLevel
}

// logHangs reports whether a write to the log, or the recovery of one, gets nowhere (R13). A log in the object store is as well as that is.
func (n *Node) logHangs() bool {
	switch session := n.config.Cluster.SessionTimeout; {
	case n.config.WALObject:
		return false
	case n.log != nil:
		return n.log.Waits() >= session/4
	default:
		return n.progress > 0 && n.loop.Now().Sub(n.progress) >= session
	}
}

func (n *Node) logUse() controller.LogUse {
	if n.log == nil {
		return controller.LogUse{Bytes: -1, BytesMax: n.config.WALBytes}
	}
	return controller.LogUse{Bytes: n.log.Used(), BytesMax: n.log.Size()}
}

// leave gives the lease up, for the others to go on at once; done runs when the controller knows it, or after a while.
func (l *lease) leave(done func()) {
	n := l.node
	l.left, l.until = true, 0
	n.loop.Stop(&l.timer)
	deadline := n.loop.Now().Add(leaveTimeout)
	var ask func()
	ask = func() {
		n.peers.askLeader(methodHeartbeat, l.heartbeat(true), leaveTimeout, func(_ []byte, err error) {
			var refused *peer.Refusal
			if errors.As(err, &refused) && refused.Code == refusedNotLeader && n.loop.Now() < deadline {
				n.loop.After(startPoll, ask) // another is being elected
				return
			}
			done()
		})
	}
	ask()
}

// leaveTimeout bounds how long a shutdown waits for the controller.
const leaveTimeout = 2 * time.Second

// heartbeatOf takes another broker's heartbeat, or this one's.
func (n *Node) heartbeatOf(from int32, b []byte, reply func([]byte, *peer.Refusal)) {
	order := binary.LittleEndian
	if !n.release.readsHeartbeat(len(b)) || int32(order.Uint32(b)) != from {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "malformed"})
		return
	}
	h := controller.Heartbeat{
		Broker: metadata.BrokerID(from), Epoch: metadata.BrokerEpoch(order.Uint64(b[4:])), Number: order.Uint64(b[12:]),
		Answered: order.Uint64(b[20:]), Applied: order.Uint64(b[28:]), Floor: metadata.ObjectID(order.Uint64(b[36:])), Leaves: b[44] != 0,
		Log: controller.LogUse{Bytes: -1, BytesMax: -1},
	}
	if len(b) == heartbeatBytes {
		h.WALSick, h.StoreSick = b[45]&walSick != 0, b[45]&storeSick != 0
		h.Log = controller.LogUse{Bytes: int64(order.Uint64(b[46:])), BytesMax: int64(order.Uint64(b[54:]))}
	}
	if n.sweeper != nil && n.metadata.image.Current(h.Epoch) {
		n.sweeper.InUseFloor(h.Epoch, h.Floor)
	}
	n.sessions.Renew(h, func() { reply(nil, nil) }, func() {
		reply(nil, &peer.Refusal{Code: refusedEnded, Text: "the epoch has ended"})
	})
}

// registerFor registers an incarnation of another broker, or of this one.
func (n *Node) registerFor(from int32, b []byte, reply func([]byte, *peer.Refusal)) {
	decoded, err := metadata.DecodeRecord(b)
	r, ok := decoded.(*metadata.RegisterBroker)
	if err != nil || !ok || int32(r.ID) != from {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "malformed"})
		return
	}
	n.sessions.Register(r, func(err error) {
		if err != nil {
			n.telemetry.Warn("a broker could not be registered", slog.Int64("broker", int64(from)), slog.String("error", err.Error()))
			code := refusedBusy
			if errors.Is(err, metadata.ErrEpochEnded) {
				code = refusedEnded
			}
			reply(nil, &peer.Refusal{Code: code, Text: err.Error()})
			return
		}
		reply(nil, nil)
	})
}

// registerAtLeader registers this incarnation, or says anew where it listens, and waits until the image has it. It asks again until
// then: the leader may change meanwhile.
func (n *Node) registerAtLeader(p *task.Proc, b metadata.Broker) (metadata.BrokerEpoch, error) {
	r := &metadata.RegisterBroker{ID: b.ID, Incarnation: b.Incarnation, Rack: b.Rack, Listeners: b.Listeners, Peer: n.peers.address, SharedWAL: n.config.WALShared, ObjectWAL: n.config.WALObject}
	body := r.AppendTo(nil)
	for !n.failed {
		asked, ended := false, false
		n.peers.askLeader(methodRegister, body, n.config.Cluster.Term()+callTimeout, func(_ []byte, err error) {
			var refused *peer.Refusal
			asked, ended = true, errors.As(err, &refused) && refused.Code == refusedEnded
		})
		for !n.failed {
			if known, ok := n.metadata.image.Broker(b.ID); ok && known.Incarnation == b.Incarnation && len(known.Listeners) == len(b.Listeners) {
				if known.Fenced {
					return 0, ErrFenced
				}
				index := n.metadata.AppliedIndex()
				if n.unshipped.wait {
					p.Await(func(wake func()) { n.metadata.awaitShipped(index, wake) })
				}
				return known.Epoch, nil
			}
			if ended {
				return 0, ErrFenced
			}
			if asked {
				break
			}
			p.Sleep(startPoll)
		}
		p.Sleep(startPoll)
	}
	return 0, quorum.ErrClosed
}
