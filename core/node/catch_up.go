package node

import (
	"encoding/binary"
	"time"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/peer"
	"weir/core/task"
	"weir/core/wire"
)

// catchUpPoll is how often a node looks whether it has applied what the leader named.
const catchUpPoll = 20 * time.Millisecond

// catchUpTry is how long a leader may take to name the index, before whoever leads then is asked.
const catchUpTry = 2 * time.Second

// errCatchUp is what a request is refused with that needs the newest image.
var errCatchUp = &controller.Error{Code: wire.NotController, Message: "The metadata's quorum has no leader at present, or this broker does not reach it."}

// CatchUp implements broker.Cluster: it calls done, at once or in a later step of the loop, once the image has everything that was committed when it was called;
// with a *controller.Error if no leader says so within timeout. A node that is alone decides what is committed, and has it all.
func (of clusterOf) CatchUp(timeout time.Duration, done func(error)) {
	n := of.node
	if n.peers == nil {
		done(nil)
		return
	}
	c := &catchUp{node: n, deadline: n.loop.Now().Add(timeout), done: done}
	c.ask()
}

// catchUp is one wait for the newest image.
type catchUp struct {
	node     *Node
	deadline env.Time
	index    uint64 // to be applied; 0 until the leader has named it
	tries    int
	timer    task.Timer
	done     func(error)
}

func (c *catchUp) ask() {
	try := min(catchUpTry, c.deadline.Sub(c.node.loop.Now()))
	c.node.peers.askLeader(methodCatchUp, nil, try, func(body []byte, err error) {
		if err != nil || len(body) != 8 {
			c.again()
			return
		}
		c.index = binary.LittleEndian.Uint64(body)
		c.await()
	})
}

// again asks once more after a while: the quorum may be about to elect a leader.
func (c *catchUp) again() {
	wait := forwardRetries.Wait(c.tries, c.node.env.Rand.Uint64("catch up retry", c.node.metadata.image.AppliedIndex(), uint64(c.tries)))
	c.tries++
	c.later(wait, c.ask)
}

func (c *catchUp) await() {
	if c.node.quorum.Applied() >= c.index {
		c.done(nil)
		return
	}
	c.later(catchUpPoll, c.await)
}

func (c *catchUp) later(wait time.Duration, f func()) {
	n := c.node
	if n.failed || n.loop.Now().Add(wait) > c.deadline {
		c.done(errCatchUp)
		return
	}
	n.loop.Reset(&c.timer, wait, f)
}

// catchUp waits, however long, until the image has everything that was committed when it began.
func (n *Node) catchUp(p *task.Proc) error {
	err := error(errCatchUp)
	for err != nil && !n.failed {
		p.Await(func(wake func()) {
			clusterOf{n}.CatchUp(callTimeout, func(e error) {
				err = e
				wake()
			})
		})
	}
	return nil
}

// confirmIndex answers with the index that holds everything that anybody knew when the request was sent.
func (w *peers) confirmIndex(_ int32, _ []byte, reply func([]byte, *peer.Refusal)) {
	w.node.quorum.ConfirmLeadership(func(leads bool) {
		if !leads {
			reply(nil, &peer.Refusal{Code: refusedNotLeader, Text: "this node does not lead the metadata's quorum any more"})
			return
		}
		reply(binary.LittleEndian.AppendUint64(nil, w.node.quorum.Applied()), nil)
	})
}
