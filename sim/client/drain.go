package client

import (
	"slices"
	"time"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Drainer reads each of its partitions from start to end, once, while nobody writes: committed records
// only, or all. Both show every batch, since clients leave out what was aborted.
type Drainer struct {
	session
	parts   []*drainPart
	whole   int // so many of the first parts are done
	bytes   int32
	scratch []checker.Batch
}

type drainPart struct {
	*Partition
	state      int // which question is next
	call       int64
	start, end int64
	offset     int64
	number     int32
}

const (
	drainStart = iota
	drainEnd
	drainRead
	drainDone
)

// NewDrainer makes a drainer of partitions; Start starts it. bytes bounds each fetch.
func NewDrainer(c *Cluster, client int, partitions []*Partition, bytes int32, committed bool) *Drainer {
	d := &Drainer{bytes: bytes}
	d.init(c, client, d)
	d.committed = committed
	for _, p := range partitions {
		if !slices.Contains(d.topics, p.Topic) {
			d.topics = append(d.topics, p.Topic)
		}
		d.parts = append(d.parts, &drainPart{Partition: p, call: c.Stamp(), number: int32(len(p.History.Drains) + 1)})
	}
	return d
}

// Start connects and begins.
func (d *Drainer) Start() { d.connect() }

// Stop ends the client.
func (d *Drainer) Stop() { d.stop() }

// Done reports whether every partition has been read to its end.
func (d *Drainer) Done() bool {
	for d.whole < len(d.parts) && d.parts[d.whole].state == drainDone {
		d.whole++
	}
	return d.whole == len(d.parts)
}

func (d *Drainer) sessionUp() { d.step() }

func (d *Drainer) step() {
	if d.Done() {
		return
	}
	switch p := d.parts[d.whole]; p.state {
	case drainStart:
		d.bound(p, -2)
	case drainEnd:
		d.bound(p, -1)
	case drainRead:
		d.read(p)
	}
}

func (d *Drainer) bound(p *drainPart, timestamp int64) {
	call := d.Stamp()
	d.listOffset(p.Partition, timestamp, func(offset, _ int64, code int16) {
		if code != 0 {
			d.after(100*time.Millisecond, d.step)
			return
		}
		p.History.Bounds = append(p.History.Bounds, checker.Bound{Client: int32(d.client), Latest: timestamp == -1, Committed: d.committed, Call: call, Return: d.Stamp(), Offset: offset})
		if timestamp == -1 && len(d.Transactions) > 0 {
			d.awaitStable(p, offset)
			return
		}
		if timestamp == -2 {
			p.start, p.offset = offset, offset
		} else {
			p.end = offset
		}
		d.next(p)
	})
}

func (d *Drainer) next(p *drainPart) {
	p.state++
	d.finish(p)
	d.step()
}

// awaitStable waits until the last stable offset is the high watermark: every transaction ends.
func (d *Drainer) awaitStable(p *drainPart, offset int64) {
	was := d.committed
	d.committed = !was
	d.listOffset(p.Partition, -1, func(other, _ int64, code int16) {
		if code != 0 || other != offset {
			d.after(100*time.Millisecond, d.step)
			return
		}
		p.end = offset
		d.next(p)
	})
	d.committed = was
}

// finish closes the drain once it has everything.
func (d *Drainer) finish(p *drainPart) {
	if p.state == drainRead && p.offset >= p.end {
		p.state = drainDone
		p.History.Drains = append(p.History.Drains, checker.Drain{Call: p.call, Return: d.Stamp(), Start: p.start, End: p.end})
	}
}

func (d *Drainer) read(p *drainPart) {
	r := kmsg.NewPtrFetchRequest()
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch, r.IsolationLevel = 500, 1, d.bytes, -1, d.isolation()
	addFetch(r, p.Partition, p.offset, d.bytes)
	call := d.Stamp()
	d.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.FetchResponse)
		if v.ErrorCode != 0 || len(v.Topics) != 1 || len(v.Topics[0].Partitions) != 1 {
			d.after(100*time.Millisecond, d.step)
			return
		}
		got := &v.Topics[0].Partitions[0]
		end, ok := d.record(p.Partition, got, p.offset, call, d.Stamp(), p.number, &d.scratch)
		if got.ErrorCode == wire.OffsetOutOfRange {
			p.state = drainStart // a trim came late
		}
		p.offset = max(p.offset, end)
		d.finish(p)
		if !ok || end == 0 {
			d.after(20*time.Millisecond, d.step)
			return
		}
		d.step()
	})
}
