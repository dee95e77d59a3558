package telemetry

import (
	"log/slog"

	"github.com/tidwall/btree"

	"weir/core/env"
)

// Registry is one node's marks and metrics.
type Registry struct {
	log     env.Logger
	metrics env.Metrics
	marks   btree.Map[string, *Mark]
}

// New returns a registry that logs and counts through the node's env. A nil
// logger or nil metrics are silent.
func New(log env.Logger, metrics env.Metrics) *Registry {
	if log == nil {
		log = silent{}
	}
	if metrics == nil {
		metrics = silent{}
	}
	return &Registry{log: log, metrics: metrics}
}

// Mark counts visits of a place in the code that simulations should reach. A swarm
// that never hits it tests less than it seems to.
type Mark struct {
	Name string
	Hits int64
}

// Hit counts one visit.
func (m *Mark) Hit() { m.Hits++ }

// Mark returns the mark of that name, new with no hits. Hot paths keep the
// handle.
func (r *Registry) Mark(name string) *Mark {
	if m, ok := r.marks.Get(name); ok {
		return m
	}
	m := &Mark{Name: name}
	r.marks.Set(name, m)
	return m
}

// Hit counts one visit of the named mark.
func (r *Registry) Hit(name string) { r.Mark(name).Hit() }

// Marks returns all marks by name.
func (r *Registry) Marks() []*Mark { return r.marks.Values() }

// Counter makes a counter.
func (r *Registry) Counter(name, help string) env.Counter { return r.metrics.Counter(name, help) }

// Gauge makes a gauge.
func (r *Registry) Gauge(name, help string) env.Gauge { return r.metrics.Gauge(name, help) }

// Histogram makes a histogram.
func (r *Registry) Histogram(name, help string) env.Histogram {
	return r.metrics.Histogram(name, help)
}

// Debug logs details for debugging.
func (r *Registry) Debug(message string, attrs ...slog.Attr) {
	r.log.Log(slog.LevelDebug, message, attrs...)
}

// Info logs a normal event that an operator may want to see.
func (r *Registry) Info(message string, attrs ...slog.Attr) {
	r.log.Log(slog.LevelInfo, message, attrs...)
}

// Warn logs what may need an operator's action.
func (r *Registry) Warn(message string, attrs ...slog.Attr) {
	r.log.Log(slog.LevelWarn, message, attrs...)
}

// Error logs what needs an operator's action.
func (r *Registry) Error(message string, attrs ...slog.Attr) {
	r.log.Log(slog.LevelError, message, attrs...)
}

// silent is a logger and metrics that keep nothing.
type silent struct{}

func (silent) Log(slog.Level, string, ...slog.Attr) {}
func (silent) Counter(_, _ string) env.Counter      { return silent{} }
func (silent) Gauge(_, _ string) env.Gauge          { return silent{} }
func (silent) Histogram(_, _ string) env.Histogram  { return silent{} }
func (silent) Add(int64)                            {}
func (silent) Set(int64)                            {}
func (silent) Observe(int64)                        {}
