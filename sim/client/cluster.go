package client

import (
	"fmt"
	"time"

	"weir/sim/checker"
	"weir/sim/event"
	"weir/sim/network"
)

// Cluster is what a run's clients share: the addresses of brokers, the topics, and
// the history.
type Cluster struct {
	Queue *event.Queue
	Net   *network.Network
	// Fail is called with violations of the protocol itself.
	Fail func(checker.Violation)
	// Echo, if set, gets a line for each answer.
	Echo func(string)

	// Several says that the machines are one cluster of several brokers: clients follow leaders and coordinators.
	Several bool
	// LogsLost says that a log was lost for good: what was acknowledged may be gone, if an administrator gave that up.
	LogsLost bool
	// MarkersMore is how many markers more than usual a transaction may leave in a partition.
	MarkersMore int64

	Topics     []*Topic
	Partitions []*Partition
	// Transactions and Groups are the histories of what is not of one partition. Groups are in the order in
	// which clients first named them.
	Transactions []checker.Transaction
	Groups       []*checker.Group

	addresses []string // by machine, from 1

	// Operations counts answered operations of clients.
	Operations int64
	// Appends, Reads and Resends count what their names say; Acked batches.
	Acked, Resends int64

	producers map[int64]int // producer ids given, and to which client
	pairs     map[producerEpoch]int
	owners    map[int64]string // transactional ids of producer ids
	stamp     int64
	sessions  uint64
}

// Topic is one incarnation of a topic.
type Topic struct {
	Name       string
	ID         [16]byte // zero until known
	Created    bool     // acknowledged, or seen
	Deleting   bool     // a deletion was given
	Untimed    bool     // records are written without a timestamp (-1)
	Configs    []Config
	Partitions []*Partition
	byBroker   bool // the broker may set the timestamps of its records
	asked      int  // partitions that anyone asked for
	acked      int  // partitions that were acknowledged; others were only seen
	undone     bool // what was only seen may be gone
	retention  checker.Retention
}

// Config is one configuration of a topic.
type Config struct {
	Key   string // Kafka's name
	Value string // as text
}

// Partition is a partition with its history.
type Partition struct {
	Topic   *Topic
	Index   int32
	History *checker.Partition
	tag     uint32
	high    int64 // highest high watermark that anyone was told
}

// NewTopic makes the record of a topic that will be asked for.
func (c *Cluster) NewTopic(name string, partitions int, retention checker.Retention, configs ...Config) *Topic {
	t := &Topic{Name: name, Configs: configs, asked: partitions, acked: partitions, retention: retention}
	t.retention.WallBase = startMillis
	c.extend(t, partitions)
	c.Topics = append(c.Topics, t)
	return t
}

// extend notes that a topic has so many partitions.
func (c *Cluster) extend(t *Topic, partitions int) {
	for i := len(t.Partitions); i < partitions; i++ {
		p := &Partition{Topic: t, Index: int32(i), tag: uint32(len(c.Partitions) + 1)}
		p.History = &checker.Partition{Name: fmt.Sprintf("%s-%d", t.Name, i), Retention: t.retention}
		t.Partitions = append(t.Partitions, p)
		c.Partitions = append(c.Partitions, p)
	}
}

// written is what readers hold a partition's batches against.
func (c *Cluster) written(p *Partition) *written {
	return &written{tag: p.tag, appends: p.History.Appends, byBroker: p.Topic.byBroker, transactions: c.Transactions}
}

// producerOf is the producer of a transactional batch.
func (c *Cluster) producerOf(p *Partition, b *checker.Batch) (int64, bool) {
	if b.ID < 0 || int(b.ID) >= len(p.History.Appends) || p.History.Appends[b.ID].Transaction == 0 {
		return 0, false
	}
	return c.Transactions[p.History.Appends[b.ID].Transaction-1].Producer, true
}

// noteProducer: a producer id is given once.
func (c *Cluster) noteProducer(client int, id int64) {
	if c.producers == nil {
		c.producers = map[int64]int{}
	}
	if other, given := c.producers[id]; given {
		c.fail("I6", "producer id %d was given to client %d, and before that to client %d", id, client, other)
	}
	c.producers[id] = client
}

// producerEpoch is what a transactional producer writes under.
type producerEpoch struct {
	id    int64
	epoch int16
}

// noteTransactional: a producer id belongs to one transactional id.
func (c *Cluster) noteTransactional(client int, transactional string, id int64) {
	if c.owners == nil {
		c.owners = map[int64]string{}
	}
	if owner, known := c.owners[id]; !known {
		c.noteProducer(client, id)
		c.owners[id] = transactional
	} else if owner != transactional {
		c.fail("I7", "producer id %d of transactional id %s was given to %s", id, owner, transactional)
	}
}

// notePair: a producer id and epoch of a transactional id is given once, so that each fences those before.
func (c *Cluster) notePair(client int, pair producerEpoch) {
	if c.pairs == nil {
		c.pairs = map[producerEpoch]int{}
	}
	if other, given := c.pairs[pair]; given {
		c.fail("I7", "producer id %d with epoch %d was given to client %d, and before that to client %d", pair.id, pair.epoch, client, other)
	}
	c.pairs[pair] = client
}

// Group is the history of a group.
func (c *Cluster) Group(name string, retention time.Duration) *checker.Group {
	for _, g := range c.Groups {
		if g.Name == name {
			return g
		}
	}
	g := &checker.Group{Name: name, Retention: int64(retention)}
	c.Groups = append(c.Groups, g)
	return g
}

// Serves records the address of a machine's broker: clients may bootstrap there.
func (c *Cluster) Serves(machine uint64, address string) {
	for uint64(len(c.addresses)) < machine {
		c.addresses = append(c.addresses, "")
	}
	c.addresses[machine-1] = address
}

// bootstrap is the address that a client tries at its n-th connection: all in turn, each
// client from another one on.
func (c *Cluster) bootstrap(client int, n uint64) string {
	if len(c.addresses) == 0 {
		return ""
	}
	return c.addresses[(uint64(client)+n)%uint64(len(c.addresses))]
}

// Undone notes that the metadata disk was exchanged or rebuilt while no broker served.
func (c *Cluster) Undone() {
	at := c.Stamp()
	for _, t := range c.Topics {
		t.undone = len(t.Partitions) > t.acked
	}
	for _, p := range c.Partitions {
		p.History.Undone = append(p.History.Undone, at)
	}
}

// Stamp is a strictly increasing time.
func (c *Cluster) Stamp() int64 {
	c.stamp = max(c.stamp+1, int64(c.Queue.Now()))
	return c.stamp
}

// startMillis is the clients' clock at the start.
const startMillis = 1_790_000_000_000

// wallMillis is the clients' clock.
func (c *Cluster) wallMillis() int64 { return startMillis + int64(c.Queue.Now())/1e6 }

func (c *Cluster) fail(invariant, format string, args ...any) {
	c.Fail(checker.Violation{Invariant: invariant, Text: fmt.Sprintf(format, args...) + fmt.Sprintf(" (at %v)", time.Duration(c.Queue.Now()))})
}
