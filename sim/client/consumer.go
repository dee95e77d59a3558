package client

import (
	"time"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/sim/checker"
)

// ConsumerOptions shape a consumer.
type ConsumerOptions struct {
	Topics []*Topic
	// Sessions makes it use fetch sessions (KIP-227).
	Sessions bool
	// MaxWait is how long the broker may wait for MinBytes.
	MaxWait  time.Duration
	MinBytes int32
	// MaxBytes and PartitionBytes bound a response.
	MaxBytes, PartitionBytes int32
	// Pause is the mean time between two fetches; 0 is none.
	Pause time.Duration
	// Rewind is how many fetches in a thousand start over from a random earlier offset.
	Rewind int64
	// Ask is how many fetches in a thousand are preceded by a ListOffsets.
	Ask int64
	Lag int64
}

// Consumer reads.
type Consumer struct {
	session
	options   ConsumerOptions
	parts     []*consumerPart
	sessionID int32
	epoch     int32
	batches   []checker.Batch
	ending    bool
}

type consumerPart struct {
	*Partition
	offset int64
	lost   bool  // out of range: ask where the log starts
	inside bool  // the fetch session holds it
	told   int64 // the offset that the session knows

	ended  int64 // offset when the reader was told to end
	target int64 // high watermark known then
}

// NewConsumer makes a consumer; Start starts it.
func NewConsumer(c *Cluster, client int, options ConsumerOptions) *Consumer {
	k := &Consumer{options: options}
	k.init(c, client, k)
	k.lag = options.Lag
	for _, t := range options.Topics {
		for _, p := range t.Partitions {
			k.parts = append(k.parts, &consumerPart{Partition: p})
		}
	}
	return k
}

// Start connects and begins to read.
func (k *Consumer) Start() { k.connect() }

// End stops rewinds: from here on the reader goes forward only.
func (k *Consumer) End() {
	k.ending = true
	for _, p := range k.parts {
		p.ended, p.target = p.offset, p.high
	}
}

// Served reports whether since End each partition was read on, if there was anything
// to read: none may starve for another, nor be left out.
func (k *Consumer) Served() bool {
	for _, p := range k.parts {
		if p.offset < p.target && p.offset <= p.ended {
			return false
		}
	}
	return true
}

// Stop ends the client.
func (k *Consumer) Stop() { k.stop() }

func (k *Consumer) sessionUp() {
	k.forget()
	k.learn(k.options.Topics, func(known bool) {
		if !known {
			k.after(100*time.Millisecond, k.sessionUp)
			return
		}
		k.step()
	})
}

// forget drops the fetch session.
func (k *Consumer) forget() {
	k.sessionID, k.epoch = 0, 0
	for _, p := range k.parts {
		p.inside = false
	}
}

// step does the next thing: asks for offsets, or fetches.
func (k *Consumer) step() {
	if !k.up || k.stopped {
		return
	}
	for _, p := range k.parts {
		if p.lost {
			k.list(p, -2)
			return
		}
	}
	if k.draws.PerMille(k.options.Ask) {
		p := k.parts[k.draws.Below(int64(len(k.parts)))]
		if k.draws.PerMille(300) {
			k.lookUp(p, k.draws.Between(startMillis, k.wallMillis()))
			return
		}
		k.list(p, -1-k.draws.Below(2))
		return
	}
	if !k.ending && k.draws.PerMille(k.options.Rewind) {
		p := k.parts[k.draws.Below(int64(len(k.parts)))]
		p.offset = k.draws.Below(p.offset + 1)
	}
	k.fetch()
}

// next goes on after a pause.
func (k *Consumer) next() {
	if k.options.Pause == 0 {
		k.step()
		return
	}
	k.after(k.draws.Duration(0, 2*k.options.Pause), k.step)
}

// list asks for a partition's latest (-1) or earliest (-2) offset.
func (k *Consumer) list(p *consumerPart, timestamp int64) {
	call := k.Stamp()
	k.listOffset(p.Partition, timestamp, func(offset, _ int64, code int16) {
		if code == 0 {
			p.History.Bounds = append(p.History.Bounds, checker.Bound{Latest: timestamp == -1, Call: call, Return: k.Stamp(), Offset: offset})
			if timestamp == -1 {
				p.high = max(p.high, offset)
			}
			if p.lost {
				p.lost, p.offset = false, offset
			}
			k.next()
			return
		}
		k.after(50*time.Millisecond, k.step)
	})
}

// lookUp asks for the first offset as late as a timestamp.
func (k *Consumer) lookUp(p *consumerPart, timestamp int64) {
	call := k.Stamp()
	k.listOffset(p.Partition, timestamp, func(offset, found int64, code int16) {
		if code != 0 {
			k.after(50*time.Millisecond, k.step)
			return
		}
		p.History.Lookups = append(p.History.Lookups, checker.Lookup{Call: call, Return: k.Stamp(), Timestamp: timestamp, Offset: offset, Found: found})
		k.next()
	})
}

func (s *session) listOffset(p *Partition, timestamp int64, done func(offset, found int64, code int16)) {
	r := kmsg.NewPtrListOffsetsRequest()
	r.ReplicaID = -1
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = p.Index, timestamp
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = p.Topic.Name, append(topic.Partitions, part)
	r.Topics = append(r.Topics, topic)
	s.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.ListOffsetsResponse)
		if len(v.Topics) != 1 || len(v.Topics[0].Partitions) != 1 {
			s.fail("protocol", "list offsets of one partition answered %d topics", len(v.Topics))
			return
		}
		got := &v.Topics[0].Partitions[0]
		done(got.Offset, got.Timestamp, got.ErrorCode)
	})
}

