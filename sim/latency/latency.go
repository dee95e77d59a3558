// Package latency is the table of the simulator's latencies, each with its source
// and date, and the sampler over it.
//
// A row is a lognormal-like distribution given by its quantiles; between two
// quantiles the sampler interpolates linearly, in integers, so that no run depends
// on floating point. Row values are the table's; a plan may scale them.
package latency

import (
	"time"

	"weir/sim/event"
)

// Profile is one row: the latency at each of the table's quantiles.
type Profile struct {
	Name   string
	Source string
	at     [len(quantiles)]time.Duration
}

// quantiles in millionths: minimum, p10, p50, p90, p99, p99.9, p99.99, maximum.
var quantiles = [...]int64{0, 100_000, 500_000, 900_000, 990_000, 999_000, 999_900, 1_000_000}

// The table, as of 2026-11-24.
//
// Sources: [aws-perf] Amazon S3 user guide, "Best practices design patterns:
// optimizing Amazon S3 performance" (small-object latency 100-200 ms, first byte
// typically tens of ms); [automq] AutoMQ, "Performance Tuning for Client" (PUT of
// 4 MiB: p99 about 400 ms) and a third-party log in aws-samples/eks-anywhere-addons
// PR 375 (idle S3 log: mean 150, p99 280 ms); [inkless] Aiven Inkless' published
// benchmark (2-8 MiB uploads p99 200-400 ms, GET 100-200 ms); [s2] S2's and
// [warp] WarpStream's "S3 Express One Zone benchmark" (p50 105, p99 169 ms with
// two quorum writes); [ebs] Amazon EBS user guide, gp3 "single-digit millisecond",
// io2 "sub-millisecond"; [nvme] this project's own measurement of synchronous direct
// 4 KiB to 64 KiB writes on a virtual NVMe device; [net] AWS documentation: zones
// of a region lie "single-digit millisecond" apart, measured 0.3-1 ms.
// Tails above p99.9 are set longer than any source shows, on purpose.
var (
	DiskWrite = row("disk write, durable", "[nvme] [ebs]", 60*us, 90*us, 160*us, 400*us, 2*ms, 12*ms, 60*ms, 300*ms)
	DiskRead  = row("disk read", "[nvme] [ebs]", 40*us, 70*us, 110*us, 260*us, 1500*us, 8*ms, 40*ms, 200*ms)
	DiskSync  = row("disk sync", "[nvme] [ebs]", 80*us, 150*us, 350*us, 1200*us, 6*ms, 30*ms, 120*ms, 600*ms)
	DiskMeta  = row("disk directory operation", "[nvme]", 30*us, 60*us, 120*us, 500*us, 4*ms, 20*ms, 80*ms, 400*ms)

	StorePut    = row("S3 PUT, small", "[aws-perf] [automq] [inkless]", 12*ms, 24*ms, 45*ms, 110*ms, 280*ms, 700*ms, 3*s, 12*s)
	StoreGet    = row("S3 GET, first byte", "[aws-perf] [inkless]", 6*ms, 12*ms, 24*ms, 70*ms, 200*ms, 600*ms, 2500*ms, 10*s)
	StoreDelete = row("S3 DELETE", "[aws-perf]", 8*ms, 14*ms, 25*ms, 80*ms, 250*ms, 700*ms, 2*s, 8*s)
	StoreList   = row("S3 LIST", "[aws-perf]", 15*ms, 30*ms, 60*ms, 180*ms, 500*ms, 1200*ms, 4*s, 15*s)
	StoreRefuse = row("S3 503 or connection refused", "[aws-perf]", 1*ms, 3*ms, 8*ms, 30*ms, 120*ms, 400*ms, 1*s, 3*s)

	LinkZone   = row("link within a zone, one way", "[net]", 25*us, 35*us, 60*us, 120*us, 400*us, 2*ms, 20*ms, 250*ms)
	LinkRegion = row("link between zones, one way", "[net]", 180*us, 250*us, 420*us, 700*us, 1500*us, 6*ms, 40*ms, 300*ms)

	Compute = row("off-loop computation", "[nvme]", 1*us, 3*us, 8*us, 40*us, 300*us, 3*ms, 15*ms, 80*ms)
)

const (
	us = time.Microsecond
	ms = time.Millisecond
	s  = time.Second
)

func row(name, source string, at ...time.Duration) Profile {
	p := Profile{Name: name, Source: source}
	copy(p.at[:], at)
	return p
}

// Draw draws a latency.
func (p *Profile) Draw(stream *event.Stream) time.Duration {
	u := stream.Below(1_000_000)
	i := 1
	for quantiles[i] <= u {
		i++
	}
	span := quantiles[i] - quantiles[i-1]
	return p.at[i-1] + (p.at[i]-p.at[i-1])*time.Duration(u-quantiles[i-1])/time.Duration(span)
}

// Scaled draws a latency and scales it; 1000 is once.
func (p *Profile) Scaled(stream *event.Stream, perMille int64) time.Duration {
	d := p.Draw(stream)
	if perMille != 0 && perMille != 1000 {
		d = d / 1000 * time.Duration(perMille)
	}
	return d
}

// Quantile returns the latency at the q-th of the table's quantiles.
func (p *Profile) Quantile(i int) time.Duration { return p.at[i] }
