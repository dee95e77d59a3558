package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/record"
)

// someTime is the timestamp of first records, in milliseconds: 2026-01-01, so that no
// retention or clock check of a broker minds it.
var someTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// producerBatch asks for a producer id and returns how its batches are made.
func (b *Bait) producerBatch(ctx context.Context) (func(sequence int32, n int) []byte, error) {
	response, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, b.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("producer id: %w", err)
	}
	return func(sequence int32, n int) []byte {
		return batch(record.Builder{ProducerID: response.ProducerID, ProducerEpoch: response.ProducerEpoch, BaseSequence: sequence}, someTime, n)
	}, nil
}

func duplicate(ctx context.Context, b *Bait) error {
	of, err := b.producerBatch(ctx)
	if err != nil {
		return err
	}
	for i := range int32(5) {
		if err := b.stored(ctx, of(i*2, 2), int64(i)*2); err != nil {
			return err
		}
	}
	for i := range int32(5) {
		if err := b.stored(ctx, of(i*2, 2), int64(i)*2); err != nil {
			return fmt.Errorf("batch %d again: %w", i, err)
		}
	}
	return b.listed(ctx, -1, 10)
}

func sequenceGap(ctx context.Context, b *Bait) error {
	of, err := b.producerBatch(ctx)
	if err != nil {
		return err
	}
	return errors.Join(b.stored(ctx, of(0, 2), 0), b.refused(ctx, of(3, 1), kerr.OutOfOrderSequenceNumber),
		b.stored(ctx, of(2, 1), 2), b.listed(ctx, -1, 3))
}

func wrongChecksum(ctx context.Context, b *Bait) error {
	bad := plain(someTime, 3)
	bad[len(bad)-1] ^= 1
	return errors.Join(b.refused(ctx, bad, kerr.CorruptMessage), b.listed(ctx, -1, 0), b.stored(ctx, plain(someTime, 1), 0))
}

func tooLarge(ctx context.Context, b *Bait) error {
	large := record.AppendBatch(nil, []record.Record{{Timestamp: someTime, Value: bytes.Repeat([]byte("x"), 1<<20+100)}})
	return errors.Join(b.refused(ctx, large, kerr.MessageTooLarge), b.listed(ctx, -1, 0))
}

