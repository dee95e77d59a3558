package group

import (
	"math"
	"unicode/utf16"

	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// commitTopicIDs is the version of OffsetCommit that names topics by id, commitGroupNotFound the one that says
	// that a group is unknown.
	commitTopicIDs      = 10
	commitGroupNotFound = 9
	// txnCommitAddsPartition is the version of TxnOffsetCommit that adds the offsets to the transaction (KIP-890),
	// txnCommitTopicIDs the one that names topics by id, and txnCommitKnowsLoading the one whose clients know COORDINATOR_LOAD_IN_PROGRESS.
	txnCommitAddsPartition = 5
	txnCommitTopicIDs      = 6
	// txnCommitKnowsAbortable is the version whose clients know TRANSACTION_ABORTABLE (KIP-890).
	txnCommitKnowsAbortable = 4
	txnCommitKnowsLoading   = 2
	// txnCommitGroupNotFound is the version that says that a group is unknown.
	txnCommitGroupNotFound = 6
)

// Commit is an OffsetCommit or TxnOffsetCommit request: its partitions that exist, and its answer.
type Commit struct {
	group     string
	check     commitCheck
	retention int64 // milliseconds; -1: the broker's
	txn       *kmsg.TxnOffsetCommitRequest
	// verification is what the append in a transaction needs.
	verification partition.Verification
	topics       []commitTopic
	results      []commitResult
	places       map[Partition]int // of topics in results; Index is 0
	last         Partition         // the topic placed last, at lastAt: looked up once, not for each partition
	lastAt       int               // -1: none was placed
	offsets      []commitPartition
	byID         bool
	out          *kmsg.OffsetCommitResponse
	txnOut       *kmsg.TxnOffsetCommitResponse
}

// commitTopic is one topic of a request.
type commitTopic struct {
	name       string
	id         metadata.TopicID
	partitions []commitPartition
}

// commitPartition is one partition of a request, and its place in the answer.
type commitPartition struct {
	Partition
	offset   int64
	epoch    int32
	metadata *string
	topicAt  int
	at       int
}

// commitResult is one topic of the answer.
type commitResult struct {
	name       string
	id         metadata.TopicID
	partitions []int32
	codes      []wire.Code
}

// NewCommit reads an OffsetCommit request. Partitions that do not exist are answered already, ahead of the others as in
// Kafka.
func NewCommit(im Image, r *kmsg.OffsetCommitRequest) *Commit {
	c := &Commit{
		group: r.Group, retention: r.RetentionTimeMillis, byID: r.Version >= commitTopicIDs, out: r.ResponseKind().(*kmsg.OffsetCommitResponse),
		check: commitCheck{version: r.Version, memberID: r.MemberID, instanceID: r.InstanceID, generation: r.Generation},
	}
	for i := range r.Topics {
		t := commitTopic{name: r.Topics[i].Topic, id: r.Topics[i].TopicID}
		for _, p := range r.Topics[i].Partitions {
			t.partitions = append(t.partitions, commitPartition{Partition: Partition{Index: p.Partition}, offset: p.Offset, epoch: p.LeaderEpoch, metadata: p.Metadata})
		}
		c.topics = append(c.topics, t)
	}
	c.resolve(im)
	return c
}

// NewTxnCommit reads a TxnOffsetCommit request.
func NewTxnCommit(im Image, r *kmsg.TxnOffsetCommitRequest) *Commit {
	c := &Commit{
		group: r.Group, retention: -1, txn: r, byID: r.Version >= txnCommitTopicIDs, txnOut: r.ResponseKind().(*kmsg.TxnOffsetCommitResponse),
		check: commitCheck{version: r.Version, memberID: r.MemberID, instanceID: r.InstanceID, generation: r.Generation},
	}
	for i := range r.Topics {
		t := commitTopic{name: r.Topics[i].Topic, id: r.Topics[i].TopicID}
		for _, p := range r.Topics[i].Partitions {
			t.partitions = append(t.partitions, commitPartition{Partition: Partition{Index: p.Partition}, offset: p.Offset, epoch: p.LeaderEpoch, metadata: p.Metadata})
		}
		c.topics = append(c.topics, t)
	}
	c.resolve(im)
	return c
}

// resolve finds topics and partitions.
func (c *Commit) resolve(im Image) {
	c.places, c.lastAt = map[Partition]int{}, -1
	var found []commitPartition
	last := -1 // index of the topic in the request
	for i := range c.topics {
		t := &c.topics[i]
		known, ok := c.find(im, t)
		for _, p := range t.partitions {
			if ok && p.Index >= 0 && int(p.Index) < len(known.Partitions) {
				p.Topic, p.TopicID, p.topicAt = known.Name, known.ID, i
				found = append(found, p)
				continue
			}
			c.place(t.name, t.id, p.Index, c.unknown(ok))
		}
	}
	merged := len(c.results) > 0
	for _, p := range found {
		if !merged && p.topicAt != last { // Kafka merges topics that are there twice only beside errors
			clear(c.places)
			c.lastAt = -1
		}
		last = p.topicAt
		id := metadata.TopicID{}
		if c.byID {
			id = p.TopicID
		}
		p.topicAt, p.at = c.place(p.Topic, id, p.Index, wire.None)
		c.offsets = append(c.offsets, p)
		c.check.partitions = append(c.check.partitions, p.Partition)
	}
	c.topics = nil
}

