package client

import (
	"time"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/sim/checker"
)

// Creator makes topics, and tries until each is there.
type Creator struct {
	session
	topics []*Topic
}

// NewCreator makes a client that creates topics; Start starts it.
func NewCreator(c *Cluster, client int, topics []*Topic) *Creator {
	a := &Creator{topics: topics}
	a.init(c, client, a)
	return a
}

// Start connects and begins.
func (a *Creator) Start() { a.connect() }

// Stop ends the client.
func (a *Creator) Stop() { a.stop() }

// Done reports whether every topic is known to exist.
func (a *Creator) Done() bool {
	for _, t := range a.topics {
		if !t.Created {
			return false
		}
	}
	return true
}

func (a *Creator) sessionUp() {
	a.create(a.topics, func() {
		a.learn(a.topics, func(known bool) {
			if !known {
				a.after(100*time.Millisecond, a.sessionUp)
			}
		})
	})
}

// create asks for topics; what exists already is fine.
func (s *session) create(topics []*Topic, done func()) {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis = 3000
	for _, t := range topics {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.Name, int32(len(t.Partitions)), 1
		for _, c := range t.Configs {
			config := kmsg.NewCreateTopicsRequestTopicConfig()
			config.Name, config.Value = c.Key, kmsg.StringPtr(c.Value)
			topic.Configs = append(topic.Configs, config)
		}
		r.Topics = append(r.Topics, topic)
	}
	s.request(r, func(response kmsg.Response, err error) {
		if err == nil {
			_ = response.(*kmsg.CreateTopicsResponse)
			done()
		}
	})
}

// ChurnOptions shape a churner.
type ChurnOptions struct {
	// Pause is the mean time between two lives of a topic.
	Pause time.Duration
	Lag   int64
}

// Churn makes a topic, writes to it, reads it, deletes it, and starts again.
type Churn struct {
	session
	options ChurnOptions
	prefix  string
	topic   *Topic
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
		h.lives++
		h.topic = h.NewTopic(h.prefix+string(rune('a'+h.lives/26%26))+string(rune('a'+h.lives%26)), 1+h.lives%2, false)
		h.left = int(h.draws.Between(1, 6))
		h.step()
	case !h.topic.Created:
		h.create([]*Topic{h.topic}, func() {
			h.learn([]*Topic{h.topic}, func(bool) { h.after(h.pause()/8, h.step) })
		})
	case h.left > 0 && !h.ending:
		h.write()
	case !h.topic.Deleting && !h.ending && h.draws.PerMille(700):
		h.read()
	default:
		h.remove()
	}
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
	part.History.Appends = append(part.History.Appends, checker.Append{Client: int32(h.client), Records: spec.records, Call: h.Stamp(), Return: 1<<63 - 1, Base: -1, Timestamp: spec.timestamp})
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
		}
		h.after(h.pause()/8, h.step)
	})
}

func (h *Churn) read() {
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

// remove deletes the topic, until it is certainly gone.
func (h *Churn) remove() {
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
			h.topic = nil
		}
		h.after(h.pause(), h.step)
	})
}

// TrimmerOptions shape a trimmer.
type TrimmerOptions struct {
	Topics []*Topic
	Pause  time.Duration
	Lag    int64
}

// Trimmer deletes records below random offsets.
type Trimmer struct {
	session
	options TrimmerOptions
	parts   []*Partition
	ending  bool
}

// NewTrimmer makes a trimmer; Start starts it.
func NewTrimmer(c *Cluster, client int, options TrimmerOptions) *Trimmer {
	t := &Trimmer{options: options}
	t.init(c, client, t)
	t.lag = options.Lag
	for _, topic := range options.Topics {
		t.parts = append(t.parts, topic.Partitions...)
	}
	return t
}

// Start connects and begins.
func (t *Trimmer) Start() { t.connect() }

// End stops new trims.
func (t *Trimmer) End() { t.ending = true }

// Stop ends the client.
func (t *Trimmer) Stop() { t.stop() }

func (t *Trimmer) sessionUp() {
	t.after(t.draws.Duration(0, 2*t.options.Pause), t.trim)
}

func (t *Trimmer) trim() {
	if t.ending {
		return
	}
	p := t.parts[t.draws.Below(int64(len(t.parts)))]
	before := t.draws.Below(p.high + 1)
	if t.draws.PerMille(50) {
		before = -1
	}
	r := kmsg.NewPtrDeleteRecordsRequest()
	r.TimeoutMillis = 3000
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Partition, part.Offset = p.Index, before
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic, topic.Partitions = p.Topic.Name, append(topic.Partitions, part)
	r.Topics = append(r.Topics, topic)
	i := len(p.History.Trims)
	p.History.Trims = append(p.History.Trims, checker.Trim{Before: before, Call: t.Stamp(), Return: 1<<63 - 1})
	t.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DeleteRecordsResponse)
		if len(v.Topics) != 1 || len(v.Topics[0].Partitions) != 1 {
			t.fail("protocol", "delete records of one partition answered %d topics", len(v.Topics))
			return
		}
		got := &v.Topics[0].Partitions[0]
		switch trim := &p.History.Trims[i]; got.ErrorCode {
		case 0:
			trim.Outcome, trim.Return, trim.LogStart = checker.Done, t.Stamp(), got.LowWatermark
		case wire.UnknownTopicOrPartition, wire.OffsetOutOfRange:
			trim.Outcome, trim.Return = checker.Failed, t.Stamp()
		}
		t.after(t.draws.Duration(0, 2*t.options.Pause), t.trim)
	})
}
