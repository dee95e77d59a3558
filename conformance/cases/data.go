package cases

import (
	"cmp"
	"slices"
	"time"

	"weir/conformance/recordbatch"
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// now is the timestamp of records: within every retention, and not in the future.
var now = time.Now().Add(-time.Minute).UnixMilli()

// records is a batch without a producer.
func records(n int) []byte { return recordbatch.New(now, n).Bytes() }

// produceRequest has one batch, and its topic by name and by id.
func produceRequest(t topic, partition int32, batch []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 10_000
	in, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	in.Topic, in.TopicID, in.Partitions = t.name, t.id, append(in.Partitions, p)
	r.Topics = append(r.Topics, in)
	return r
}

// produced is the answer for the only partition of a request.
func produced(on suite.Caller, r *kmsg.ProduceRequest) kmsg.ProduceResponseTopicPartition {
	return suite.Call(on, r).Topics[0].Partitions[0]
}

// write appends n records and returns the offset of the first.
func write(c *suite.C, t topic, partition int32, n int) int64 {
	p := produced(c, produceRequest(t, partition, records(n)))
	c.OK(p.ErrorCode, "Produce")
	return p.BaseOffset
}

// Isolation levels.
const (
	uncommitted int8 = 0
	readStable  int8 = 1
)

// fetchRequestFor reads one partition without a session, and does not wait.
func readRequest(t topic, partition int32, offset int64) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.ReplicaID, r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = -1, 100, 0, 1<<20, -1
	in, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	in.Topic, in.TopicID, in.Partitions = t.name, t.id, append(in.Partitions, p)
	r.Topics = append(r.Topics, in)
	return r
}

// read is the answer for the only partition of a request.
func read(on suite.Caller, r *kmsg.FetchRequest) kmsg.FetchResponseTopicPartition {
	return suite.Call(on, r).Topics[0].Partitions[0]
}

// readFrom reads a partition from an offset.
func readFrom(c *suite.C, t topic, partition int32, offset int64, isolation int8) kmsg.FetchResponseTopicPartition {
	r := readRequest(t, partition, offset)
	r.IsolationLevel = isolation
	return read(c, r)
}

// visible counts the records that a client shows of what it read: no markers, and nothing of an aborted transaction.
func visible(p kmsg.FetchResponseTopicPartition) (n int) {
	open := map[int64]bool{}
	aborted := slices.SortedStableFunc(slices.Values(p.AbortedTransactions), func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	for _, b := range recordbatch.Parse(p.RecordBatches) {
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.FirstOffset+int64(b.LastOffsetDelta) {
			open[aborted[0].ProducerID], aborted = true, aborted[1:]
		}
		switch {
		case b.Attributes&recordbatch.Control != 0:
			delete(open, b.ProducerID)
		case b.Attributes&recordbatch.Transactional == 0 || !open[b.ProducerID]:
			n += int(b.NumRecords)
		}
	}
	return n
}
