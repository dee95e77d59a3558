package telemetry_test

import (
	"errors"
	"strings"
	"testing"

	"weir/core/telemetry"
)

func TestAssertNamesTheInvariant(t *testing.T) {
	telemetry.Assert(2, true, "never formatted %d", 1)
	defer func() {
		err, _ := recover().(error)
		var v *telemetry.InvariantViolation
		if !errors.As(err, &v) || v.Number != 5 || !strings.Contains(v.Error(), "I5") || !strings.Contains(v.Error(), "offset 7") {
			t.Fatalf("recovered %v", err)
		}
	}()
	telemetry.Assert(5, false, "offset %d", 7)
}

func TestMarksBelongToOneRegistryAndComeSorted(t *testing.T) {
	a, b := telemetry.New(nil, nil), telemetry.New(nil, nil)
	a.Mark("z")
	a.Hit("m")
	a.Hit("m")
	b.Hit("m")
	marks := a.Marks()
	if len(marks) != 2 || marks[0].Name != "m" || marks[0].Hits != 2 || marks[1].Hits != 0 || b.Mark("m").Hits != 1 {
		t.Fatalf("marks are %v", marks)
	}
}

func TestSilentHandles(t *testing.T) {
	r := telemetry.New(nil, nil)
	r.Counter("c_total", "").Add(1)
	r.Gauge("g", "").Set(1)
	r.Histogram("h_ns", "").Observe(1)
	r.Info("nobody hears")
}
