package partition

import (
	"log/slog"
	"time"

	"weir/core/clean"
	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/stream"
	"weir/core/task"
)

const (
	// cleanLooksInTurn is how many partitions are looked at in one turn of the loop.
	cleanLooksInTurn = 256
	cleanIntervalMin = time.Second
)

// cleanRetries is how long a partition whose pass failed is left alone.
var cleanRetries = task.BackOff{First: 15 * time.Second, Max: time.Hour}

// cleaning chooses which partition is compacted by key next, as Kafka's cleaner does: the one with the largest share of dirty
// bytes. One pass runs at a time; after it, the search begins anew at once, so that all get their turn.
type cleaning struct {
	timer  task.Timer
	next   metadata.StreamID // of a search under way: the first not looked at yet
	chosen *Partition
	ratio  int64
}

// failing is how the passes over a partition go.
type failing struct {
	passes int      // in a row that failed
	until  env.Time // none begins before
}

func (m *Manager) armCleaning() {
	if m.options.CleanInterval > 0 {
		m.loop.Reset(&m.cleaning.timer, max(m.options.CleanInterval, cleanIntervalMin), m.search)
	}
}

// search looks through the partitions, some in each turn, and starts a pass over the dirtiest that is due.
func (m *Manager) search() {
	c := &m.cleaning
	if c.next == 0 {
		c.chosen, c.ratio = nil, -1
	}
	at, _ := m.searchPartition(c.next)
	end := min(at+cleanLooksInTurn, len(m.partitions))
	for _, p := range m.partitions[at:end] {
		if plan, due := p.cleanPlan(); due && plan.Ratio() > c.ratio {
			c.chosen, c.ratio = p, plan.Ratio()
		}
	}
	if end < len(m.partitions) {
		c.next = m.partitions[end].Stream
		m.loop.Reset(&c.timer, 0, m.search)
		return
	}
	c.next = 0
	if c.chosen == nil || !c.chosen.clean() {
		m.armCleaning()
	}
	c.chosen = nil
}

// cleanPlan plans a pass, and says whether it is due.
func (p *Partition) cleanPlan() (clean.Plan, bool) {
	c := &p.topic.config
	if !c.Compacted() || p.closed != 0 || p.manager.loop.Now() < p.failing.until {
		return clean.Plan{}, false
	}
	config := cleanConfig(c)
	plan := p.log.CleanPlan(p.LastStable(), p.manager.env.Clock.WallMillis(), &config)
	return plan, plan.Due(&config)
}

func cleanConfig(c *config.Topic) clean.Config {
	return clean.Config{DirtyRatio: c.DirtyRatio, MinLag: c.MinCompactionLagMillis, MaxLag: c.MaxCompactionLagMillis}
}

// clean starts a pass if it is still due.
func (p *Partition) clean() bool {
	plan, due := p.cleanPlan()
	if !due {
		return false
	}
	m := p.manager
	p.log.Clean(stream.Cleaning{
		Plan: plan, Now: m.env.Clock.WallMillis(), DeleteRetention: p.topic.config.DeleteRetentionMillis,
		Producers: p.state.lastRecords(), Done: p.cleaned,
	})
	return true
}

// cleaned hears the end of a pass.
func (p *Partition) cleaned(err error) {
	m := p.manager
	if m.stopped {
		return
	}
	if err == nil || p.closed != 0 {
		p.failing = failing{}
		m.loop.Reset(&m.cleaning.timer, 0, m.search)
		return
	}
	p.failing.passes++
	draw := m.env.Rand.Uint64("clean retry", uint64(p.Stream), uint64(p.failing.passes))
	p.failing.until = m.loop.Now().Add(cleanRetries.Wait(p.failing.passes-1, draw))
	m.operators.Warn(m.options.Telemetry, "clean", m.loop.Now(), "a partition could not be compacted by key, it is tried again",
		slog.String("topic", p.Name), slog.Int64("partition", int64(p.Index)), slog.String("error", err.Error()))
	m.armCleaning()
}

// lastRecords is what a pass must not take of the producers that are known, so that what the log says of each is what its
// readers can still find: the last sequence or, where a marker is all, the epoch.
func (s *State) lastRecords() map[int64]clean.LastRecord {
	last := make(map[int64]clean.LastRecord, len(s.producers))
	for _, p := range s.producers {
		w := &p.durable
		if w.epoch == noEpoch {
			continue
		}
		r := clean.LastRecord{Data: -1, Epoch: w.epoch}
		if w.n > 0 {
			r.Data = w.batches[w.n-1].end() - 1
		}
		last[p.id] = r
	}
	return last
}
