package stream

import (
	"weir/core/metadata"
	"weir/core/wal"
)

// glance is what the last records of a dead log are, before all of it is read: whoever has read a partition up to its end misses those only, and
// does not wait for what lies before. They are read from there until all of the log was read, and uploaded then.
type glance struct {
	logs   *recoveredLogs
	tail   *tail
	ranges map[rangeKey]*tailStream
}

func newGlance(r *recovery) *glance {
	g := &glance{logs: r.logs, tail: &tail{epoch: r.tail.epoch, glance: true, reading: true}, ranges: make(map[rangeKey]*tailStream)}
	for _, t := range r.tail.streams {
		last := &tailStream{tail: g.tail, id: t.id, leaderEpoch: t.leaderEpoch, start: t.start, limit: t.limit}
		last.entries.pool = g.logs.notes
		g.tail.streams = append(g.tail.streams, last)
		g.ranges[rangeKey{t.id, t.leaderEpoch}] = last
	}
	return g
}

// take looks for the last records, and goes on with then, whether it found any or not: what is wrong with the log is found, and told, when it is read.
func (g *glance) take(at wal.Stored, then func()) {
	l := g.logs
	wal.RecoverLatestSealed(l.Loop, l.Env, at, g.opened, g.visit, func(sealed *wal.Sealed, err error) {
		if sealed != nil {
			g.tail.sealed = sealed
		}
		if err != nil || l.stopping {
			g.drop()
		} else {
			l.Telemetry.Hit("stream recover: the last of a log was found before the rest")
		}
		then()
	})
}

func (g *glance) opened(sealed *wal.Sealed) {
	if !g.logs.stopping && sealed.BrokerEpoch == int64(g.tail.epoch) {
		g.tail.sealed = sealed
		g.logs.keep(g.tail)
	}
}

// visit notes a batch, unless something is missing before it, or wrong with it: then nothing is taken of its range.
func (g *glance) visit(n wal.Entry) {
	t := g.ranges[rangeKey{metadata.StreamID(n.Stream), n.LeaderEpoch}]
	if t == nil || t.gone || n.BaseOffset < t.start || n.BaseOffset >= t.limit {
		return
	}
	if t.entries.len() == 0 {
		t.next = n.BaseOffset
	}
	if n.BaseOffset == t.next {
		if _, ok := t.take(&n); ok {
			return
		}
	}
	t.leave()
}

// drop forgets what was found, once all of the log was read, or not even this could be.
func (g *glance) drop() {
	if g == nil || g.tail.sealed == nil {
		return
	}
	g.logs.forget(g.tail)
	g.tail.sealed.Close()
	g.tail.sealed = nil
}
