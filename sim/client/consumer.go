package client

import (
	"fmt"
	"slices"
	"time"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerOptions configure a consumer.
type ConsumerOptions struct {
	// Topics are those that it reads, all partitions.
	Topics []*Topic
	// Sessions makes it use fetch sessions (KIP-227).
	Sessions bool
	// MaxWait is how long the broker may wait for MinBytes. 0: it answers at once.
	MaxWait time.Duration
	// MinBytes is how many bytes of records the broker waits for.
	MinBytes int32
	// MaxBytes bounds the bytes of records in a response, PartitionBytes those of a
	// partition. A first batch that is larger is returned nevertheless.
	MaxBytes, PartitionBytes int32
	// Pause is the mean time between two fetches. 0: none.
	Pause time.Duration
	// Rewind is how many fetches in a thousand start at a random earlier offset.
	Rewind int64
	// Ask is how many fetches in a thousand are preceded by a ListOffsets.
	Ask int64
	// Epochs is how many fetches in a thousand are preceded by an OffsetForLeaderEpoch, for a
	// valid or an invalid epoch.
	Epochs int64
	// Committed makes it read committed records only.
	Committed bool
	// Forget is how many fetches in a thousand of a session drop a partition for a while.
	Forget int64
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
}

// Consumer reads.
type Consumer struct {
	session
	options  ConsumerOptions
	parts    []*consumerPart
	byIndex  map[*Topic][]*consumerPart
	sessions map[int32]*fetchSession // by broker
	last     int32                   // broker that it fetched from
	batches  []checker.Batch
	ending   bool
}

// fetchSession is a fetch session (KIP-227) with one broker.
type fetchSession struct{ id, epoch int32 }

type consumerPart struct {
	*Partition
	offset    int64
	lost      bool  // out of range: ask where the log starts
	node      int32 // whose fetch session may hold it
	inside    bool  // the fetch session holds it
	told      int64 // the offset that the session knows
	epoch     int32 // of the batch before offset, or -1
	resting   int   // for so many fetches it is not asked for
	forgotten bool  // the session was told to drop it

	ended  int64 // offset when the reader was told to end
	target int64 // high watermark known then
}

// NewConsumer makes a consumer; Start starts it.
func NewConsumer(c *Cluster, client int, options ConsumerOptions) *Consumer {
	k := &Consumer{options: options, sessions: map[int32]*fetchSession{}, byIndex: map[*Topic][]*consumerPart{}}
	k.init(c, client, k)
	k.lag, k.committed = options.Lag, options.Committed
	for _, t := range options.Topics {
		for _, p := range t.Partitions {
			k.byIndex[t] = append(k.byIndex[t], &consumerPart{Partition: p, epoch: -1, node: anyBroker})
		}
		k.parts = append(k.parts, k.byIndex[t]...)
	}
	return k
}

// Start connects and begins to read.
func (k *Consumer) Start() { k.connect() }

// End stops rewinds: from now on the consumer only reads forward.
func (k *Consumer) End() {
	k.ending = true
	for _, p := range k.parts {
		p.ended, p.target, p.resting = p.offset, p.high, 0
	}
}

// Served reports whether each partition with anything to read was read since End: no
// partition may be starved or left out.
func (k *Consumer) Served() bool { return k.Unserved() == "" }

// Unserved names a partition that has something to read and was not read since End; empty: there is none.
func (k *Consumer) Unserved() string {
	for _, p := range k.parts {
		if p.offset < p.target && p.offset <= p.ended {
			return fmt.Sprintf("%s, of which client %d reads from offset %d on at broker %d", p.History.Name, k.client, p.offset, k.leader(p.Partition))
		}
	}
	return ""
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

// forget drops the fetch sessions.
func (k *Consumer) forget() {
	clear(k.sessions)
	for _, p := range k.parts {
		p.inside, p.forgotten = false, false
	}
}

// forgetAt drops the fetch session with a broker.
func (k *Consumer) forgetAt(node int32) {
	delete(k.sessions, node)
	for _, p := range k.parts {
		if p.node == node {
			p.inside, p.forgotten = false, false
		}
	}
}

// turn is the broker to fetch from: of each that leads some of the partitions in turn.
func (k *Consumer) turn() int32 {
	var nodes, left []int32
	for _, p := range k.parts {
		leader := k.leader(p.Partition)
		if leader != p.node {
			left = appendNew(left, p.node) // it is not for that broker's session any more
		}
		nodes = appendNew(nodes, leader)
	}
	for _, node := range left {
		k.forgetAt(node)
	}
	for _, p := range k.parts {
		p.node = k.leader(p.Partition)
	}
	if len(nodes) == 0 {
		return anyBroker
	}
	slices.Sort(nodes)
	next, _ := slices.BinarySearch(nodes, k.last+1)
	k.last = nodes[next%len(nodes)]
	return k.last
}

// sessionWith is the fetch session with a broker.
func (k *Consumer) sessionWith(node int32) *fetchSession {
	if k.sessions[node] == nil {
		k.sessions[node] = &fetchSession{}
	}
	return k.sessions[node]
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
		k.ask(p)
		return
	}
	if k.draws.PerMille(k.options.Epochs) && k.whole() {
		k.askEpoch(k.parts[k.draws.Below(int64(len(k.parts)))])
		return
	}
	if !k.ending && k.draws.PerMille(k.options.Rewind) {
		p := k.parts[k.draws.Below(int64(len(k.parts)))]
		p.offset, p.epoch = k.draws.Below(p.offset+1), -1
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

// ask asks one of the questions of ListOffsets.
func (k *Consumer) ask(p *consumerPart) {
	kinds := int64(10)
	if k.whole() {
		kinds = 14
	}
	switch kind := k.draws.Below(kinds); kind {
	case 0, 1, 2:
		k.lookUp(p, k.draws.Between(startMillis, k.wallMillis()))
	case 10, 11:
		k.lookUp(p, checker.MaxTimestamp)
	case 12:
		k.list(p, earliestLocal)
	case 13:
		k.askTiered(p)
	default:
		k.list(p, -1-kind%2)
	}
}

// Special timestamps of ListOffsets beside latest (-1) and earliest (-2).
const (
	earliestLocal = -4
	latestTiered  = -5
)

// askTiered asks for the end of what is tiered: to clients nothing is.
func (k *Consumer) askTiered(p *consumerPart) {
	k.listOffset(p.Partition, latestTiered, func(offset, _ int64, code int16) {
		if code == 0 && offset != -1 {
			k.fail("lookup", "%s: client %d was told that the log is tiered up to %d", p.History.Name, k.client, offset)
		}
		k.next()
	})
}

// list asks for a partition's latest (-1), earliest (-2) or earliest local (-4) offset.
func (k *Consumer) list(p *consumerPart, timestamp int64) {
	call := k.Stamp()
	k.listOffset(p.Partition, timestamp, func(offset, _ int64, code int16) {
		if code == 0 {
			p.History.Bounds = append(p.History.Bounds, checker.Bound{Client: int32(k.client), Latest: timestamp == -1, Committed: k.committed, Call: call, Return: k.Stamp(), Offset: offset})
			if timestamp == -1 {
				p.high = max(p.high, offset)
			}
			if p.lost {
				p.lost, p.offset, p.epoch = false, offset, -1
			}
			k.next()
			return
		}
		if code == wire.FencedLeaderEpoch || code == wire.UnknownLeaderEpoch {
			k.relearn()
		}
		if code == wire.UnsupportedVersion && timestamp != earliestLocal {
			k.fail("protocol", "ListOffsets at %d: %s", timestamp, checker.CodeName(code))
		}
		k.after(50*time.Millisecond, k.step)
	})
}

// lookUp asks for the first offset as late as a timestamp, or the largest timestamp.
func (k *Consumer) lookUp(p *consumerPart, timestamp int64) {
	call := k.Stamp()
	k.listOffset(p.Partition, timestamp, func(offset, found int64, code int16) {
		if code != 0 {
			k.after(50*time.Millisecond, k.step)
			return
		}
		p.History.Lookups = append(p.History.Lookups, checker.Lookup{Client: int32(k.client), Call: call, Return: k.Stamp(), Timestamp: timestamp, Offset: offset, Found: found})
		k.next()
	})
}

func listRequest(p *Partition, timestamp int64, epoch int32) *kmsg.ListOffsetsRequest {
	r := kmsg.NewPtrListOffsetsRequest()
	r.ReplicaID = -1
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp, part.CurrentLeaderEpoch = p.Index, timestamp, epoch
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = p.Topic.Name, append(topic.Partitions, part)
	r.Topics = append(r.Topics, topic)
	return r
}

func (s *session) listOffset(p *Partition, timestamp int64, done func(offset, found int64, code int16)) {
	r := listRequest(p, timestamp, s.currentEpoch(p))
	if timestamp == -1 {
		r.IsolationLevel = s.isolation()
	}
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
	node := k.turn()
	session := k.sessionWith(node)
	r := kmsg.NewPtrFetchRequest()
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = int32(k.options.MaxWait.Milliseconds()), k.options.MinBytes, k.options.MaxBytes
	r.SessionID, r.SessionEpoch, r.IsolationLevel = session.id, session.epoch, k.isolation()
	if !k.options.Sessions {
		r.SessionID, r.SessionEpoch = 0, -1
	}
	incremental := k.options.Sessions && session.epoch > 0
	if i := slices.IndexFunc(k.parts, func(p *consumerPart) bool { return p.node == node }); !incremental && i >= 0 {
		first := k.parts[i]
		k.parts = append(slices.Delete(k.parts, i, i+1), first) // as clients do, so that none starves behind a byte limit
	}
	if incremental && !k.ending && k.draws.PerMille(k.options.Forget) {
		k.forgetOne(r, node)
	}
	for _, p := range k.parts {
		if p.node != node {
			continue
		}
		if p.resting > 0 {
			p.resting--
			continue
		}
		if incremental && p.inside && p.told == p.offset {
			continue
		}
		p.inside, p.told, p.forgotten = k.options.Sessions, p.offset, false
		k.addFetch(r, p)
	}
	call := k.Stamp()
	if !k.choose(r) {
		return
	}
	// What each partition was asked from: rewinds change it only between fetches.
	k.requestAt(node, requestTimeout, r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		k.fetched(response.(*kmsg.FetchResponse), call, node)
	})
}

// forgetOne has the session drop a partition: it must not be served until it is asked
// for again.
func (k *Consumer) forgetOne(r *kmsg.FetchRequest, node int32) {
	p := k.parts[k.draws.Below(int64(len(k.parts)))]
	if !p.inside || p.node != node {
		return
	}
	p.inside, p.forgotten, p.resting = false, true, int(k.draws.Between(1, 6))
	topic := kmsg.NewFetchRequestForgottenTopic()
	topic.Topic, topic.TopicID, topic.Partitions = p.Topic.Name, p.Topic.ID, []int32{p.Index}
	r.ForgottenTopics = append(r.ForgottenTopics, topic)
}

// addFetch asks for a partition from its offset on.
func (k *Consumer) addFetch(r *kmsg.FetchRequest, p *consumerPart) {
	part := addFetch(r, p.Partition, p.offset, k.options.PartitionBytes)
	if k.whole() && k.options.Epochs > 0 {
		part.CurrentLeaderEpoch, part.LastFetchedEpoch = k.currentEpoch(p.Partition), p.epoch
	}
}

func addFetch(r *kmsg.FetchRequest, p *Partition, offset int64, bytes int32) *kmsg.FetchRequestTopicPartition {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.Index, offset, bytes
	part.CurrentLeaderEpoch = -1
	if n := len(r.Topics); n > 0 && r.Topics[n-1].Topic == p.Topic.Name {
		r.Topics[n-1].Partitions = append(r.Topics[n-1].Partitions, part)
	} else {
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic, topic.TopicID = p.Topic.Name, p.Topic.ID
		topic.Partitions = append(topic.Partitions, part)
		r.Topics = append(r.Topics, topic)
	}
	parts := r.Topics[len(r.Topics)-1].Partitions
	return &parts[len(parts)-1]
}

func (k *Consumer) fetched(v *kmsg.FetchResponse, call int64, node int32) {
	switch v.ErrorCode {
	case 0:
	case wire.FetchSessionIDNotFound, wire.InvalidFetchSessionEpoch:
		k.forgetAt(node)
		k.next()
		return
	default:
		k.forgetAt(node)
		k.after(50*time.Millisecond, k.step)
		return
	}
	if k.options.Sessions {
		if session := k.sessionWith(node); session.epoch == 0 && v.SessionID == 0 {
			k.forgetAt(node) // the broker gave no session: the next fetch is whole again
		} else {
			session.id = v.SessionID
			session.epoch++
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
	for _, of := range k.options.Topics {
		if t.Topic != of.Name && (t.Topic != "" || t.TopicID != of.ID) {
			continue
		}
		if parts := k.byIndex[of]; index >= 0 && int(index) < len(parts) {
			return parts[index]
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
	if p.forgotten {
		k.fail("protocol", "client %d was given %s, which its fetch session was told to forget", k.client, p.History.Name)
		return true
	}
	end, ok := k.record(p.Partition, got, p.told0(k), call, back, 0, &k.batches)
	if got.DivergingEpoch.EndOffset >= 0 {
		k.fail("epoch", "%s: client %d, which had read epoch %d up to %d, was told that it ends at %d", p.History.Name, k.client, p.epoch, p.offset, got.DivergingEpoch.EndOffset)
	}
	if end > p.offset {
		p.offset, p.epoch = end, k.batches[len(k.batches)-1].Epoch
	}
	if got.ErrorCode == wire.FencedLeaderEpoch || got.ErrorCode == wire.UnknownLeaderEpoch {
		k.relearn()
	}
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
	r := checker.Read{
		Client: int32(s.client), Drain: drain, Committed: s.committed, Call: call, Return: back, From: from,
		HighWatermark: got.HighWatermark, LastStable: got.LastStableOffset, LogStart: -1,
	}
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
	if got.LastStableOffset != got.HighWatermark && got.LastStableOffset != -1 && len(s.Transactions) == 0 {
		s.fail("I3", "%s: last stable offset %d and high watermark %d without transactions", p.History.Name, got.LastStableOffset, got.HighWatermark)
	}
	batches, err := readBatches(got.RecordBatches, s.written(p), (*scratch)[:0])
	*scratch = batches
	if err == nil && s.committed {
		err = leaveOut(batches, func(b *checker.Batch) (int64, bool) { return s.producerOf(p, b) }, got.AbortedTransactions)
	}
	if err != nil {
		s.fail("I2", "%s, read from %d by client %d (%v to %v): %v", p.History.Name, from, s.client, time.Duration(call), time.Duration(back), err)
	}
	p.high = max(p.high, got.HighWatermark)
	end := int64(0)
	if n := len(batches); n > 0 {
		end = batches[n-1].Base + int64(batches[n-1].Records)
	}
	p.History.AddRead(r, batches)
	return end, true
}
