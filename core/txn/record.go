package txn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"weir/core/coordinator"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	keyVersion = 0
	// valueVersion is written whatever transaction.version is, since nobody is left who reads version 0 alone.
	valueVersion = 1
	// lastEpochTag is the tag of Transaction.LastEpoch in a value. Kafka has none for it; the number is far from those
	// that it may give.
	lastEpochTag = 1000
)

var errRecord = errors.New("record of a transactional id is invalid")

// encodeKey is Kafka's TransactionLogKey.
func encodeKey(id string) []byte {
	return (&kmsg.TxnMetadataKey{Version: keyVersion, TransactionalID: id}).AppendTo(nil)
}

// decodeKey returns the transactional id; not known: a type of record that a later release made.
func decodeKey(b []byte) (id string, known bool, err error) {
	if len(b) < 2 {
		return "", false, fmt.Errorf("%w: a key has %d bytes", errRecord, len(b))
	}
	if binary.BigEndian.Uint16(b) != keyVersion {
		return "", false, nil
	}
	var k kmsg.TxnMetadataKey
	if err := k.ReadFrom(b); err != nil {
		return "", false, fmt.Errorf("%w: key: %w", errRecord, err)
	}
	return k.TransactionalID, true, nil
}

// encodeValue is Kafka's TransactionLogValue.
func encodeValue(t *Transaction) []byte {
	v := kmsg.NewTxnMetadataValue()
	v.Version, v.State = valueVersion, kmsg.TransactionState(t.State)
	v.ProducerID, v.PreviousProducerID, v.NextProducerID, v.ProducerEpoch = t.ProducerID, t.PreviousID, t.NextID, t.Epoch
	v.TimeoutMillis, v.StartTimestamp, v.LastUpdateTimestamp = t.TimeoutMillis, t.StartMillis, t.UpdateMillis
	v.ClientTransactionVersion = t.ClientVersion
	if t.State != Empty { // which has null
		v.Topics = encodePartitions(t.Partitions)
	}
	if t.LastEpoch >= 0 {
		v.UnknownTags.Set(lastEpochTag, binary.BigEndian.AppendUint16(nil, uint16(t.LastEpoch)))
	}
	return v.AppendTo(nil)
}

func encodePartitions(partitions []Partition) []kmsg.TxnMetadataValueTopic {
	topics := []kmsg.TxnMetadataValueTopic{}
	for _, p := range partitions {
		if n := len(topics); n == 0 || topics[n-1].Topic != p.Topic {
			t := kmsg.NewTxnMetadataValueTopic()
			t.Topic = p.Topic
			topics = append(topics, t)
		}
		last := &topics[len(topics)-1]
		last.Partitions = append(last.Partitions, p.Index)
	}
	return topics
}

func decodeValue(b []byte) (*Transaction, error) {
	if err := wire.TransactionValue.Check(b); err != nil {
		return nil, fmt.Errorf("%w: value: %w", errRecord, err)
	}
	v := kmsg.NewTxnMetadataValue()
	if err := v.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("%w: value: %w", errRecord, err)
	}
	t := &Transaction{
		ProducerID: v.ProducerID, PreviousID: v.PreviousProducerID, NextID: v.NextProducerID, Epoch: v.ProducerEpoch, LastEpoch: -1,
		TimeoutMillis: v.TimeoutMillis, State: State(v.State), StartMillis: v.StartTimestamp, UpdateMillis: v.LastUpdateTimestamp,
		ClientVersion: v.ClientTransactionVersion,
	}
	if t.State < Empty || t.State > CompleteAbort {
		return nil, fmt.Errorf("%w: state %d", errRecord, v.State)
	}
	for i := range v.Topics {
		for _, index := range v.Topics[i].Partitions {
			t.Partitions = append(t.Partitions, Partition{v.Topics[i].Topic, index})
		}
	}
	slices.SortStableFunc(t.Partitions, comparePartitions)
	t.Partitions = slices.Compact(t.Partitions)
	v.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == lastEpochTag && len(value) == 2 {
			t.LastEpoch = int16(binary.BigEndian.Uint16(value))
		}
	})
	return t, nil
}

func entryOf(id string, t *Transaction) []coordinator.Entry {
	return []coordinator.Entry{{Key: encodeKey(id), Value: encodeValue(t)}}
}

// entriesOf are the records of a state and of what follows it at once; nil: nothing does.
func entriesOf(id string, t, then *Transaction) []coordinator.Entry {
	if then == nil {
		return entryOf(id, t)
	}
	return append(entryOf(id, t), entryOf(id, then)...)
}
