package diff

import (
	"weir/conformance/recordbatch"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// baseTimestamp of all records, in ms: within retention of both brokers while the tests run from now; see [SetNow].
var baseTimestamp int64

// SetNow says when the first records are dated, in ms since 1970; the same for both endpoints.
func SetNow(millis int64) { baseTimestamp = millis }

// batch is a record batch of n records, a millisecond apart.
func batch(timestamp int64, n int) []byte { return recordbatch.New(timestamp, n).Bytes() }

// produce is a request with one batch.
func produce(version int16, topic string, id [16]byte, partition int32, records []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = version, -1, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}
