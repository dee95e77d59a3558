package txn

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// State is that of a transactional id. The numbers are stored.
type State int8

// States, with Kafka's numbers. Dead and PrepareEpochFence are never stored.
const (
	Empty State = iota
	Ongoing
	PrepareCommit
	PrepareAbort
	CompleteCommit
	CompleteAbort
	Dead
	PrepareEpochFence
)

var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

// String is the name that Kafka's tools show.
func (s State) String() string { return stateNames[s] }

// ParseState finds a state by its name.
func ParseState(name string) (State, bool) {
	i := slices.Index(stateNames[:], name)
	return State(i), i >= 0
}

// Partition names a partition of a topic. A transaction has it by name: when its markers are written, the topic may have
// been deleted, or created again.
type Partition struct {
	Topic string
	Index int32
}

func comparePartitions(a, b Partition) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Index, b.Index))
}

// secondGeneration is the transaction.version from which on each transaction has its own epoch.
const secondGeneration = 2

// epochMax is the last epoch that a producer may use. The one above it, the largest number, is left for fencing it.
const epochMax = math.MaxInt16 - 1

// Transaction is the durable state of a transactional id.
type Transaction struct {
	ProducerID int64
	// PreviousID is the producer id before the last record; NextID takes the place of ProducerID when the
	// transaction completes. -1: none.
	PreviousID, NextID int64
	Epoch              int16
	// LastEpoch is the epoch before the last bump that the producer asked for; -1: somebody else did, or nobody.
	LastEpoch     int16
	TimeoutMillis int32
	State         State
	// Partitions of the transaction, sorted.
	Partitions []Partition
	// StartMillis is when the transaction began; -1: none since the producer began. Wall clock.
	StartMillis  int64
	UpdateMillis int64
	// ClientVersion is the transaction.version of who caused the last record: 2 from the second generation.
	ClientVersion int16
}

// What an id and a partition take, in bytes, beside their names: estimates of the memory.
const (
	idBytes        = 384
	partitionBytes = 32
)

// bytes is what a transactional id takes; of a nil one: what a new one would.
func (t *Transaction) bytes(id string) int64 {
	n := idBytes + len(id)
	if t != nil {
		for i := range t.Partitions {
			n += partitionBytes + len(t.Partitions[i].Topic)
		}
	}
	return int64(n)
}

// prepared reports whether the outcome is decided, and not known to all partitions.
func (t *Transaction) prepared() bool { return t.State == PrepareCommit || t.State == PrepareAbort }

// completed reports whether there is no transaction.
func (t *Transaction) completed() bool {
	return t.State == Empty || t.State == CompleteCommit || t.State == CompleteAbort
}

func (t *Transaction) exhausted() bool { return t.Epoch >= epochMax }

// holds reports whether all these partitions are part of the transaction.
func (t *Transaction) holds(partitions []Partition) bool {
	for _, p := range partitions {
		if !t.has(p) {
			return false
		}
	}
	return true
}

func (t *Transaction) has(p Partition) bool {
	_, ok := slices.BinarySearchFunc(t.Partitions, p, comparePartitions)
	return ok
}

// merged are the transaction's partitions and more of them.
func (t *Transaction) merged(more []Partition) []Partition {
	all := slices.Concat(t.Partitions, more)
	slices.SortStableFunc(all, comparePartitions)
	return slices.Compact(all)
}
