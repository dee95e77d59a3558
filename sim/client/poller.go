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
	part, beside     *Partition
	minBytes         int32
	from, besideFrom int64
	sessionID, epoch int32 // of its fetch session
	node             int32 // with whom
	waiting          bool
	done             bool
	at               event.Time
	scratch          []checker.Batch
}

// NewPoller makes a poller; Start starts it. Its fetch waits for minBytes. With another partition beside, which must have no data
// to come, it has a fetch session (KIP-227) of both, the one that it waits for last; nil: none.
func NewPoller(c *Cluster, client int, part, beside *Partition, minBytes int32) *Poller {
	p := &Poller{part: part, beside: beside, minBytes: minBytes, node: anyBroker}
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
	p.sessionID, p.epoch = 0, 0
	topics := []*Topic{p.part.Topic}
	if p.beside != nil {
		topics = append(topics, p.beside.Topic)
	}
	p.learn(topics, func(bool) {
		if p.waiting {
			p.poll() // from where it was
			return
		}
		p.findEnds()
	})
}

func (p *Poller) findEnds() {
	p.end(p.part, &p.from, func() {
		if p.beside != nil {
			p.end(p.beside, &p.besideFrom, p.begin)
			return
		}
		p.begin()
	})
}

func (p *Poller) begin() {
	p.waiting = true
	p.poll()
}

// end asks for the end of a partition, until it is answered.
func (p *Poller) end(part *Partition, to *int64, done func()) {
	p.listOffset(part, -1, func(offset, _ int64, code int16) {
		if code != 0 {
			p.after(100*time.Millisecond, p.sessionUp)
			return
		}
		*to = offset
		done()
	})
}

func (p *Poller) poll() {
	p.follow()
	r := kmsg.NewPtrFetchRequest()
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = int32(pollWait.Milliseconds()), p.minBytes, 1<<20
	switch {
	case p.beside == nil:
		r.SessionEpoch = -1
		addFetch(r, p.part, p.from, 1<<20)
	case p.epoch == 0:
		r.MaxWaitMillis = 0 // only what follows is about the session
		addFetch(r, p.beside, p.besideFrom, 1<<20)
		addFetch(r, p.part, p.from, 1<<20)
	default:
		r.SessionID, r.SessionEpoch = p.sessionID, p.epoch
	}
	call := p.Stamp()
	if !p.choose(r) {
		return
	}
	p.requestAt(p.node, requestTimeout, r, func(response kmsg.Response, err error) {
		if err == nil {
			p.answered(response.(*kmsg.FetchResponse), call)
		}
	})
}

// follow takes note of who leads the partitions: a fetch session is with one broker.
func (p *Poller) follow() {
	leader := p.leader(p.part)
	if leader != p.node {
		p.sessionID, p.epoch, p.node = 0, 0, leader
	}
	if p.beside != nil && p.leader(p.beside) != leader {
		p.beside = nil
	}
}

func (p *Poller) answered(v *kmsg.FetchResponse, call int64) {
	if v.ErrorCode != 0 {
		p.sessionID, p.epoch = 0, 0
		p.after(50*time.Millisecond, p.poll)
		return
	}
	switch {
	case p.beside == nil:
	case p.epoch == 0 && v.SessionID == 0:
		p.beside = nil // there is no room for its session
	default:
		p.sessionID = v.SessionID
		p.epoch++
	}
	for i := range v.Topics {
		t := &v.Topics[i]
		for j := range t.Partitions {
			if got := &t.Partitions[j]; p.take(t, got, call) {
				p.done, p.at = true, p.Queue.Now()
				return
			}
		}
	}
	p.after(time.Millisecond, p.poll)
}

// take reports whether the answer is about the partition that it waits for, and has data.
func (p *Poller) take(t *kmsg.FetchResponseTopic, got *kmsg.FetchResponseTopicPartition, call int64) bool {
	if got.Partition != p.part.Index || t.Topic != p.part.Topic.Name && (t.Topic != "" || t.TopicID != p.part.Topic.ID) {
		if got.ErrorCode != 0 {
			p.beside, p.epoch = nil, 0 // its log starts later by now
		}
		return false
	}
	end, _ := p.record(p.part, got, p.from, call, p.Stamp(), 0, &p.scratch)
	return end > p.from || got.ErrorCode == wire.OffsetOutOfRange // retention may have been faster
}
