package metrics

import (
	"errors"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir/core/env"
)

// Metrics is an env.Metrics with a registry of its own.
type Metrics struct{ registry *prometheus.Registry }

// New returns metrics with those of the Go runtime and the process among them.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves all metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Counter implements env.Metrics. The same name gives the same counter; so with the
// others. A name that is in use for another kind panics. A name may end in labels, as in
// name{label="value",other="value"}: such counters, or gauges, are one metric.
func (m *Metrics) Counter(name, help string) env.Counter {
	return counter{register(m, prometheus.NewCounter(prometheus.CounterOpts(options(name, help))))}
}

// Gauge implements env.Metrics.
func (m *Metrics) Gauge(name, help string) env.Gauge {
	return gauge{register(m, prometheus.NewGauge(prometheus.GaugeOpts(options(name, help))))}
}

// Histogram implements env.Metrics.
func (m *Metrics) Histogram(name, help string) env.Histogram {
	return histogram{register(m, prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets(name)}))}
}

// options splits a name from its labels.
func options(name, help string) prometheus.Opts {
	name, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	o := prometheus.Opts{Name: name, Help: help}
	if labels == "" {
		return o
	}
	o.ConstLabels = prometheus.Labels{}
	for pair := range strings.SplitSeq(labels, ",") {
		label, value, _ := strings.Cut(pair, "=")
		o.ConstLabels[label] = strings.Trim(value, `"`)
	}
	return o
}

// register registers a metric, or finds the one of its name.
func register[M prometheus.Collector](m *Metrics, metric M) M {
	err := m.registry.Register(metric)
	var there prometheus.AlreadyRegisteredError
	if errors.As(err, &there) {
		return there.ExistingCollector.(M)
	}
	if err != nil {
		panic(err)
	}
	return metric
}

func buckets(name string) []float64 {
	switch {
	case strings.HasSuffix(name, "_nanoseconds"):
		return prometheus.ExponentialBuckets(1e3, 2, 27) // to 67 s
	case strings.HasSuffix(name, "_bytes"):
		return prometheus.ExponentialBuckets(256, 4, 12) // to 1 GiB
	}
	return prometheus.ExponentialBuckets(1, 2, 24)
}

type (
	counter   struct{ prometheus.Counter }
	gauge     struct{ prometheus.Gauge }
	histogram struct{ prometheus.Histogram }
)

// Add implements env.Counter.
func (c counter) Add(n int64) { c.Counter.Add(float64(n)) }

// Set implements env.Gauge.
func (g gauge) Set(v int64) { g.Gauge.Set(float64(v)) }

// Observe implements env.Histogram.
func (h histogram) Observe(v int64) { h.Histogram.Observe(float64(v)) }
