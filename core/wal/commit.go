package wal

import "errors"

// thresholdMin is the fewest bytes that overlap a write in flight.
const thresholdMin = 4096

// groupCommit takes sealed groups to the medium, several at a time, and acknowledges them in order.
type groupCommit struct {
	log       *Log
	sealed    []*group // waiting to be written, in order
	inFlight  []*group // submitted, in order; some may be written already, but not all before them
	next      uint64   // sequence of the first group that is not durable
	writing   int      // of them, those that the medium still has
	bytes     int64    // in flight
	threshold int64    // see mayOverlap
	confirmed uint64   // tickets up to this one are
}

func (c *groupCommit) empty() bool { return len(c.sealed)+len(c.inFlight) == 0 }

// step seals what has gathered if it may be written now.
func (c *groupCommit) step() {
	if g := c.log.gather.open; g != nil && len(c.sealed) == 0 && c.log.medium.due(g) {
		c.log.summary.atSeal()
		c.log.gather.seal()
	}
	c.submit()
}

// submit writes sealed groups while the limits allow it. The medium has a number of writes at
// most; one that it delays is overtaken by others, but only so far: bytes count from the first group
// that is not durable, so that recovery knows how far a hole can reach.
func (c *groupCommit) submit() {
	l := c.log
	for len(c.sealed) > 0 && l.medium.admits() {
		g := c.sealed[0]
		if len(c.inFlight) > 0 && c.bytes+int64(g.header.bytes) > l.config.inFlightBytes() {
			return
		}
		c.sealed = popFront(c.sealed)
		c.inFlight = append(c.inFlight, g)
		c.writing++
		c.bytes += int64(g.header.bytes)
		g.header.durable = l.marks.durable
		g.arrived, g.began = l.gather.arrived, l.loop.Now()
		l.medium.write(g)
	}
}

// popFront shifts instead of slicing, so that the backing array is used for ever.
func popFront(queue []*group) []*group {
	n := copy(queue, queue[1:])
	queue[n] = nil
	return queue[:n]
}

// mayOverlap is group commit's one knob on a device. With no write in flight what has gathered goes at once: at
// a low rate nothing waits. While a write is in flight a further one may overlap it only once
// threshold bytes have gathered. The threshold is half of what arrives during one write, learnt as
// a moving average from the bytes placed between submit and completion: about two writes are then
// in flight in the steady state, each as large as the load makes it, so groups grow with load and
// with the medium's latency, and a write that the medium delays is overtaken by others. No clock
// enters; the byte counter is the clock.
func (c *groupCommit) mayOverlap(g *group) bool {
	l := c.log
	return c.writing == 0 || c.writing < l.config.WritesInFlightMax && (int64(g.used) >= c.threshold || l.closing != nil)
}

// learn moves the threshold towards half of what arrived during g's write.
func (c *groupCommit) learn(g *group) {
	half := (c.log.gather.arrived - g.arrived) / 2
	c.threshold += (half - c.threshold) / 8
	c.threshold = min(max(c.threshold, thresholdMin), int64(c.log.config.GroupBytesMax))
}

// written takes a completed write.
func (c *groupCommit) written(g *group) {
	l := c.log
	c.writing--
	if l.err != nil {
		c.giveBack(g)
		return
	}
	g.written = true
	c.learn(g)
	l.metrics.writeLatency.Observe(int64(l.loop.Now().Sub(g.began)))
	l.metrics.groupBytes.Observe(int64(g.header.bytes))
	l.metrics.bytes.Add(int64(g.header.bytes))
	l.metrics.groups.Add(1)
	c.settle()
}

// settle makes groups durable, from the front.
func (c *groupCommit) settle() {
	l := c.log
	for l.err == nil && len(c.inFlight) > 0 && c.inFlight[0].written && c.inFlight[0].ticket <= c.confirmed {
		c.acknowledge(c.inFlight[0])
	}
	l.metrics.used.Set(l.Used())
}

// acknowledge makes the first group in flight durable and tells its owners, who may append.
func (c *groupCommit) acknowledge(g *group) {
	c.inFlight = popFront(c.inFlight)
	c.bytes -= int64(g.header.bytes)
	c.log.marks.durable, c.next = g.end(), g.header.sequence+1
	for _, a := range g.appends {
		a.Owner.Durable(a)
	}
	g.slab.Release()
	c.log.gather.recycle(g)
}

// drop gives up what is not durable. What the medium still has is released when its write completes.
func (c *groupCommit) drop() {
	for _, g := range c.inFlight {
		if g.written {
			c.giveBack(g)
		}
	}
	for _, g := range c.sealed {
		c.giveBack(g)
	}
	c.sealed, c.inFlight = nil, nil
}

// giveBack gives up a group that the medium has no more, and returns what was lent for it if the log was given up.
func (c *groupCommit) giveBack(g *group) {
	g.slab.Release()
	if !errors.Is(c.log.err, errGivenUp) {
		return
	}
	for _, a := range g.appends {
		if o, ok := a.Owner.(Returner); ok {
			o.Returned(a)
		}
	}
}
