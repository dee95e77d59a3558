package telemetry

import "weir/core/env"

// LastSuccess is a metric of the time at which a background job last succeeded. An alert on its age
// finds a job that is stuck, whatever the reason.
type LastSuccess struct {
	gauge env.Gauge
	clock env.Clock
}

// LastSuccess makes the gauge weir_<job>_last_success_timestamp_seconds, in seconds since the Unix
// epoch; 0 until the job succeeded.
func (r *Registry) LastSuccess(clock env.Clock, job, help string) LastSuccess {
	return LastSuccess{r.Gauge("weir_"+job+"_last_success_timestamp_seconds", help), clock}
}

// Now notes a success.
func (l LastSuccess) Now() { l.gauge.Set(l.clock.WallMillis() / 1000) }
