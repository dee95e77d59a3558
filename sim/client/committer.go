package client

import (
	"strconv"
	"strings"
	"time"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CommitterOptions configure a committer.
type CommitterOptions struct {
	// Topics are those whose offsets it commits.
	Topics []*Topic
	// Group is its own: no other client commits to it. Retention is after what time offsets may expire; 0: never.
	Group     string
	Retention time.Duration
	// ID is its transactional id, Timeout transaction.timeout.ms.
	ID      string
	Timeout time.Duration
	// Pause is the mean time between two operations.
	Pause time.Duration
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
}

// Committer commits offsets of its own to a group without members (a simple consumer), some of them in transactions, deletes
// offsets and the group, and fetches what is committed. It does one thing at a time.
type Committer struct {
	session
	options CommitterOptions
	groupView

	producerEpoch
	initialize bool
	number     int32 // of the open transaction; 0: none
	deciding   bool  // its EndTxn was sent
	offset     int64
	busy       bool
	ending     bool
	standIn    bool
}

// groupView is a group as seen by who fetches its offsets.
type groupView struct {
	name    string
	history *checker.Group
	parts   []*memberPart
}

func (g *groupView) find(name string, id [16]byte, index int32) *memberPart {
	for _, p := range g.parts {
		if p.Index == index && (name == p.Topic.Name || name == "" && id == p.Topic.ID) {
			return p
		}
	}
	return nil
}

// NewCommitter makes a committer; Start starts it.
func NewCommitter(c *Cluster, client int, options CommitterOptions) *Committer {
	k := &Committer{options: options, producerEpoch: producerEpoch{-1, -1}, initialize: true}
	k.groupView = groupView{name: options.Group, history: c.Group(options.Group, options.Retention)}
	k.history.Simple = true
	k.initAs(c, client, "committer", k)
	k.lag = options.Lag
	k.floors = map[int16]int16{keyFindCoordinator: 1, keyOffsetFetch: stableFrom, keyEndTxn: 5, keyTxnOffsetCommit: 5}
	for _, t := range options.Topics {
		for _, p := range t.Partitions {
			k.parts = append(k.parts, &memberPart{Partition: p})
		}
	}
	return k
}

// Start connects and begins.
func (k *Committer) Start() { k.connect() }

// End has it end its transaction, and stop.
func (k *Committer) End() { k.ending = true }

// Idle reports whether it has no transaction open, or was stopped: it may have been connecting then.
func (k *Committer) Idle() bool {
	return k.standIn || k.stopped || k.ending && k.number == 0 && !k.busy
}

// Stop ends the client.
func (k *Committer) Stop() { k.stop() }

func (k *Committer) sessionUp() {
	if k.busy = false; !k.speaks(keyEndTxn) || !k.speaks(keyOffsetCommit) {
		k.standIn = true
		return
	}
	k.busy = true
	k.learn(k.options.Topics, func(known bool) {
		if !known {
			k.after(100*time.Millisecond, k.sessionUp)
			return
		}
		k.locate()
	})
}

// locate finds both coordinators, and goes on.
func (k *Committer) locate() {
	k.busy = true
	k.findCoordinator(k.name, 0, func() { k.findCoordinator(k.options.ID, 1, k.pause) })
}

func (k *Committer) pause() {
	k.busy = true
	k.after(k.draws.Duration(0, 2*k.options.Pause), func() {
		k.busy = false
		k.step()
	})
}

// call sends a request. Its loss ends what is under way.
func (k *Committer) call(r kmsg.Request, done func(kmsg.Response)) {
	k.busy = true
	k.request(r, func(response kmsg.Response, err error) {
		k.busy = false
		if err == nil {
			done(response)
		}
	})
}

func (k *Committer) step() {
	if !k.up || k.busy || k.stopped || k.standIn {
		return
	}
	open := k.number != 0
	switch draw := k.draws.Below(100); {
	case k.initialize && !k.ending:
		k.initProducer()
	case k.deciding, open && (k.ending || draw < 25):
		k.endTxn()
	case k.ending:
	case draw < 50:
		k.commitStaged()
	case draw < 65:
		k.commit()
	case draw < 75:
		k.deleteOffsets()
	case draw < 78:
		k.deleteGroup()
	default:
		k.fetch()
	}
}

func (k *Committer) initProducer() {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionalID, r.TransactionTimeoutMillis = kmsg.StringPtr(k.options.ID), int32(k.options.Timeout.Milliseconds())
	r.ProducerID, r.ProducerEpoch = -1, -1
	k.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.InitProducerIDResponse)
		if v.ErrorCode != 0 {
			k.refused("InitProducerId", v.ErrorCode)
			return
		}
		if v.ProducerID != k.id {
			k.noteTransactional(k.client, k.options.ID, v.ProducerID)
		}
		k.take(producerEpoch{v.ProducerID, v.ProducerEpoch})
		k.initialize = false
		k.pause()
	})
}

