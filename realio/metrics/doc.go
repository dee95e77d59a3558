// Package metrics is production's env.Metrics, over Prometheus' client.
//
// A metric's name says its unit, and so the buckets of its histogram: names that
// end in _nanoseconds reach from a microsecond to about a minute, those that end in
// _bytes from 256 bytes to 1 GiB, others are powers of two. Handles may be used by
// any goroutine and cost some nanoseconds. The package may import core/env only.
package metrics
