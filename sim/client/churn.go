package client

import (
	"time"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ChurnOptions configure a churn.
type ChurnOptions struct {
	// Pause is the mean time between the creation and deletion of a topic.
	Pause time.Duration
	// Reuse creates each topic under the name of the one before.
	Reuse bool
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
}

// Churn makes a topic, writes to it, reads it, deletes it, and starts again.
type Churn struct {
	session
	options ChurnOptions
	prefix  string
	topic   *Topic
	gone    *Topic // the one before
	calm    int    // losses before this life began
	lives   int
	left    int
	ending  bool
	scratch []checker.Batch
}

// NewChurn makes a churner; Start starts it.
func NewChurn(c *Cluster, client int, prefix string, options ChurnOptions) *Churn {
	h := &Churn{options: options, prefix: prefix}
	h.init(c, client, h)
	h.lag = options.Lag
	return h
}

// Start connects and begins.
func (h *Churn) Start() { h.connect() }

// End lets it finish by deleting its topic.
func (h *Churn) End() { h.ending = true }

// Idle reports whether it is done after End.
func (h *Churn) Idle() bool { return h.ending && h.topic == nil }

// Stop ends the client.
func (h *Churn) Stop() { h.stop() }

func (h *Churn) sessionUp() { h.step() }

// step goes on with the topic's life; after a lost connection too.
func (h *Churn) step() {
	switch {
	case h.topic == nil && h.ending:
	case h.topic == nil:
		h.topic = h.NewTopic(h.name(), 1+h.lives%2, checker.Retention{})
		h.calm = h.losses
		h.left = int(h.draws.Between(1, 6))
		h.step()
	case !h.topic.Created:
		h.create([]*Topic{h.topic}, func(bool) {
			h.learn([]*Topic{h.topic}, func(bool) {
				if h.gone != nil && h.topic.ID == h.gone.ID && h.topic.ID != [16]byte{} {
					h.fail("I10", "topic %s was deleted and made anew, and has the id %x of the old one", h.topic.Name, h.topic.ID)
				}
				h.after(h.pause()/8, h.step)
			})
		})
	case h.left > 0 && !h.ending:
		h.write()
	case !h.topic.Deleting && !h.ending && h.draws.PerMille(700):
		h.read()
	default:
		h.remove()
	}
}

// name is the next topic's: that of the one before, unless a request of that life was
// lost and may still arrive.
func (h *Churn) name() string {
	if h.options.Reuse && h.gone != nil && h.losses == h.calm {
		return h.gone.Name
	}
	h.lives++
	return h.prefix + string(rune('a'+h.lives/26%26)) + string(rune('a'+h.lives%26))
}

func (h *Churn) pause() time.Duration {
	return h.draws.Duration(h.options.Pause/2, h.options.Pause*3/2)
}

// write sends one plain batch.
func (h *Churn) write() {
	h.left--
	part := h.topic.Partitions[h.left%len(h.topic.Partitions)]
	id := len(part.History.Appends)
	spec := batchSpec{tag: part.tag, id: int32(id), records: int32(h.draws.Between(1, 5)), valueSize: 40, producer: -1, epoch: -1, sequence: -1, timestamp: h.wallMillis()}
	part.History.Appends = append(part.History.Appends, spec.append(h.client, h.Stamp()))
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 3000
	addProduce(r, part, appendBatch(nil, &spec))
	h.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		code, base, ok := findProduced(response.(*kmsg.ProduceResponse), part)
		a := &part.History.Appends[id]
		switch {
		case !ok:
			h.fail("protocol", "no answer for %s in a produce response", part.History.Name)
		case code == 0:
			a.Outcome, a.Return, a.Base = checker.Done, h.Stamp(), base
			h.Acked++
		case definite(code):
			a.Outcome, a.Return, a.Code = checker.Failed, h.Stamp(), code
			if h.routes == nil {
				h.checkGone(part, code)
			}
		}
		h.after(h.pause()/8, h.step)
	})
}

// checkGone: a topic that nobody deleted stays, once it holds what was acknowledged. code must come from a single broker, or be the answer
// to an administrative request: another broker of a cluster may not have heard of the topic yet.
func (h *Churn) checkGone(part *Partition, code int16) {
	if code != wire.UnknownTopicOrPartition && code != wire.UnknownTopicID {
		return
	}
	for i := range part.History.Appends {
		if a := &part.History.Appends[i]; a.Outcome == checker.Done {
			h.fail("I1", "%s is gone (%s), and was not deleted; batch %d was acknowledged at %d", part.History.Name, checker.CodeName(code), i, a.Base)
			return
		}
	}
}

// read reads the topic from its start, or asks for the one before by its id.
func (h *Churn) read() {
	if h.gone != nil && h.draws.PerMille(300) {
		h.readGone()
		return
	}
	part := h.topic.Partitions[0]
	r := kmsg.NewPtrFetchRequest()
	r.MaxBytes, r.SessionEpoch = 1<<20, -1
	addFetch(r, part, 0, 1<<20)
	call := h.Stamp()
	h.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.FetchResponse)
		if v.ErrorCode == 0 && len(v.Topics) == 1 && len(v.Topics[0].Partitions) == 1 {
			h.record(part, &v.Topics[0].Partitions[0], 0, call, h.Stamp(), 0, &h.scratch)
		}
		h.after(h.pause()/8, h.step)
	})
}

// readGone: a deleted topic is not served.
func (h *Churn) readGone() {
	r := kmsg.NewPtrFetchRequest()
	r.MaxBytes, r.SessionEpoch = 1<<20, -1
	addFetch(r, h.gone.Partitions[0], 0, 1<<20)
	h.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.FetchResponse)
		byID := v.Version >= 13 && h.routes == nil // a broker whose image lags behind serves it for a while
		if byID && v.ErrorCode == 0 && len(v.Topics) == 1 && len(v.Topics[0].Partitions) == 1 && v.Topics[0].Partitions[0].ErrorCode == 0 {
			h.fail("I10", "topic %s with id %x was deleted, and is served to client %d", h.gone.Name, h.gone.ID, h.client)
		}
		h.after(h.pause()/8, h.step)
	})
}

// remove deletes the topic, until it is certainly gone.
func (h *Churn) remove() {
	first := !h.topic.Deleting
	h.topic.Deleting = true
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.TimeoutMillis = 3000
	r.TopicNames = []string{h.topic.Name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr(h.topic.Name)
	r.Topics = append(r.Topics, topic)
	h.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DeleteTopicsResponse)
		if len(v.Topics) != 1 {
			h.fail("protocol", "delete of one topic answered %d", len(v.Topics))
			return
		}
		if code := v.Topics[0].ErrorCode; code == 0 || code == wire.UnknownTopicOrPartition {
			if first {
				for _, part := range h.topic.Partitions {
					h.checkGone(part, code)
				}
			}
			h.gone, h.topic = h.topic, nil
		} else if h.leaves(code) {
			return
		}
		h.after(h.pause(), h.step)
	})
}
