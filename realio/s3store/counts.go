package s3store

import "weir/core/env"

// counts are what an operator watches beside the bill.
type counts struct {
	aborted env.Counter
	swept   env.Gauge
}

func newCounts(m env.Metrics) counts {
	if m == nil {
		return counts{uncounted{}, uncounted{}}
	}
	return counts{
		aborted: m.Counter("weir_s3_multipart_aborted_total", "multipart uploads that were given up and aborted"),
		swept: m.Gauge("weir_s3_multipart_sweep_last_success_timestamp_seconds",
			"when the sweep of multipart uploads that were left behind last came to its end, in seconds since the Unix epoch"),
	}
}

type uncounted struct{}

func (uncounted) Add(int64) {}

func (uncounted) Set(int64) {}
