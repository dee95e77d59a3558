package controller

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
)

// BusiestMax bounds the partitions that a load report names one by one.
const BusiestMax = 64

// LoadReport is what clients moved through a broker's partitions since its report before.
type LoadReport struct {
	Epoch   metadata.BrokerEpoch
	Window  time.Duration // that it covers, in whole milliseconds; above zero
	Leads   int           // partitions
	In, Out int64         // bytes of all partitions
	// Busiest are those through which the most moved, at most BusiestMax; the others share what is left.
	Busiest []PartitionLoad
}

// PartitionLoad is what clients moved through one partition.
type PartitionLoad struct {
	Stream  metadata.StreamID
	In, Out int64 // bytes
}

// ErrLoadReport: the bytes are no load report of a version known here.
var ErrLoadReport = errors.New("load report is malformed")

const (
	loadReportVersion  = 1
	loadReportBytes    = 1 + 8 + 4 + 4 + 8 + 8 + 2
	partitionLoadBytes = 24
)

// AppendTo appends the report's encoding, little-endian: u8 version, i64 epoch, u32 window in milliseconds, u32 partitions, u64 in,
// u64 out, u16 count of the busiest; for each u64 stream, u64 in, u64 out.
func (r *LoadReport) AppendTo(dst []byte) []byte {
	order := binary.LittleEndian
	dst = append(dst, loadReportVersion)
	dst = order.AppendUint64(dst, uint64(r.Epoch))
	dst = order.AppendUint32(dst, uint32(r.Window.Milliseconds()))
	dst = order.AppendUint32(dst, uint32(r.Leads))
	dst = order.AppendUint64(dst, uint64(r.In))
	dst = order.AppendUint64(dst, uint64(r.Out))
	dst = order.AppendUint16(dst, uint16(len(r.Busiest)))
	for _, p := range r.Busiest {
		dst = order.AppendUint64(dst, uint64(p.Stream))
		dst = order.AppendUint64(dst, uint64(p.In))
		dst = order.AppendUint64(dst, uint64(p.Out))
	}
	return dst
}

// DecodeLoadReport decodes a report; the error is an ErrLoadReport. What follows the fields of this version is passed over: a newer
// release may add to it.
func DecodeLoadReport(b []byte) (*LoadReport, error) {
	order := binary.LittleEndian
	if len(b) < loadReportBytes || b[0] == 0 {
		return nil, ErrLoadReport
	}
	r := &LoadReport{
		Epoch: metadata.BrokerEpoch(order.Uint64(b[1:])), Window: time.Duration(order.Uint32(b[9:])) * time.Millisecond, Leads: int(order.Uint32(b[13:])),
		In: int64(order.Uint64(b[17:])), Out: int64(order.Uint64(b[25:])),
	}
	count := int(order.Uint16(b[33:]))
	b = b[loadReportBytes:]
	if count > BusiestMax || len(b) < count*partitionLoadBytes || r.Window <= 0 || !plausible(r.In, r.Out) {
		return nil, ErrLoadReport
	}
	for range count {
		p := PartitionLoad{metadata.StreamID(order.Uint64(b)), int64(order.Uint64(b[8:])), int64(order.Uint64(b[16:]))}
		if !plausible(p.In, p.Out) {
			return nil, ErrLoadReport
		}
		r.Busiest = append(r.Busiest, p)
		b = b[partitionLoadBytes:]
	}
	return r, nil
}

// loadBytesMax bounds what a report may say, so that sums of rates do not overflow.
const loadBytesMax = 1 << 48

func plausible(in, out int64) bool {
	return in >= 0 && in <= loadBytesMax && out >= 0 && out <= loadBytesMax
}

// rate is how many bytes a second a partition moved, or several.
func (r *LoadReport) rate(bytes int64) int64 { return bytes * 1000 / r.Window.Milliseconds() }

// ledger is what the active controller knows of loads. A partition's figure goes with it when it moves, so that a decision is never made from
// figures of before the last one; what its new leader says of it counts once it has settled there.
type ledger struct {
	image   *metadata.Image
	settle  time.Duration
	busy    map[metadata.StreamID]*figure
	brokers map[metadata.BrokerID]*brokerFigure
}

