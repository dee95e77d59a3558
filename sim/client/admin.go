package client

import (
	"time"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestPartitions is how many partitions a broker makes for one request; Kafka's bound.
const requestPartitions = 10_000

// Creator makes topics, and tries until each is there.
type Creator struct {
	session
	topics []*Topic
	made   int // so many of the first topics exist
	done   bool
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

// Done reports whether every topic was acknowledged.
func (a *Creator) Done() bool { return a.done }

func (a *Creator) sessionUp() {
	request := a.nextRequest()
	a.create(request, func(made bool) {
		if made {
			a.made += len(request)
		}
		if made && a.made < len(a.topics) {
			a.sessionUp()
			return
		}
		a.learn(a.topics, func(known bool) {
			a.done = made && known
			if !a.done {
				a.after(100*time.Millisecond, a.sessionUp)
			}
		})
	})
}

// nextRequest is the topics to ask for: as many as one request may be for. Once all are made it begins again.
func (a *Creator) nextRequest() []*Topic {
	if a.made == len(a.topics) {
		a.made = 0
	}
	partitions, end := 0, a.made
	for ; end < len(a.topics); end++ {
		if partitions += len(a.topics[end].Partitions); partitions > requestPartitions && end > a.made {
			break
		}
	}
	return a.topics[a.made:end]
}

// create asks for topics, and reports whether all were made or exist already.
func (s *session) create(topics []*Topic, done func(made bool)) {
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
		if err != nil {
			return
		}
		made := true
		for _, t := range response.(*kmsg.CreateTopicsResponse).Topics {
			if s.leaves(t.ErrorCode) {
				return
			}
			made = made && (t.ErrorCode == wire.None || t.ErrorCode == wire.TopicAlreadyExists)
		}
		done(made)
	})
}

// TrimmerOptions configure a trimmer.
type TrimmerOptions struct {
	// Topics are those whose records it deletes.
	Topics []*Topic
	// Pause is the mean time between two operations; each is drawn from 0 to twice that.
	Pause time.Duration
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
}

// Trimmer deletes records below random offsets.
type Trimmer struct {
	session
	options TrimmerOptions
	parts   []*Partition
	again   func() // gives the last request again, which had no answer or timed out
	ending  bool
}

// NewTrimmer makes a trimmer; Start starts it.
func NewTrimmer(c *Cluster, client int, options TrimmerOptions) *Trimmer {
	t := &Trimmer{options: options}
	t.init(c, client, t)
	t.lag, t.topics = options.Lag, options.Topics
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
	if again := t.again; again != nil {
		t.again = nil
		again()
		return
	}
	p := t.parts[t.draws.Below(int64(len(t.parts)))]
	before := t.draws.Below(p.high + 1)
	if t.draws.PerMille(50) {
		before = -1
	}
	t.trimTo(p, before)
}

func (t *Trimmer) trimTo(p *Partition, before int64) {
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
			t.again = func() { t.trimTo(p, before) }
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
		case wire.RequestTimedOut:
			t.again = func() { t.trimTo(p, before) }
		}
		t.after(t.draws.Duration(0, 2*t.options.Pause), t.trim)
	})
}
