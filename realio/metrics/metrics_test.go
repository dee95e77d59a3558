package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"

	"weir/core/env"
)

var _ env.Metrics = (*Metrics)(nil)

func TestMetricsAreServed(t *testing.T) {
	m := New()
	m.Counter("weir_things_total", "Things.").Add(3)
	m.Counter("weir_things_total", "Things.").Add(4) // the same one
	m.Gauge("weir_level", "A level.").Set(-5)
	m.Histogram("weir_wait_nanoseconds", "A wait.").Observe(1_500_000)
	m.Histogram("weir_piece_bytes", "A piece.").Observe(300)
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		"\nweir_things_total 7\n", "\nweir_level -5\n",
		`weir_wait_nanoseconds_bucket{le="1.024e+06"} 0`, `weir_wait_nanoseconds_bucket{le="2.048e+06"} 1`,
		`weir_piece_bytes_bucket{le="256"} 0`, `weir_piece_bytes_bucket{le="1024"} 1`, `weir_piece_bytes_bucket{le="1.073741824e+09"} 1`,
		"go_goroutines",
	} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("%q is not served", want)
		}
	}
}

func TestKindsAreApart(t *testing.T) {
	m := New()
	m.Counter("weir_things_total", "Things.")
	defer func() {
		if recover() == nil {
			t.Error("one name, two kinds")
		}
	}()
	m.Gauge("weir_things_total", "Things.")
}

func BenchmarkCounter(b *testing.B) {
	c := New().Counter("weir_things_total", "Things.")
	for b.Loop() {
		c.Add(1)
	}
}

func BenchmarkHistogram(b *testing.B) {
	h := New().Histogram("weir_wait_nanoseconds", "A wait.")
	for i := int64(0); b.Loop(); i++ {
		h.Observe(i * 1000)
	}
}