func strangeAcks(ctx context.Context, b *Bait) error {
	w, err := b.dial(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	offset, code, err := w.produce(b.produceRequest(2, plain(someTime, 1)))
	if err != nil || code != kerr.InvalidRequiredAcks.Code {
		return fmt.Errorf("answered with offset %d, %w", offset, errors.Join(kerr.ErrorForCode(code), err))
	}
	return b.listed(ctx, -1, 0)
}

// An answer to acks=0 would be taken for the next request's.
func noAcks(ctx context.Context, b *Bait) error {
	w, err := b.dial(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	for range 3 {
		if err := w.send(b.produceRequest(0, plain(someTime, 2))); err != nil {
			return err
		}
	}
	offset, code, err := w.produce(b.produceRequest(-1, plain(someTime, 1)))
	if err != nil || code != 0 || offset != 6 {
		return fmt.Errorf("the batch after three of acks=0 is at offset %d, not 6: %w", offset, errors.Join(kerr.ErrorForCode(code), err))
	}
	return nil
}

func fetchRange(ctx context.Context, b *Bait) error {
	if err := b.stored(ctx, plain(someTime, 3), 0); err != nil {
		return err
	}
	for _, offset := range []int64{4, 1 << 40, -5} {
		answer, err := b.fetch(ctx, offset, time.Second)
		if err != nil {
			return err
		}
		if answer.ErrorCode != kerr.OffsetOutOfRange.Code {
			return fmt.Errorf("offset %d: %v", offset, kerr.ErrorForCode(answer.ErrorCode))
		}
	}
	begin := time.Now()
	answer, err := b.fetch(ctx, 3, 300*time.Millisecond)
	switch {
	case err != nil:
		return err
	case answer.ErrorCode != 0 || len(answer.RecordBatches) > 0 || answer.HighWatermark != 3:
		return fmt.Errorf("at the end: %v, %d bytes, high watermark %d", kerr.ErrorForCode(answer.ErrorCode), len(answer.RecordBatches), answer.HighWatermark)
	case time.Since(begin) < 250*time.Millisecond:
		return fmt.Errorf("at the end: answered after %v, not 300 ms", time.Since(begin))
	}
	return nil
}

func fetchInside(ctx context.Context, b *Bait) error {
	if err := errors.Join(b.stored(ctx, plain(someTime, 5), 0), b.stored(ctx, plain(someTime, 5), 5)); err != nil {
		return err
	}
	answer, err := b.fetch(ctx, 7, time.Second)
	if err != nil {
		return err
	}
	header, err := record.ReadHeader(answer.RecordBatches)
	if err != nil || header.BaseOffset != 5 {
		return fmt.Errorf("the answer begins with offset %d: %w", header.BaseOffset, err)
	}
	return nil
}

func offsetsByTime(ctx context.Context, b *Bait) error {
	return errors.Join(
		b.listed(ctx, -1, 0), b.listed(ctx, -2, 0), b.listed(ctx, someTime, -1),
		b.stored(ctx, plain(someTime, 3), 0), b.stored(ctx, plain(someTime+100, 3), 3),
		b.listed(ctx, 0, 0), b.listed(ctx, someTime+1, 1), b.listed(ctx, someTime+50, 3), b.listed(ctx, someTime+102, 5),
		b.listed(ctx, someTime+103, -1), b.listed(ctx, -3, 5), b.listed(ctx, -1, 6), b.listed(ctx, -2, 0))
}

func deleteRecords(ctx context.Context, b *Bait) error {
	if err := b.stored(ctx, plain(someTime, 6), 0); err != nil {
		return err
	}
	admin := kadm.NewClient(b.client)
	offsets := kadm.Offsets{}
	offsets.AddOffset(b.Topic, 0, 4, -1)
	deleted, err := admin.DeleteRecords(ctx, offsets)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		return err
	}
	low, err := b.fetch(ctx, 3, time.Second)
	if err == nil && low.ErrorCode != kerr.OffsetOutOfRange.Code {
		err = fmt.Errorf("a deleted offset: %v", kerr.ErrorForCode(low.ErrorCode))
	}
	return errors.Join(err, b.listed(ctx, -2, 4), b.listed(ctx, -1, 6), b.stored(ctx, plain(someTime, 1), 6))
}

func unknownVersion(ctx context.Context, b *Bait) error {
	w, err := b.dial(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	request := kmsg.NewPtrApiVersionsRequest()
	request.SetVersion(99)
	if err := w.send(request); err != nil {
		return err
	}
	response := kmsg.NewPtrApiVersionsResponse()
	if err := w.receive(response); err != nil {
		return fmt.Errorf("the answer is not of version 0: %w", err)
	}
	if response.ErrorCode != kerr.UnsupportedVersion.Code {
		return fmt.Errorf("answered with %v", kerr.ErrorForCode(response.ErrorCode))
	}
	for _, key := range response.ApiKeys {
		if key.ApiKey == 18 {
			return nil
		}
	}
	return errors.New("the answer does not say which versions of ApiVersions there are")
}

func topicNames(ctx context.Context, b *Bait) error {
	admin := kadm.NewClient(b.client)
	create := func(name string) error {
		_, err := admin.CreateTopic(ctx, 1, 1, nil, name)
		return err
	}
	want := map[string]error{
		"": kerr.InvalidTopicException, ".": kerr.InvalidTopicException, "..": kerr.InvalidTopicException, "a b": kerr.InvalidTopicException,
		"a/b": kerr.InvalidTopicException, string(bytes.Repeat([]byte("n"), 250)): kerr.InvalidTopicException, b.Topic: kerr.TopicAlreadyExists,
		b.Topic + ".x": nil,
	}
	for _, name := range []string{"", ".", "..", "a b", "a/b", string(bytes.Repeat([]byte("n"), 250)), b.Topic, b.Topic + ".x"} {
		if err := create(name); !errors.Is(err, want[name]) {
			return fmt.Errorf("topic %.20q: %w, not %w", name, orNone(err), orNone(want[name]))
		}
	}
	if err := create(b.Topic + "_x"); !errors.Is(err, kerr.InvalidTopicException) {
		return fmt.Errorf("%s_x beside %s.x: %w", b.Topic, b.Topic, orNone(err))
	}
	return nil
}

func orNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

func topicAgain(ctx context.Context, b *Bait) error {
	admin := kadm.NewClient(b.client)
	if err := b.stored(ctx, plain(someTime, 3), 0); err != nil {
		return err
	}
	before, err := b.topicID(ctx)
	if err != nil {
		return err
	}
	if _, err := admin.DeleteTopic(ctx, b.Topic); err != nil {
		return err
	}
	if err := CreateTopic(ctx, b.Endpoint, b.Topic, 1); err != nil {
		return err
	}
	if err := b.shown(ctx, before); err != nil {
		return err
	}
	return errors.Join(b.listed(ctx, -1, 0), b.stored(ctx, plain(someTime, 1), 0))
}

// shown waits until the broker's metadata have the topic with an id other than before:
// in Kafka they follow the controller's with a delay.
func (b *Bait) shown(ctx context.Context, before [16]byte) error {
	for {
		id, err := b.topicID(ctx)
		if err == nil && id != before {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the new topic is not shown: id %x, was %x: %w", id, before, errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// topicID asks the broker, not the client's memory.
func (b *Bait) topicID(ctx context.Context) ([16]byte, error) {
	request := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &b.Topic
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, b.broker)
	if err != nil {
		return [16]byte{}, err
	}
	if len(response.Topics) != 1 {
		return [16]byte{}, fmt.Errorf("metadata: the answer has %d topics", len(response.Topics))
	}
	return response.Topics[0].TopicID, kerr.ErrorForCode(response.Topics[0].ErrorCode)
}