func (k *Committer) take(p producerEpoch) {
	k.notePair(k.client, p)
	k.producerEpoch = p
}

// some draws one or two partitions, next to each other.
func (k *Committer) some() []*memberPart {
	at := int(k.draws.Below(int64(len(k.parts))))
	return k.parts[at:min(at+int(k.draws.Between(1, 2)), len(k.parts))]
}

// numbered records a commit of a partition that is about to be sent: its number, its offset, and its metadata.
func (k *Committer) numbered(p *memberPart, transaction int32) (number int, offset int64, metadata *string) {
	k.offset += k.draws.Between(1, 10)
	k.history.Commits = append(k.history.Commits, checker.OffsetCommit{
		Client: int32(k.client), Partition: p.History.Name, Offset: k.offset, Generation: -1, Transaction: transaction, Call: k.Stamp(), Return: forever,
	})
	number = len(k.history.Commits)
	text := strconv.Itoa(number)
	if k.draws.PerMille(50) {
		text += strings.Repeat(" ", metadataMax)
	}
	return number, k.offset, &text
}

// commit commits offsets outside of any transaction.
func (k *Committer) commit() {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation = k.name, -1
	parts := k.some()
	var numbers []int
	for _, p := range parts {
		number, offset, metadata := k.numbered(p, 0)
		numbers = append(numbers, number)
		if n := len(r.Topics); n == 0 || r.Topics[n-1].Topic != p.Topic.Name {
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic, topic.TopicID = p.Topic.Name, p.Topic.ID
			r.Topics = append(r.Topics, topic)
		}
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = p.Index, offset, -1, metadata
		topic := &r.Topics[len(r.Topics)-1]
		topic.Partitions = append(topic.Partitions, part)
	}
	k.call(r, func(response kmsg.Response) {
		k.refused("OffsetCommit", k.allAnswered(k.history, parts, numbers, func(p *Partition) int16 {
			return committedCode(response.(*kmsg.OffsetCommitResponse), p)
		}))
	})
}

// commitStaged commits offsets in the transaction, which begins with the first.
func (k *Committer) commitStaged() {
	if k.number == 0 {
		k.Transactions = append(k.Transactions, checker.Transaction{Client: int32(k.client), Producer: k.id, Epoch: k.epoch, Call: forever, Return: forever})
		k.number = int32(len(k.Transactions))
	}
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch, r.Generation = k.options.ID, k.name, k.id, k.epoch, -1
	parts := k.some()
	var numbers []int
	for _, p := range parts {
		number, offset, metadata := k.numbered(p, k.number)
		numbers = append(numbers, number)
		if n := len(r.Topics); n == 0 || r.Topics[n-1].Topic != p.Topic.Name {
			topic := kmsg.NewTxnOffsetCommitRequestTopic()
			topic.Topic, topic.TopicID = p.Topic.Name, p.Topic.ID
			r.Topics = append(r.Topics, topic)
		}
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = p.Index, offset, -1, metadata
		topic := &r.Topics[len(r.Topics)-1]
		topic.Partitions = append(topic.Partitions, part)
	}
	k.call(r, func(response kmsg.Response) {
		k.refused("TxnOffsetCommit", k.allAnswered(k.history, parts, numbers, func(p *Partition) int16 {
			return txnCommittedCode(response.(*kmsg.TxnOffsetCommitResponse), p)
		}))
	})
}

