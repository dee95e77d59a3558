package clean

import (
	"iter"
	"math"
)

// Config is the configuration of a compacted topic, times in milliseconds.
type Config struct {
	// DirtyRatio is min.cleanable.dirty.ratio, in millionths.
	DirtyRatio int64
	// MinLag is min.compaction.lag.ms, and MaxLag max.compaction.lag.ms.
	MinLag, MaxLag int64
}

// Part is a part of a stored log, as the plan sees it.
type Part struct {
	Start, End int64
	Bytes      int64
	// Timestamp is the largest of its records, or when it was stored if none has one; -1: not known.
	Timestamp int64
}

// Plan says what a pass would do.
type Plan struct {
	// Dirty is where what no pass has read begins; End is where the pass ends.
	Dirty, End int64
	// CleanBytes and DirtyBytes are what lies before and behind Dirty.
	CleanBytes, DirtyBytes int64
	// Overdue says that a record waited for longer than MaxLag.
	Overdue bool
}

// PlanOf plans a pass over the parts of a log, which are ascending. cleaned is where the last pass ended; what lies at or
// above limit, the last stable offset, is not cleaned. A part is cleaned whole or not at all.
func PlanOf(parts iter.Seq[Part], cleaned, limit, now int64, c *Config) Plan {
	p := Plan{Dirty: cleaned, End: cleaned}
	for q := range parts {
		if q.End <= cleaned {
			p.CleanBytes += q.Bytes
			continue
		}
		if q.End > limit || c.MinLag > 0 && q.Timestamp > now-c.MinLag {
			break
		}
		p.End = q.End
		p.DirtyBytes += q.Bytes
		p.Overdue = p.Overdue || q.Timestamp >= 0 && q.Timestamp < now-c.MaxLag
	}
	return p
}

// Ratio is the share of the dirty bytes, in millionths.
func (p *Plan) Ratio() int64 {
	if p.DirtyBytes <= 0 {
		return 0
	}
	dirty, all := p.DirtyBytes, p.CleanBytes+p.DirtyBytes
	for all > math.MaxInt64/ratioWhole {
		dirty, all = dirty/2, all/2
	}
	return dirty * ratioWhole / all
}

const ratioWhole = 1_000_000

// Due reports whether the pass is worth its work, or has to be made.
func (p *Plan) Due(c *Config) bool {
	return p.End > p.Dirty && (p.Overdue || p.Ratio() > c.DirtyRatio)
}
