package socket

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"weir/core/env"
)

const (
	tickMax   = time.Second
	tickMin   = 5 * time.Millisecond
	lingerMax = time.Second

	// frameRate is the pace that a frame must have beyond its timeout, contendedRate
	// that while others wait for its pool and half-read frames hold heldShare of the pool.
	frameRate     = 256 << 10 // bytes a second
	contendedRate = 4 << 20
	heldShare     = 4 // a quarter
	// contendedPart of FrameTimeout is what a frame has then before its pace counts.
	contendedPart = 10
	// largeFrame is the largest frame that is charged to the pool of small frames.
	largeFrame = 64 << 10
)

// watch looks at the deadlines of all connections, several times in the shortest of
// them. It is what time is to the readers and writers, who read no clock.
func (n *Network) watch() {
	ticker := time.NewTicker(n.tickEvery())
	defer ticker.Stop()
	var conns []*conn
	for {
		select {
		case <-ticker.C:
		case <-n.quit:
			return
		}
		now := max(1, int64(time.Since(n.start)))
		n.tick.Store(now)
		n.mu.Lock()
		conns = n.snapshot(conns[:0])
		n.mu.Unlock()
		n.enforce(conns, now)
		n.report(len(conns))
		clear(conns)
	}
}

func (n *Network) tickEvery() time.Duration {
	every := min(tickMax, n.o.FrameTimeout/contendedPart, n.o.WriteTimeout/8)
	if n.o.IdleTimeout > 0 {
		every = min(every, n.o.IdleTimeout/8)
	}
	return max(tickMin, every)
}

// enforce closes the connections that are past a deadline.
func (n *Network) enforce(conns []*conn, now int64) {
	var held [poolCount]int64
	for _, c := range conns {
		held[c.framePool.Load()] += c.frameBytes.Load()
	}
	for _, c := range conns {
		p := c.framePool.Load()
		contended := held[p] >= n.pools[p].total/heldShare && n.pools[p].contended(&c.source.accounts[p])
		if reason := c.overdue(now, contended); reason != nil {
			n.counts.overdue.Add(1)
			c.fail(reason)
		}
	}
}

// overdue says which deadline the connection is past, if any.
func (c *conn) overdue(now int64, contended bool) error {
	o := &c.network.o
	past := func(since int64, d time.Duration) bool { return since != 0 && now-since > int64(d) }
	switch {
	case past(c.lingers.Load(), lingerMax):
		return ErrClosed
	case past(c.writeSince.Load(), o.WriteTimeout):
		return ErrStalled
	case c.slow(past, contended):
		return ErrSlow
	case o.IdleTimeout > 0 && past(c.active.Load(), o.IdleTimeout) && c.idle():
		return ErrIdle
	}
	return nil
}

// slow says that the frame under way lags behind the pace.
func (c *conn) slow(past func(int64, time.Duration) bool, contended bool) bool {
	since, got := c.frameSince.Load(), c.frameGot.Load()
	if past(since, c.network.o.FrameTimeout+pace(got, frameRate)) {
		return true
	}
	return contended && c.frameBytes.Load() > 0 && past(since, c.network.o.FrameTimeout/contendedPart+pace(got, contendedRate))
}

// pace is how long bytes take at a rate.
func pace(bytes, rate int64) time.Duration {
	return time.Duration(bytes * int64(time.Second) / rate)
}

// idle says that it is not this broker that keeps the connection waiting.
func (c *conn) idle() bool {
	return !c.muted.Load() && !c.parked.Load() && !c.queued.Load() && c.ahead.Load() == 0 && c.writeSince.Load() == 0
}

// counts are the network's metrics, and what its next log line will say.
type counts struct {
	accepted, refused, overdue, foreignTotal, unproved, frames, received, sent, budgetWaits env.Counter
	connections, budgetUsed                                                                 env.Gauge
	budgetWaitsSeen                                                                         int64

	mu          sync.Mutex
	newRefusals int64
	lastRefused netip.Addr
	foreigners  foreigners
	strangers   strangers
}

func (k *counts) init(m env.Metrics) {
	if m == nil {
		m = silent{}
	}
	k.accepted = m.Counter("weir_network_connections_accepted_total", "Connections accepted.")
	k.refused = m.Counter("weir_network_connections_refused_total", "Connections closed at once because there were too many.")
	k.overdue = m.Counter("weir_network_connections_overdue_total", "Connections closed because they were idle, slow, or took nothing.")
	k.unproved = m.Counter("weir_network_connections_unproved_total", "Connections closed because they did not prove by a certificate who they are.")
	k.foreignTotal = m.Counter("weir_network_connections_foreign_total", "Connections closed because they spoke TLS or HTTP instead of Kafka's protocol.")
	k.frames = m.Counter("weir_network_frames_received_total", "Frames received.")
	k.received = m.Counter("weir_network_received_bytes_total", "Bytes read from sockets.")
	k.sent = m.Counter("weir_network_sent_bytes_total", "Bytes written to sockets.")
	k.budgetWaits = m.Counter("weir_network_budget_waits_total", "Frames that waited for the budget of frames.")
	k.connections = m.Gauge("weir_network_connections", "Open connections.")
	k.budgetUsed = m.Gauge("weir_network_budget_used_bytes", "Bytes reserved for frames.")
}

func (k *counts) refuse(ip netip.Addr) {
	k.refused.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.newRefusals++
	k.lastRefused = ip
}

// report sets the gauges, and logs refusals since the last time in one line.
func (n *Network) report(connections int) {
	k := &n.counts
	used, _, waits := n.pools.state()
	k.connections.Set(int64(connections))
	k.budgetUsed.Set(used)
	k.budgetWaits.Add(waits - k.budgetWaitsSeen)
	k.budgetWaitsSeen = waits
	k.mu.Lock()
	refusals, ip := k.newRefusals, k.lastRefused
	k.newRefusals = 0
	k.mu.Unlock()
	if refusals > 0 {
		n.log(slog.LevelWarn, "connections were closed at once: there are as many as max.connections or max.connections.per.ip allow",
			slog.Int64("count", refusals), slog.String("last", ip.String()), slog.Int("open", connections))
	}
	n.reportForeigners(time.Now())
	n.reportStrangers(time.Now())
}

// silent counts nothing.
type silent struct{}

func (silent) Counter(string, string) env.Counter     { return silent{} }
func (silent) Gauge(string, string) env.Gauge         { return silent{} }
func (silent) Histogram(string, string) env.Histogram { return silent{} }
func (silent) Add(int64)                              {}
func (silent) Set(int64)                              {}
func (silent) Observe(int64)                          {}
