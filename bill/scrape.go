package bill

import (
	"errors"
	"fmt"
	"io"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"weir/core/env"
)

// ErrNoMetrics says that a text is not the metrics of a broker that counts its requests.
var ErrNoMetrics = errors.New("no metric " + requestsMetric + ": these are not the metrics of a weir broker")

// Read makes an account of a broker's metrics in Prometheus' text format, taken at a time. It covers the time since
// the broker started.
func Read(text io.Reader, at time.Time) (*Account, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if families[requestsMetric] == nil {
		return nil, ErrNoMetrics
	}
	a := &Account{
		Written: int64(sum(families[WrittenMetric])), CrossZone: int64(sum(families[crossZoneMetric])), Stored: int64(sum(families[storedMetric])),
	}
	if start := sum(families[startMetric]); start > 0 {
		a.Over = at.Sub(time.UnixMilli(int64(start * 1000)))
	}
	return a, errors.Join(a.readRequests(families[requestsMetric]), a.readBytes(families[bytesMetric]))
}

func (a *Account) readRequests(f *dto.MetricFamily) error {
	for _, m := range f.GetMetric() {
		r, ok := named(label(m, "request"), requestNames[:])
		p, known := named(label(m, "purpose"), purposes())
		if !ok || !known {
			return fmt.Errorf("metrics: %s has the labels %v, which this version does not know", requestsMetric, m.GetLabel())
		}
		a.Count(Request(r), env.Purpose(p), int64(value(m)))
	}
	return nil
}

func (a *Account) readBytes(f *dto.MetricFamily) error {
	for _, m := range f.GetMetric() {
		p, known := named(label(m, "purpose"), purposes())
		switch direction := label(m, "direction"); {
		case known && direction == "sent":
			a.Moved(env.Purpose(p), int64(value(m)), 0)
		case known && direction == "received":
			a.Moved(env.Purpose(p), 0, int64(value(m)))
		default:
			return fmt.Errorf("metrics: %s has the labels %v, which this version does not know", bytesMetric, m.GetLabel())
		}
	}
	return nil
}

func purposes() (names []string) {
	for p := range env.Purposes {
		names = append(names, p.String())
	}
	return names
}

func named(name string, names []string) (int, bool) {
	for i, n := range names {
		if n == name {
			return i, true
		}
	}
	return 0, false
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func sum(f *dto.MetricFamily) (total float64) {
	for _, m := range f.GetMetric() {
		total += value(m)
	}
	return total
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}