// endTxn ends the transaction, with the same decision each time.
func (k *Committer) endTxn() {
	own := &k.Transactions[k.number-1]
	if k.deciding = true; own.Asked == checker.Nothing {
		own.Asked, own.Call = checker.Commit, k.Stamp()
		if k.draws.PerMille(300) {
			own.Asked = checker.Abort
		}
	}
	r := kmsg.NewPtrEndTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = k.options.ID, k.id, k.epoch, own.Asked == checker.Commit
	k.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.EndTxnResponse)
		if v.ErrorCode != 0 {
			k.refused("EndTxn", v.ErrorCode)
			return
		}
		own := &k.Transactions[k.number-1]
		own.Outcome, own.Return = checker.Done, k.Stamp()
		k.number, k.deciding = 0, false
		k.take(producerEpoch{v.ProducerID, v.ProducerEpoch})
		k.pause()
	})
}

// deleteOffsets deletes committed offsets, and those that are staged.
func (k *Committer) deleteOffsets() {
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = k.name
	part := k.parts[k.draws.Below(int64(len(k.parts)))]
	topic := kmsg.NewOffsetDeleteRequestTopic()
	topic.Topic = part.Topic.Name
	index := kmsg.NewOffsetDeleteRequestTopicPartition()
	index.Partition = part.Index
	topic.Partitions = append(topic.Partitions, index)
	r.Topics = append(r.Topics, topic)
	number := k.deletion(part.History.Name)
	k.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.OffsetDeleteResponse)
		code := v.ErrorCode
		if code == 0 && len(v.Topics) == 1 && len(v.Topics[0].Partitions) == 1 {
			code = v.Topics[0].Partitions[0].ErrorCode
		}
		k.deleted(number, code)
		k.refused("OffsetDelete", code)
	})
}

// deleteGroup deletes the group with all its offsets.
func (k *Committer) deleteGroup() {
	r := kmsg.NewPtrDeleteGroupsRequest()
	r.Groups = []string{k.name}
	first := len(k.history.Deletions)
	for _, p := range k.parts {
		k.deletion(p.History.Name)
	}
	k.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.DeleteGroupsResponse)
		if len(v.Groups) != 1 {
			k.fail("protocol", "client %d deleted one group and was answered of %d", k.client, len(v.Groups))
			return
		}
		for i := range k.parts {
			k.deleted(first+i, v.Groups[0].ErrorCode)
		}
		k.refused("DeleteGroups", v.Groups[0].ErrorCode)
	})
}

// deletion records a deletion that is about to be sent.
func (k *Committer) deletion(partition string) int {
	k.history.Deletions = append(k.history.Deletions, checker.OffsetDeletion{Partition: partition, Call: k.Stamp(), Return: forever})
	return len(k.history.Deletions) - 1
}

// deleted records the answer to a deletion.
func (k *Committer) deleted(number int, code int16) {
	d := &k.history.Deletions[number]
	switch code {
	case 0:
		d.Outcome, d.Return = checker.Done, k.Stamp()
	case wire.GroupIDNotFound, wire.UnknownTopicOrPartition:
		d.Outcome, d.Return = checker.Failed, k.Stamp()
	}
}

// fetch fetches some offsets, without those of which a transaction may still commit others.
func (k *Committer) fetch() {
	r, call := offsetFetch(k.name, k.some(), true), k.Stamp()
	k.call(r, func(response kmsg.Response) {
		k.refused("OffsetFetch", eachOffset(response.(*kmsg.OffsetFetchResponse), func(got fetchedOffset) {
			if p := k.find(got.topic, got.id, got.Partition); p != nil {
				k.history.Fetches = append(k.history.Fetches, offsetFetched(k.client, p, &got.OffsetFetchResponseGroupTopicPartition, call, k.Cluster, true))
			}
		}))
	})
}

// refused goes on after an answer.
func (k *Committer) refused(what string, code int16) {
	switch code {
	case 0, wire.GroupIDNotFound, wire.UnstableOffsetCommit, wire.OffsetMetadataTooLarge, wire.ConcurrentTransactions, wire.CoordinatorLoadInProgress,
		wire.RequestTimedOut, wire.KafkaStorageError, wire.NotLeaderOrFollower, notEnoughReplicas:
	case wire.NotCoordinator, wire.CoordinatorNotAvailable:
		k.locate()
		return
	case wire.ProducerFenced, wire.InvalidProducerEpoch, wire.InvalidProducerIDMapping, wire.InvalidTxnState, wire.TransactionAbortable, wire.TransactionalIDNotFound:
		k.number, k.deciding, k.initialize = 0, false, true
	default:
		k.fail("protocol", "client %d: %s of group %s was answered %s", k.client, what, k.name, checker.CodeName(code))
		return
	}
	k.pause()
}
