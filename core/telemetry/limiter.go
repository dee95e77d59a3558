package telemetry

import (
	"log/slog"
	"time"

	"weir/core/env"
)

// limiterCausesMax bounds the causes that one Limiter tells apart. A stranger may be able to make up
// causes; those beyond the bound share one line.
const limiterCausesMax = 64

// Limiter decides which lines for operators are written when the same failure repeats: the first line
// of a cause at once, then one per interval, which says how many were left out in between. It keeps no
// clock: the caller passes the time of its loop. It is not safe for concurrent use; a driver that is
// called from many goroutines locks around it. The zero value writes every line.
type Limiter struct {
	interval time.Duration
	causes   []limitedCause // at most limiterCausesMax and the one that stands for all others
}

// limitedCause is what a Limiter remembers of one cause.
type limitedCause struct {
	name    string
	allowed env.Time // when its last line was written
	omitted int64    // lines left out since
}

// NewLimiter returns a limiter that allows one line per cause and interval.
func NewLimiter(interval time.Duration) *Limiter { return &Limiter{interval: interval} }

// Allow reports whether to write a line about cause now, and how many lines of that cause were left
// out since the last one that was written.
func (l *Limiter) Allow(cause string, now env.Time) (omitted int64, ok bool) {
	c := l.find(cause, now)
	if c == nil {
		return 0, true
	}
	if now.Sub(c.allowed) < l.interval {
		c.omitted++
		return 0, false
	}
	omitted = c.omitted
	c.allowed, c.omitted = now, 0
	return omitted, true
}

// Info writes a line on a normal event if the limiter allows one; see [Limiter.Log].
func (l *Limiter) Info(r *Registry, cause string, now env.Time, message string, attrs ...slog.Attr) {
	l.Log(r.log, slog.LevelInfo, cause, now, message, attrs...)
}

// Warn writes a warning if the limiter allows one; see [Limiter.Log].
func (l *Limiter) Warn(r *Registry, cause string, now env.Time, message string, attrs ...slog.Attr) {
	l.Log(r.log, slog.LevelWarn, cause, now, message, attrs...)
}

// Error writes an error if the limiter allows one; see [Limiter.Log].
func (l *Limiter) Error(r *Registry, cause string, now env.Time, message string, attrs ...slog.Attr) {
	l.Log(r.log, slog.LevelError, cause, now, message, attrs...)
}

// Log writes a line if the limiter allows one. The attribute "left_out" counts the lines of the same
// cause that were not written since the last one; it is absent if there were none.
func (l *Limiter) Log(log env.Logger, level slog.Level, cause string, now env.Time, message string, attrs ...slog.Attr) {
	omitted, ok := l.Allow(cause, now)
	if !ok {
		return
	}
	if omitted > 0 {
		attrs = append(attrs, slog.Int64("left_out", omitted))
	}
	log.Log(level, message, attrs...)
}

// find returns what is known of a cause; nil if it is new, and now noted.
func (l *Limiter) find(cause string, now env.Time) *limitedCause {
	for i := range l.causes {
		if l.causes[i].name == cause {
			return &l.causes[i]
		}
	}
	if len(l.causes) >= limiterCausesMax {
		l.prune(now)
	}
	if len(l.causes) >= limiterCausesMax && cause != otherCauses {
		return l.find(otherCauses, now)
	}
	l.causes = append(l.causes, limitedCause{name: cause, allowed: now})
	return nil
}

// otherCauses stands for the causes beyond limiterCausesMax.
const otherCauses = "(other causes)"

// prune forgets causes whose next line would be written anyway, and of which none was left out.
func (l *Limiter) prune(now env.Time) {
	kept := l.causes[:0]
	for _, c := range l.causes {
		if c.omitted > 0 || now.Sub(c.allowed) < l.interval {
			kept = append(kept, c)
		}
	}
	l.causes = kept
}