func (c *Commit) find(im Image, t *commitTopic) (*metadata.Topic, bool) {
	if c.byID {
		return im.TopicByID(t.id)
	}
	return im.Topic(t.name)
}

func (c *Commit) unknown(topicFound bool) wire.Code {
	if c.byID && !topicFound {
		return wire.UnknownTopicID
	}
	return wire.UnknownTopicOrPartition
}

func (c *Commit) place(name string, id metadata.TopicID, index int32, code wire.Code) (topicAt, at int) {
	key := Partition{Topic: name, TopicID: id}
	if c.byID {
		key.Topic = ""
	}
	if c.lastAt < 0 || key != c.last {
		c.placeTopic(key, name, id)
	}
	t := &c.results[c.lastAt]
	t.partitions, t.codes = append(t.partitions, index), append(t.codes, code)
	return c.lastAt, len(t.codes) - 1
}

// placeTopic goes to a topic's place in the answer.
func (c *Commit) placeTopic(key Partition, name string, id metadata.TopicID) {
	at, ok := c.places[key]
	if !ok {
		at = len(c.results)
		c.places[key] = at
		c.results = append(c.results, commitResult{name: name, id: id})
	}
	c.last, c.lastAt = key, at
}

// Empty reports whether no partition of the request exists: it is answered without a coordinator.
func (c *Commit) Empty() bool { return len(c.offsets) == 0 }

// Group is the id of the group.
func (c *Commit) Group() string { return c.group }

// Fail sets the code of all partitions that exist.
func (c *Commit) Fail(code wire.Code) {
	if c.txn != nil && code == wire.CoordinatorLoadInProgress && c.check.version < txnCommitKnowsLoading {
		code = wire.CoordinatorNotAvailable
	}
	for i := range c.offsets {
		c.results[c.offsets[i].topicAt].codes[c.offsets[i].at] = code
	}
}

// Response is the answer.
func (c *Commit) Response() kmsg.Response {
	if c.txn != nil {
		for i := range c.results {
			t := kmsg.NewTxnOffsetCommitResponseTopic()
			t.Topic, t.TopicID = c.results[i].name, c.results[i].id
			for j, index := range c.results[i].partitions {
				p := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				p.Partition, p.ErrorCode = index, int16(c.results[i].codes[j])
				t.Partitions = append(t.Partitions, p)
			}
			c.txnOut.Topics = append(c.txnOut.Topics, t)
		}
		return c.txnOut
	}
	for i := range c.results {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic, t.TopicID = c.results[i].name, c.results[i].id
		for j, index := range c.results[i].partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = index, int16(c.results[i].codes[j])
			t.Partitions = append(t.Partitions, p)
		}
		c.out.Topics = append(c.out.Topics, t)
	}
	return c.out
}

// Commit stores offsets, in a transaction as staged ones, and calls done once when they count.
func (m *Machine) Commit(c *Commit, answer func()) {
	bytes := c.bytes(m.shard.BatchBytesMax())
	if !m.shard.Wait(bytes) {
		c.Fail(wire.CoordinatorNotAvailable)
		answer()
		return
	}
	done := func() {
		m.shard.Waited(bytes)
		answer()
	}
	if c.txn == nil {
		m.store(c, done)
		return
	}
	switch {
	case c.group == "":
		c.Fail(wire.InvalidGroupID)
		done()
	case m.Verifier == nil:
		m.store(c, done)
	default:
		m.verify(c, done)
	}
}

// verify stores the offsets of a transaction once its coordinator has said that they are part of it.
func (m *Machine) verify(c *Commit, done func()) {
	producer, epoch := c.txn.ProducerID, c.txn.ProducerEpoch
	c.verification = m.shard.Verify(producer, epoch)
	verifyOnly := c.check.version < txnCommitAddsPartition
	m.Verifier.AddPartitions(c.txn.TransactionalID, producer, epoch, []Partition{m.partition()}, verifyOnly, func(code wire.Code) {
		m.shard.Verified(producer, c.verification, code == wire.None)
		if code != wire.None {
			c.Fail(c.codeOfVerification(code))
			done()
			return
		}
		m.store(c, done)
	})
}

// knowsGroupNotFound reports whether clients of the request's version know GROUP_ID_NOT_FOUND.
func (c *Commit) knowsGroupNotFound() bool {
	if c.txn != nil {
		return c.check.version >= txnCommitGroupNotFound
	}
	return c.check.version >= commitGroupNotFound
}

