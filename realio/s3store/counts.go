package s3store

import "weir/core/env"

// kind is a kind of request, as S3 bills them.
type kind int

const (
	kindPut kind = iota
	kindMultipart
	kindPart
	kindCopy
	kindGet
	kindHead
	kindDelete
	kindList
	kinds
)

var kindNames = [kinds]string{"put", "multipart", "part", "copy", "get", "head", "delete", "list"}

// counts are what a bill is made of.
type counts struct {
	requests       [kinds]env.Counter
	sent, received env.Counter
	aborted        env.Counter
	swept          env.Gauge
}

func newCounts(m env.Metrics) counts {
	counter := func(name, help string) env.Counter {
		if m == nil {
			return uncounted{}
		}
		return m.Counter(name, help)
	}
	gauge := func(name, help string) env.Gauge {
		if m == nil {
			return uncounted{}
		}
		return m.Gauge(name, help)
	}
	c := counts{
		aborted: counter("weir_s3_multipart_aborted_total", "multipart uploads that were given up and aborted"),
		swept: gauge("weir_s3_multipart_sweep_last_success_timestamp_seconds",
			"when the sweep of multipart uploads that were left behind last came to its end, in seconds since the Unix epoch"),
		sent:     counter("weir_s3_sent_bytes_total", "bytes of bodies sent to the object store, successfully or not"),
		received: counter("weir_s3_received_bytes_total", "bytes of bodies received from the object store"),
	}
	for k := range kinds {
		c.requests[k] = counter("weir_s3_"+kindNames[k]+"_requests_total", "requests of kind "+kindNames[k]+" sent to the object store")
	}
	return c
}

type uncounted struct{}

func (uncounted) Add(int64) {}

func (uncounted) Set(int64) {}
