package bill

import (
	"fmt"

	"weir/core/env"
)

// WrittenMetric counts the bytes of record batches that producers wrote.
const WrittenMetric = "weir_appended_bytes_total"

// The first two have the label purpose, and request or direction.
const (
	requestsMetric  = "weir_store_requests_total"
	bytesMetric     = "weir_store_bytes_total"
	crossZoneMetric = "weir_cross_zone_bytes_total"
	storedMetric    = "weir_objects_listed_bytes"
	startMetric     = "process_start_time_seconds"
)

// Meter keeps what is counted as metrics of a node. Many goroutines may use it.
type Meter struct {
	requests       [Requests][env.Purposes]env.Counter
	sent, received [env.Purposes]env.Counter
}

// NewMeter makes the metrics; with nil it counts nothing.
func NewMeter(m env.Metrics) *Meter {
	meter := &Meter{}
	counter := func(format, help string, labels ...any) env.Counter {
		if m == nil {
			return uncounted{}
		}
		return m.Counter(fmt.Sprintf(format, labels...), help)
	}
	for p := range env.Purposes {
		for r := range Requests {
			meter.requests[r][p] = counter(requestsMetric+`{purpose="%v",request="%v"}`, "requests sent to the object store", p, r)
		}
		const help = "bytes of bodies sent to the object store and received from it, successfully or not"
		meter.sent[p] = counter(bytesMetric+`{direction="sent",purpose="%v"}`, help, p)
		meter.received[p] = counter(bytesMetric+`{direction="received",purpose="%v"}`, help, p)
	}
	return meter
}

// Count implements [Tally].
func (m *Meter) Count(r Request, p env.Purpose, n int64) { m.requests[r][p].Add(n) }

// Moved implements [Tally].
func (m *Meter) Moved(p env.Purpose, sent, received int64) {
	m.sent[p].Add(sent)
	m.received[p].Add(received)
}

type uncounted struct{}

func (uncounted) Add(int64) {}