// figure is the load of a partition that was among the busiest.
type figure struct {
	rate  int64 // bytes a second, in and out, smoothed
	epoch int32 // leader epoch under which it was reported last
	since env.Time
}

// brokerFigure is what a broker reported last.
type brokerFigure struct {
	epoch metadata.BrokerEpoch
	at    env.Time
	each  int64 // bytes a second of each partition that is not in busy, smoothed
}

func newLedger(image *metadata.Image, settle time.Duration) *ledger {
	return &ledger{image: image, settle: settle, busy: map[metadata.StreamID]*figure{}, brokers: map[metadata.BrokerID]*brokerFigure{}}
}

// take takes a broker's report in.
func (l *ledger) take(from metadata.BrokerID, r *LoadReport, now env.Time) {
	b, known := l.image.Broker(from)
	if !known || b.Epoch != r.Epoch {
		return
	}
	named, rest := make(map[metadata.StreamID]bool, len(r.Busiest)), r.In+r.Out
	for _, p := range r.Busiest {
		named[p.Stream] = true
		rest -= p.In + p.Out
		l.takeBusy(from, p.Stream, r.rate(p.In+p.Out), now)
	}
	each := r.rate(max(rest, 0)) / int64(max(r.Leads-len(r.Busiest), 1))
	f := l.brokers[from]
	if f == nil || f.epoch != r.Epoch {
		f = &brokerFigure{epoch: r.Epoch, each: each}
		l.brokers[from] = f
	}
	f.at, f.each = now, smoothed(f.each, each)
	l.fade(from, named, f.each, now)
}

func (l *ledger) takeBusy(from metadata.BrokerID, id metadata.StreamID, rate int64, now env.Time) {
	s, ok := l.image.Stream(id)
	if !ok || s.Newest().Broker != from {
		return // it has moved, or is gone
	}
	f := l.busy[id]
	switch {
	case f == nil:
		l.busy[id] = &figure{rate: rate, epoch: s.Newest().LeaderEpoch, since: now.Add(-l.settle)}
	case l.settled(f, s, now):
		f.rate = smoothed(f.rate, rate)
	}
}

// settled reports whether a partition has been where it is for long enough, by what was reported; if it has just come, that begins now.
func (l *ledger) settled(f *figure, s *metadata.Stream, now env.Time) bool {
	if f.epoch != s.Newest().LeaderEpoch {
		f.epoch, f.since = s.Newest().LeaderEpoch, now
	}
	return now.Sub(f.since) >= l.settle
}

// fade lowers what is no longer among the busiest of a broker, until it is like the others.
func (l *ledger) fade(from metadata.BrokerID, named map[metadata.StreamID]bool, each int64, now env.Time) {
	for _, id := range slices.Sorted(maps.Keys(l.busy)) {
		f := l.busy[id]
		s, ok := l.image.Stream(id)
		switch {
		case !ok:
			delete(l.busy, id)
		case named[id] || s.Newest().Broker != from || !l.settled(f, s, now):
		default:
			if f.rate = smoothed(f.rate, each); f.rate <= 2*each+1 {
				delete(l.busy, id)
			}
		}
	}
}

// smoothed follows a figure halfway.
func smoothed(old, latest int64) int64 { return old + (latest-old)/2 }

// rateOf is how much a partition moves, and whether it is known by itself.
func (l *ledger) rateOf(p *metadata.Partition) (rate int64, busy bool) {
	if f := l.busy[p.Stream]; f != nil {
		return f.rate, true
	}
	if b := l.brokers[p.Leader]; b != nil {
		return b.each, false
	}
	return 0, false
}

// heard reports whether each of the brokers has reported within some time.
func (l *ledger) heard(brokers []*metadata.Broker, within time.Duration, now env.Time) bool {
	return !slices.ContainsFunc(brokers, func(b *metadata.Broker) bool {
		f := l.brokers[b.ID]
		return f == nil || f.epoch != b.Epoch || now.Sub(f.at) > within
	})
}
