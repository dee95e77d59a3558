package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/peer"
	"weir/core/quorum"
	"weir/core/task"
)

// refusedUnknown: what becomes of the entry cannot be told.
const refusedUnknown uint8 = 100

// forwardTimeout is how long a proposal waits for a leader that takes it.
const forwardTimeout = 10 * time.Second

var forwardRetries = task.BackOff{First: 20 * time.Millisecond, Max: time.Second}

// forwarder proposes records of a node that does not lead the quorum through the one that does. The entry names its origin, so
// that the node completes its proposal when it applies the entry, whatever became of the leader. A proposal is sent again only if it
// certainly is not in the log.
type forwarder struct {
	log     *metadataLog
	nonce   uint64
	number  uint64
	pending map[uint64]*forwarded
	ships   bool               // a request to ship is under way
	applies [appliesMax]uint64 // proposals that were applied last, by number modulo their count
}

// appliesMax is how many of its proposals a node remembers as applied, to notice one that is in the log twice.
const appliesMax = 64

// forwarded is a proposal on its way.
type forwarded struct {
	number   uint64
	record   metadata.Record
	entry    []byte
	done     func(metadata.Outcome, error)
	deadline env.Time
	tries    int
	timer    task.Timer
}

func (f *forwarder) propose(r metadata.Record, done func(metadata.Outcome, error)) {
	f.number++
	n := f.log.node
	origin := metadata.Origin{Node: metadata.BrokerID(n.config.NodeID), Nonce: f.nonce, Number: f.number}
	p := &forwarded{number: f.number, record: r, entry: origin.AppendTo(nil, r.AppendTo(nil)), done: done, deadline: n.loop.Now().Add(forwardTimeout)}
	f.pending[p.number] = p
	f.send(p)
}

func (f *forwarder) send(p *forwarded) {
	n := f.log.node
	n.peers.askLeader(methodPropose, p.entry, forwardTimeout, func(_ []byte, err error) {
		if f.pending[p.number] != p {
			return // it is applied
		}
		var refused *peer.Refusal
		switch {
		case err == nil: // it is in the log, and will be applied here
			n.loop.Reset(&p.timer, forwardTimeout, func() { f.end(p, quorum.ErrUnknown) })
		case errors.As(err, &refused) && refused.Code != refusedUnknown:
			f.again(p, refused)
		default:
			f.end(p, quorum.ErrUnknown)
		}
	})
}

// again sends a proposal that was not taken once more, after a while.
func (f *forwarder) again(p *forwarded, why *peer.Refusal) {
	n := f.log.node
	wait := forwardRetries.Wait(p.tries, n.env.Rand.Uint64("forward retry", p.number, uint64(p.tries)))
	p.tries++
	if n.loop.Now().Add(wait) > p.deadline {
		f.end(p, fmt.Errorf("%w: %s", quorum.ErrNotLeader, why.Text))
		return
	}
	n.loop.Reset(&p.timer, wait, func() { f.send(p) })
}

func (f *forwarder) end(p *forwarded, err error) {
	delete(f.pending, p.number)
	f.log.node.loop.Stop(&p.timer)
	f.log.tell()
	p.done(metadata.Outcome{}, err)
}

// applied completes a proposal of this node whose entry was applied.
func (f *forwarder) applied(o metadata.Origin, index uint64) {
	if o.Nonce != f.nonce || int32(o.Node) != f.log.node.config.NodeID {
		return
	}
	f.once(o.Number)
	p := f.pending[o.Number]
	if p == nil {
		return
	}
	delete(f.pending, p.number)
	f.log.node.loop.Stop(&p.timer)
	f.log.complete(p.record, index, p.done)
}

// once notes that a proposal was applied. One that is applied again was sent again while it was in the log.
func (f *forwarder) once(number uint64) {
	last := &f.applies[number%appliesMax]
	if *last == number {
		f.log.node.telemetry.Hit("node: a proposal was applied twice")
	}
	*last = number
}

// skipped ends all proposals: a snapshot took the place of entries that may have been theirs.
func (f *forwarder) skipped() {
	for _, number := range slices.Sorted(maps.Keys(f.pending)) {
		if p := f.pending[number]; p != nil {
			f.log.node.loop.Post(func() {
				if f.pending[number] == p {
					f.end(p, quorum.ErrUnknown)
				}
			})
		}
	}
}

// ship asks the leader to ship what is applied here.
func (f *forwarder) ship(index uint64) {
	if f.ships {
		return
	}
	f.ships = true
	f.log.node.peers.askLeader(methodShip, binary.LittleEndian.AppendUint64(nil, index), callTimeout, func([]byte, error) { f.ships = false })
}

// proposeFor proposes an entry of another node.
func (m *metadataLog) proposeFor(from int32, body []byte, reply func([]byte, *peer.Refusal)) {
	origin, has, record, err := metadata.SplitOrigin(body)
	if err != nil || !has || int32(origin.Node) != from {
		reply(nil, &peer.Refusal{Code: refusedUnknown, Text: "a proposal without its origin"})
		return
	}
	r, err := m.node.release.decode(record)
	switch {
	case err != nil || metadata.OfController(r):
		reply(nil, &peer.Refusal{Code: refusedUnknown, Text: fmt.Sprintf("a record that only a controller proposes, or none: %v", err)})
		return
	case putOff(r) && m.backlogged():
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: errBacklogged.Error()})
		return
	}
	m.node.quorum.Propose(body, func(_ uint64, err error) {
		switch {
		case err == nil:
			reply(nil, nil)
		case errors.Is(err, quorum.ErrUnknown):
			reply(nil, &peer.Refusal{Code: refusedUnknown, Text: err.Error()})
		case errors.Is(err, quorum.ErrBusy):
			reply(nil, &peer.Refusal{Code: refusedBusy, Text: err.Error()})
		default:
			reply(nil, &peer.Refusal{Code: refusedNotLeader, Text: err.Error()})
		}
	})
}

// shipFor ships what another node waits for.
func (m *metadataLog) shipFor(_ int32, body []byte, reply func([]byte, *peer.Refusal)) {
	if len(body) != 8 || binary.LittleEndian.Uint64(body) > m.node.quorum.Applied() {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "that is not applied here"})
		return
	}
	m.node.quorum.AwaitShipped(binary.LittleEndian.Uint64(body), func() { reply(nil, nil) })
}
