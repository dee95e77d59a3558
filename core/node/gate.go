package node

import "weir/core/env"

// gate stands between the listeners and the broker: connections that come before
// the broker may answer are muted, and handed over with what was read of them.
type gate struct {
	network env.Network
	broker  env.ConnHandler
	early   []*earlyConn
}

// earlyConn is a connection that came before the broker.
type earlyConn struct {
	id     env.ConnID
	info   env.ConnInfo
	frames []earlyFrame
}

// earlyFrame is a frame that was read before the connection was muted.
type earlyFrame struct {
	message any
	frame   *env.Frame
}

// open hands everything over, in the order in which it came.
func (g *gate) open(broker env.ConnHandler) {
	g.broker = broker
	for _, c := range g.early {
		broker.Opened(c.id, c.info)
		g.network.Unmute(c.id)
		for _, f := range c.frames {
			broker.Received(c.id, f.message, f.frame)
		}
	}
	g.early = nil
}

// Opened implements env.ConnHandler.
func (g *gate) Opened(id env.ConnID, info env.ConnInfo) {
	if g.broker != nil {
		g.broker.Opened(id, info)
		return
	}
	g.network.Mute(id)
	g.early = append(g.early, &earlyConn{id: id, info: info})
}

// Received implements env.ConnHandler.
func (g *gate) Received(id env.ConnID, message any, frame *env.Frame) {
	if g.broker != nil {
		g.broker.Received(id, message, frame)
		return
	}
	c := g.early[g.find(id)]
	c.frames = append(c.frames, earlyFrame{message, frame})
}

// Closed implements env.ConnHandler.
func (g *gate) Closed(id env.ConnID, reason error) {
	if g.broker != nil {
		g.broker.Closed(id, reason)
		return
	}
	i := g.find(id)
	for _, f := range g.early[i].frames {
		g.network.Release(f.frame)
	}
	g.early = append(g.early[:i], g.early[i+1:]...)
}

func (g *gate) find(id env.ConnID) int {
	for i, c := range g.early {
		if c.id == id {
			return i
		}
	}
	panic("node: an event of a connection that was never opened")
}
