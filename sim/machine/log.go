package machine

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"weir/core/env"
	"weir/sim/event"
)

const logKept = 400

// Log keeps a machine's last log lines.
type Log struct {
	// Echo, if set, also gets every line at once.
	Echo io.Writer

	queue   *event.Queue
	machine uint64
	lines   []line
	next    int
}

type line struct {
	at      event.Time
	level   slog.Level
	message string
	attrs   []slog.Attr
}

// Log implements env.Logger.
func (l *Log) Log(level slog.Level, message string, attrs ...slog.Attr) {
	kept := line{l.queue.Now(), level, message, append([]slog.Attr(nil), attrs...)}
	l.queue.Note(event.KindLog, l.machine, event.SumString(message), uint64(level), 0)
	if l.Echo != nil {
		fmt.Fprintln(l.Echo, l.format(&kept))
	}
	if level < slog.LevelInfo && strings.HasPrefix(message, "raft: ") {
		return // what raft says in good times would crowd out the rest
	}
	if len(l.lines) < logKept {
		l.lines = append(l.lines, kept)
		return
	}
	l.lines[l.next] = kept
	l.next = (l.next + 1) % logKept
}

// Tail returns the last n lines, oldest first.
func (l *Log) Tail(n int) []string {
	var out []string
	for i := range l.lines {
		out = append(out, l.format(&l.lines[(l.next+i)%len(l.lines)]))
	}
	return out[max(0, len(out)-n):]
}

func (l *Log) format(k *line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v node %d %-5v %s", k.at, l.machine, k.level, k.message)
	for _, a := range k.attrs {
		fmt.Fprintf(&b, " %s", a)
	}
	return b.String()
}

// Metrics is an env.Metrics that keeps plain integers.
type Metrics struct{ named map[string]*Value }

// Value is one metric: its sum or last value, and how often it was observed.
type Value struct{ Sum, Count int64 }

// Counter implements env.Metrics.
func (m *Metrics) Counter(name, _ string) env.Counter { return m.value(name) }

// Gauge implements env.Metrics.
func (m *Metrics) Gauge(name, _ string) env.Gauge { return m.value(name) }

// Histogram implements env.Metrics.
func (m *Metrics) Histogram(name, _ string) env.Histogram { return m.value(name) }

// Value returns a metric by name; zero if nobody made it.
func (m *Metrics) Value(name string) Value {
	if v := m.named[name]; v != nil {
		return *v
	}
	return Value{}
}

func (m *Metrics) value(name string) *Value {
	if m.named == nil {
		m.named = map[string]*Value{}
	}
	if m.named[name] == nil {
		m.named[name] = &Value{}
	}
	return m.named[name]
}

// Add implements env.Counter.
func (v *Value) Add(n int64) { v.Sum += n; v.Count++ }

// Set implements env.Gauge.
func (v *Value) Set(n int64) { v.Sum = n; v.Count++ }

// Observe implements env.Histogram.
func (v *Value) Observe(n int64) { v.Sum += n; v.Count++ }