// codeOfVerification translates the transaction coordinator's code for a producer of the request's version, as Kafka's
// AddPartitionsToTxnManager does.
func (c *Commit) codeOfVerification(code wire.Code) wire.Code {
	switch {
	case code == wire.ProducerFenced:
		return wire.InvalidProducerEpoch
	case code == wire.TransactionAbortable && c.check.version < txnCommitKnowsAbortable:
		return wire.InvalidTxnState
	}
	return code
}

// offsetsTopic is the internal topic of groups.
const offsetsTopic = "__consumer_offsets"

// partition is the one whose state this is.
func (m *Machine) partition() Partition {
	p := Partition{Topic: offsetsTopic, Index: m.shard.Index}
	if t, ok := m.Image.Topic(offsetsTopic); ok {
		p.TopicID = t.ID
	}
	return p
}

func (m *Machine) store(c *Commit, done func()) {
	op := &coordinator.Operation{
		Key: c.group, Shared: true,
		Decide: func() []coordinator.Entry {
			if code := m.admitsCommit(c); code != wire.None {
				c.Fail(code)
				return nil
			}
			entries, more, fit := m.commitEntries(c)
			if !fit {
				c.Fail(coordinator.ClientCode(wire.MessageTooLarge))
				return nil
			}
			if !m.shard.Admits(more) {
				c.Fail(wire.CoordinatorNotAvailable)
				return nil
			}
			return entries
		},
		Done: func(code wire.Code) {
			if code != wire.None {
				c.Fail(code)
			}
			done()
		},
	}
	if c.txn != nil {
		op.Transactional, op.ProducerID, op.ProducerEpoch, op.Verification = true, c.txn.ProducerID, c.txn.ProducerEpoch, c.verification
	}
	m.shard.Do(op)
}

// admitsCommit checks who commits. A group that is not there comes to be with the first offset of a client without a
// generation.
func (m *Machine) admitsCommit(c *Commit) wire.Code {
	q := &c.check
	switch g := m.groups[c.group]; {
	case g == nil && q.generation < 0:
		return wire.None
	case g == nil && c.knowsGroupNotFound():
		return wire.GroupIDNotFound
	case g == nil:
		return wire.IllegalGeneration
	case g.members == nil && q.generation < 0:
		return wire.None
	case g.members == nil:
		return wire.UnknownMemberID
	case c.txn != nil:
		return g.members.admitsTxnCommit(q)
	default:
		return g.members.admitsCommit(q)
	}
}

// commitEntries are the records of a commit, and how many bytes more the machine holds with them. Everything is validated
// before anything is written. They may not fit into one batch: each has the group's id, which the request names once, and a
// partition may be named as often as the request has room for.
func (m *Machine) commitEntries(c *Commit) (entries []coordinator.Entry, more int64, fit bool) {
	now, room := m.Env.Clock.WallMillis(), m.shard.BatchBytesMax()
	if g := m.groups[c.group]; g == nil {
		more = (&Group{id: c.group}).bytes()
	}
	for i := range c.offsets {
		p := &c.offsets[i]
		o := &offset{value: p.offset, epoch: p.epoch, committed: now, expires: -1, topicID: p.TopicID}
		if p.metadata != nil {
			o.metadata = *p.metadata
		}
		if len(o.metadata) > m.Config.Groups.OffsetMetadataMaxBytes && javaLength(o.metadata) > m.Config.Groups.OffsetMetadataMaxBytes {
			c.results[p.topicAt].codes[p.at] = wire.OffsetMetadataTooLarge
			continue
		}
		if c.retention != -1 {
			o.expires = expiresAt(now, c.retention)
		}
		tp := topicPartition{p.Topic, p.Index}
		more += m.growth(c, tp, o)
		e := offsetEntry(c.group, tp, o)
		if room -= len(e.Key) + len(e.Value); room < 0 {
			return nil, 0, false
		}
		entries = append(entries, e)
	}
	return entries, more, true
}

// expiresAt is when an offset expires that its client wants kept for so long: never, if that is beyond time, and at once, if it is
// negative.
func expiresAt(now, retention int64) int64 {
	if retention > math.MaxInt64-now {
		return math.MaxInt64
	}
	return max(now+retention, 0)
}

// growth is how many bytes more a partition takes with an offset: beside the committed one if it is staged.
func (m *Machine) growth(c *Commit, tp topicPartition, o *offset) int64 {
	if c.txn != nil {
		at := stagedPartition{c.group, tp}
		more := at.bytes(o)
		if t := m.open[c.txn.ProducerID]; t == nil {
			more += transactionBytes
		} else if staged := t.values[at]; staged != nil {
			more -= at.bytes(staged)
		}
		return more
	}
	more := o.bytes(c.group, tp.topic)
	if g := m.groups[c.group]; g != nil && g.offset(tp) != nil {
		more -= g.offset(tp).bytes(c.group, tp.topic)
	}
	return more
}

// javaLength is the length of a String of Java, by which Kafka bounds the metadata of offsets.
func javaLength(s string) int { return len(utf16.Encode([]rune(s))) }
