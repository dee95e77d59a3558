package client

import (
	"time"

	"weir/core/wire"
	"weir/sim/checker"
	"weir/sim/event"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// pollWait is how long a poller lets the broker wait.
const pollWait = 3500 * time.Millisecond

// Poller waits at the end of a partition for the next batch, in one fetch.
type Poller struct {
	session
	part     *Partition
	minBytes int32
	from     int64
	waiting  bool
	done     bool
	at       event.Time
	scratch  []checker.Batch
}

// NewPoller makes a poller; Start starts it. Its fetch waits for minBytes.
func NewPoller(c *Cluster, client int, part *Partition, minBytes int32) *Poller {
	p := &Poller{part: part, minBytes: minBytes}
	p.init(c, client, p)
	return p
}

// Start connects and begins.
func (p *Poller) Start() { p.connect() }

// Stop ends the client.
func (p *Poller) Stop() { p.stop() }

// Waiting reports whether the fetch is under way.
func (p *Poller) Waiting() bool { return p.waiting }

// Done reports whether a batch has arrived.
func (p *Poller) Done() bool { return p.done }

// At is when the batch arrived.
func (p *Poller) At() event.Time { return p.at }

func (p *Poller) sessionUp() {
	p.learn([]*Topic{p.part.Topic}, func(bool) {
		if p.waiting {
			p.poll() // from where it was
			return
		}
		p.listOffset(p.part, -1, func(offset, _ int64, code int16) {
			if code != 0 {
				p.after(100*time.Millisecond, p.sessionUp)
				return
			}
			p.from, p.waiting = offset, true
			p.poll()
		})
	})
}

func (p *Poller) poll() {
	r := kmsg.NewPtrFetchRequest()
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = int32(pollWait.Milliseconds()), p.minBytes, 1<<20, -1
	addFetch(r, p.part, p.from, 1<<20)
	call := p.Stamp()
	p.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.FetchResponse)
		if v.ErrorCode != 0 || len(v.Topics) != 1 || len(v.Topics[0].Partitions) != 1 {
			p.after(50*time.Millisecond, p.poll)
			return
		}
		got := &v.Topics[0].Partitions[0]
		end, _ := p.record(p.part, got, p.from, call, p.Stamp(), 0, &p.scratch)
		if end <= p.from && got.ErrorCode != wire.OffsetOutOfRange { // retention may have been faster
			p.after(time.Millisecond, p.poll)
			return
		}
		p.done, p.at = true, p.Queue.Now()
	})
}