func (k *Consumer) fetch() {
	r := kmsg.NewPtrFetchRequest()
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = int32(k.options.MaxWait.Milliseconds()), k.options.MinBytes, k.options.MaxBytes
	r.SessionID, r.SessionEpoch = k.sessionID, k.epoch
	if !k.options.Sessions {
		r.SessionID, r.SessionEpoch = 0, -1
	}
	incremental := k.options.Sessions && k.epoch > 0
	if !incremental && len(k.parts) > 0 {
		k.parts = append(k.parts[1:], k.parts[0]) // as clients do, so that none starves behind a byte limit
	}
	for _, p := range k.parts {
		if incremental && p.inside && p.told == p.offset {
			continue
		}
		p.inside, p.told = k.options.Sessions, p.offset
		addFetch(r, p.Partition, p.offset, k.options.PartitionBytes)
	}
	call := k.Stamp()
	// What each partition was asked from: rewinds change it only between fetches.
	k.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		k.fetched(response.(*kmsg.FetchResponse), call)
	})
}

func addFetch(r *kmsg.FetchRequest, p *Partition, offset int64, bytes int32) {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.Index, offset, bytes
	part.CurrentLeaderEpoch = -1
	if n := len(r.Topics); n > 0 && r.Topics[n-1].Topic == p.Topic.Name {
		r.Topics[n-1].Partitions = append(r.Topics[n-1].Partitions, part)
		return
	}
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = p.Topic.Name, p.Topic.ID
	topic.Partitions = append(topic.Partitions, part)
	r.Topics = append(r.Topics, topic)
}

func (k *Consumer) fetched(v *kmsg.FetchResponse, call int64) {
	switch v.ErrorCode {
	case 0:
	case wire.FetchSessionIDNotFound, wire.InvalidFetchSessionEpoch:
		k.forget()
		k.next()
		return
	default:
		k.forget()
		k.after(50*time.Millisecond, k.step)
		return
	}
	if k.options.Sessions {
		if k.epoch == 0 && v.SessionID == 0 {
			k.forget() // the broker gave no session: the next fetch is whole again
		} else {
			k.sessionID = v.SessionID
			k.epoch++
		}
	}
	back, trouble := k.Stamp(), false
	for i := range v.Topics {
		t := &v.Topics[i]
		for j := range t.Partitions {
			if !k.take(t, &t.Partitions[j], call, back) {
				trouble = true
			}
		}
	}
	if trouble {
		k.after(50*time.Millisecond, k.step)
		return
	}
	k.next()
}

func (k *Consumer) find(t *kmsg.FetchResponseTopic, index int32) *consumerPart {
	for _, p := range k.parts {
		if p.Index == index && (t.Topic == p.Topic.Name || t.Topic == "" && t.TopicID == p.Topic.ID) {
			return p
		}
	}
	return nil
}

// take records what a response says of one partition, and moves on.
func (k *Consumer) take(t *kmsg.FetchResponseTopic, got *kmsg.FetchResponseTopicPartition, call, back int64) bool {
	p := k.find(t, got.Partition)
	if p == nil {
		k.fail("protocol", "client %d was given %s-%d, which it did not ask for", k.client, t.Topic, got.Partition)
		return true
	}
	end, ok := k.session.record(p.Partition, got, p.told0(k), call, back, 0, &k.batches)
	p.offset = max(p.offset, end)
	if got.ErrorCode == wire.OffsetOutOfRange {
		p.lost = true
	}
	if !ok {
		p.inside = false
	}
	return ok || p.lost
}

// told0 is the offset that the fetch was from.
func (p *consumerPart) told0(k *Consumer) int64 {
	if k.options.Sessions {
		return p.told
	}
	return p.offset
}

// record checks and records one partition's part of a fetch response. It returns
// the offset after the last batch, and whether the partition was served.
func (s *session) record(p *Partition, got *kmsg.FetchResponseTopicPartition, from, call, back int64, drain int32, scratch *[]checker.Batch) (int64, bool) {
	r := checker.Read{Client: int32(s.client), Drain: drain, Call: call, Return: back, From: from, HighWatermark: got.HighWatermark, LogStart: -1}
	switch got.ErrorCode {
	case 0:
	case wire.OffsetOutOfRange:
		r.OutOfRange, r.HighWatermark = true, -1
		p.History.AddRead(r, nil)
		return 0, false
	default:
		return 0, false
	}
	if got.LogStartOffset >= 0 {
		r.LogStart = got.LogStartOffset
	}
	if got.LastStableOffset != got.HighWatermark && got.LastStableOffset != -1 {
		s.fail("I3", "%s: last stable offset %d and high watermark %d without transactions", p.History.Name, got.LastStableOffset, got.HighWatermark)
	}
	batches, err := readBatches(got.RecordBatches, p.tag, (*scratch)[:0])
	*scratch = batches
	if err != nil {
		s.fail("I2", "%s, read from %d: %v", p.History.Name, from, err)
	}
	p.high = max(p.high, got.HighWatermark)
	end := int64(0)
	if n := len(batches); n > 0 {
		end = batches[n-1].Base + int64(batches[n-1].Records)
	}
	p.History.AddRead(r, batches)
	return end, true
}
