package clients

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"weir/core/record"
)

// Trap is one case in which a broker is easily wrong, and what Apache Kafka does.
type Trap struct {
	Name string
	// Set tries it on a topic of one partition that is new and empty, and says what went
	// wrong.
	Set func(ctx context.Context, b *Bait) error
}

// Traps are all of them.
func Traps() []Trap {
	return []Trap{
		{"a duplicate is acknowledged at its first offset", duplicate},
		{"a gap in sequence is refused", sequenceGap},
		{"a batch with a wrong checksum is refused and not stored", wrongChecksum},
		{"a batch beyond max.message.bytes is refused", tooLarge},
		{"acks other than 0, 1 and -1 are refused", strangeAcks},
		{"acks=0 gets no answer and the connection goes on", noAcks},
		{"fetches outside the log are out of range, at its end they wait", fetchRange},
		{"a fetch inside a batch returns the whole batch", fetchInside},
		{"offsets are found by time, at the start and at the end", offsetsByTime},
		{"deleted records move the start, not the end", deleteRecords},
		{"an unknown ApiVersions version is answered in version 0", unknownVersion},
		{"bad and colliding topic names are refused", topicNames},
		{"a topic made again under its name is empty and has another id", topicAgain},
	}
}

// Bait is what a trap works with.
type Bait struct {
	Endpoint Endpoint
	Topic    string
	client   *kgo.Client
	broker   *kgo.Broker
}

// Try sets one trap at an endpoint, on a new topic of the given name.
func Try(ctx context.Context, e Endpoint, topic string, trap Trap) error {
	if err := CreateTopic(ctx, e, topic, 1); err != nil {
		return err
	}
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(0, 10) // the highest with topic names, as in the requests below
	versions.SetMaxKeyVersion(1, 12)
	client, err := connect(e, kgo.MaxVersions(versions))
	if err != nil {
		return err
	}
	defer client.Close()
	b := &Bait{Endpoint: e, Topic: topic, client: client, broker: client.SeedBrokers()[0]}
	if err := trap.Set(ctx, b); err != nil {
		return fmt.Errorf("%s: %w", trap.Name, err)
	}
	return nil
}

// batch makes a batch of n records at the given time in milliseconds.
func batch(builder record.Builder, millis int64, n int) []byte {
	records := make([]record.Record, n)
	for i := range records {
		records[i] = record.Record{Timestamp: millis + int64(i), Value: fmt.Appendf(nil, "record %d", i)}
	}
	return builder.AppendBatch(nil, records)
}

// plain makes a batch without a producer.
func plain(millis int64, n int) []byte {
	return batch(record.Builder{ProducerID: record.NoProducer, ProducerEpoch: -1, BaseSequence: -1}, millis, n)
}

func (b *Bait) produceRequest(acks int16, batch []byte) *kmsg.ProduceRequest {
	request := kmsg.NewPtrProduceRequest()
	request.SetVersion(produceVersion)
	request.Acks, request.TimeoutMillis = acks, 10_000
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = batch
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = b.Topic, append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	return request
}

// produce asks for acks=all: the client sets its own acks on every request.
func (b *Bait) produce(ctx context.Context, batch []byte) (offset int64, code int16, err error) {
	response, err := b.produceRequest(-1, batch).RequestWith(ctx, b.broker)
	if err != nil {
		return 0, 0, err
	}
	return produced(response)
}

func produced(response *kmsg.ProduceResponse) (offset int64, code int16, err error) {
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return 0, 0, fmt.Errorf("the answer has %d topics", len(response.Topics))
	}
	one := response.Topics[0].Partitions[0]
	return one.BaseOffset, one.ErrorCode, nil
}

// stored produces and wants the batch at an offset.
func (b *Bait) stored(ctx context.Context, batch []byte, want int64) error {
	offset, code, err := b.produce(ctx, batch)
	if err == nil && (code != 0 || offset != want) {
		err = fmt.Errorf("stored at offset %d with %v, not at %d", offset, kerr.ErrorForCode(code), want)
	}
	return err
}

// refused produces and wants an error.
func (b *Bait) refused(ctx context.Context, batch []byte, want *kerr.Error) error {
	_, code, err := b.produce(ctx, batch)
	if err == nil && code != want.Code {
		err = fmt.Errorf("answered with %v, not %v", kerr.ErrorForCode(code), want)
	}
	return err
}

func (b *Bait) fetch(ctx context.Context, offset int64, wait time.Duration) (kmsg.FetchResponseTopicPartition, error) {
	request := kmsg.NewPtrFetchRequest()
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes, request.SessionEpoch = int32(wait.Milliseconds()), 1, 1<<20, -1
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.FetchOffset, partition.PartitionMaxBytes = offset, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = b.Topic, append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, b.broker)
	if err != nil {
		return kmsg.FetchResponseTopicPartition{}, err
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return kmsg.FetchResponseTopicPartition{}, fmt.Errorf("the answer has error %d and %d topics", response.ErrorCode, len(response.Topics))
	}
	return response.Topics[0].Partitions[0], nil
}

// listed wants an offset for a time, or for -1 (end) and -2 (start).
func (b *Bait) listed(ctx context.Context, millis, want int64) error {
	request := kmsg.NewPtrListOffsetsRequest()
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Timestamp = millis
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = b.Topic, append(topic.Partitions, partition)
	request.Topics, request.ReplicaID = append(request.Topics, topic), -1
	response, err := request.RequestWith(ctx, b.broker)
	if err != nil {
		return err
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return fmt.Errorf("offsets: the answer has %d topics", len(response.Topics))
	}
	if one := response.Topics[0].Partitions[0]; one.ErrorCode != 0 || one.Offset != want {
		return fmt.Errorf("time %d has offset %d and %v, not %d", millis, one.Offset, kerr.ErrorForCode(one.ErrorCode), want)
	}
	return nil
}
