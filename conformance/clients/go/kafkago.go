package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

var kafkaGoScenarios = []scenario{
	{"kafka-go/codec/none", kafkaGoCarry(0)},
	{"kafka-go/codec/gzip", kafkaGoCarry(kafka.Gzip)},
	{"kafka-go/codec/snappy", kafkaGoCarry(kafka.Snappy)},
	{"kafka-go/codec/lz4", kafkaGoCarry(kafka.Lz4)},
	{"kafka-go/codec/zstd", kafkaGoCarry(kafka.Zstd)},
	{"kafka-go/record-fields", kafkaGoRecordFields},
	{"kafka-go/commit-resume", kafkaGoGroupResume},
	{"kafka-go/group-join-leave", kafkaGoJoinLeave},
	{"kafka-go/group-member-dies", kafkaGoMemberDies},
	{"kafka-go/offsets-reset", kafkaGoOffsetsReset},
	{"kafka-go/broker-restart", kafkaGoRestart},
	{"kafka-go/admin-topics", kafkaGoAdmin},
	{"kafka-go/admin-groups", kafkaGoGroupAdmin},
}

func kafkaGoClient() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: 10 * time.Second, Transport: &kafka.Transport{}}
}

func kafkaGoTopic(ctx context.Context, partitions int) (string, error) {
	name := newName()
	created, err := kafkaGoClient().CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}},
	})
	if err != nil {
		return "", err
	}
	return name, created.Errors[name]
}

func kafkaGoWrite(ctx context.Context, topic string, codec kafka.Compression, messages ...kafka.Message) error {
	w := &kafka.Writer{
		Addr: kafka.TCP(bootstrap), Topic: topic, Balancer: &kafka.RoundRobin{}, RequiredAcks: kafka.RequireAll, Compression: codec,
		BatchTimeout: 10 * time.Millisecond, Transport: &kafka.Transport{}, // the default one remembers for seconds that there was no such topic
	}
	return errors.Join(w.WriteMessages(ctx, messages...), w.Close())
}

func kafkaGoMessages(all []string) []kafka.Message {
	var messages []kafka.Message
	for _, value := range all {
		messages = append(messages, kafka.Message{Value: []byte(value)})
	}
	return messages
}

// kafkaGoRead reads count records: of partition 0, or as a member of the group, which commits them and leaves.
func kafkaGoRead(ctx context.Context, topic, group string, count int) ([]kafka.Message, error) {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, Topic: topic, GroupID: group, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
	})
	var all []kafka.Message
	for len(all) < count {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%d records of %d came: %w", len(all), count, err), r.Close())
		}
		all = append(all, m)
	}
	if group == "" {
		return all, r.Close()
	}
	return all, errors.Join(r.CommitMessages(ctx, all...), r.Close())
}

func kafkaGoValues(all []kafka.Message) []string {
	var values []string
	for _, m := range all {
		values = append(values, string(m.Value))
	}
	return values
}

func kafkaGoCarry(codec kafka.Compression) func(context.Context) error {
	return func(ctx context.Context) error {
		topic, err := kafkaGoTopic(ctx, 1)
		if err != nil {
			return err
		}
		if err := kafkaGoWrite(ctx, topic, codec, kafkaGoMessages(values(0, 1000))...); err != nil {
			return err
		}
		got, err := kafkaGoRead(ctx, topic, "", 1000)
		if err != nil {
			return err
		}
		return equal(values(0, 1000), kafkaGoValues(got))
	}
}

// kafkaGoRecordFields carries a key, a header, a timestamp, and a null value.
func kafkaGoRecordFields(ctx context.Context) error {
	topic, err := kafkaGoTopic(ctx, 1)
	if err != nil {
		return err
	}
	at := time.UnixMilli(time.Now().UnixMilli() - 5000)
	err = kafkaGoWrite(ctx, topic, 0, kafka.Message{Key: []byte("key"), Time: at, Headers: []kafka.Header{{Key: "h", Value: []byte("1")}}})
	if err != nil {
		return err
	}
	got, err := kafkaGoRead(ctx, topic, "", 1)
	if err != nil {
		return err
	}
	m := got[0]
	if len(m.Value) != 0 || len(m.Headers) != 1 {
		return fmt.Errorf("the value is %q, the headers are %v", m.Value, m.Headers)
	}
	return equal([]any{"key", "1", at.UnixMilli()}, []any{string(m.Key), string(m.Headers[0].Value), m.Time.UnixMilli()})
}

func kafkaGoGroupResume(ctx context.Context) error {
	topic, err := kafkaGoTopic(ctx, 2)
	if err != nil {
		return err
	}
	if err := kafkaGoWrite(ctx, topic, 0, kafkaGoMessages(values(0, 100))...); err != nil {
		return err
	}
	group, all := newName(), []string(nil)
	for range 2 {
		got, err := kafkaGoRead(ctx, topic, group, 50)
		if err != nil {
			return err
		}
		all = append(all, kafkaGoValues(got)...)
	}
	return sameValues(values(0, 100), all)
}

// kafkaGoAdmin creates, alters, describes and deletes.
func kafkaGoAdmin(ctx context.Context) error {
	topic, err := kafkaGoTopic(ctx, 1)
	if err != nil {
		return err
	}
	c := kafkaGoClient()
	altered, err := c.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "3600000", ConfigOperation: kafka.ConfigOperationSet}},
	}}})
	if err != nil {
		return err
	}
	if err := altered.Resources[0].Error; err != nil {
		return err
	}
	described, err := c.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"},
	}}})
	if err != nil {
		return err
	}
	entries := described.Resources[0].ConfigEntries
	if err := equal([]any{1, "3600000"}, []any{len(entries), entries[0].ConfigValue}); err != nil {
		return err
	}
	deleted, err := c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return deleted.Errors[topic]
}

// joinKafkaGo starts a member, which reads and throws away until it is closed.
func joinKafkaGo(ctx context.Context, group, topic string, start int64) *kafka.Reader {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, Topic: topic, GroupID: group, StartOffset: start, MaxWait: 100 * time.Millisecond,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
	})
	go func() {
		for ctx.Err() == nil {
			if _, err := r.FetchMessage(ctx); errors.Is(err, io.EOF) {
				return
			}
		}
	}()
	return r
}

// kafkaGoStay is a member of the group until the process is killed.
func kafkaGoStay(ctx context.Context, group, topic string) error {
	defer joinKafkaGo(ctx, group, topic, kafka.FirstOffset).Close()
	<-ctx.Done()
	return ctx.Err()
}

// kafkaGoShared waits until the group is stable and its members own so many partitions: the client does not tell a member's own.
func kafkaGoShared(ctx context.Context, group, topic string, want ...int) error {
	for {
		described, err := kafkaGoClient().DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		var owned []int
		for _, member := range described.Groups[0].Members {
			for _, t := range member.MemberAssignments.Topics {
				owned = append(owned, len(t.Partitions))
			}
		}
		if described.Groups[0].GroupState == "Stable" && equal(want, owned) == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("members own %v, not %v", owned, want)
		}
	}
}

// kafkaGoJoinLeave: two members own two partitions each, and when one leaves, the other owns all.
func kafkaGoJoinLeave(ctx context.Context) error {
	topic, err := kafkaGoTopic(ctx, 4)
	if err != nil {
		return err
	}
	group := newName()
	a := joinKafkaGo(ctx, group, topic, kafka.FirstOffset)
	if err := kafkaGoShared(ctx, group, topic, 4); err != nil {
		return err
	}
	b := joinKafkaGo(ctx, group, topic, kafka.FirstOffset)
	if err := kafkaGoShared(ctx, group, topic, 2, 2); err != nil {
		return err
	}
	return errors.Join(b.Close(), kafkaGoShared(ctx, group, topic, 4), a.Close())
}

// kafkaGoMemberDies: a member is killed, and the other one owns all partitions once its session is over.
func kafkaGoMemberDies(ctx context.Context) error {
	topic, err := kafkaGoTopic(ctx, 4)
	if err != nil {
		return err
	}
	group := newName()
	a := joinKafkaGo(ctx, group, topic, kafka.FirstOffset)
	err = withKilledMember("kafka-go", group, topic, func() error { return kafkaGoShared(ctx, group, topic, 2, 2) })
	if err != nil {
		return err
	}
	return errors.Join(kafkaGoShared(ctx, group, topic, 4), a.Close())
}

// kafkaGoOffsetsReset: a group begins where its offset was set.
func kafkaGoOffsetsReset(ctx context.Context) error {
	topic, group, err := kafkaGoGroupAt(ctx, 4)
	if err != nil {
		return err
	}
	got, err := kafkaGoRead(ctx, topic, group, 6)
	if err != nil {
		return err
	}
	return equal(values(4, 10), kafkaGoValues(got))
}

// kafkaGoGroupAt returns a topic of ten records and a group without members whose offset is this.
func kafkaGoGroupAt(ctx context.Context, offset int64) (topic, group string, err error) {
	topic, err = kafkaGoTopic(ctx, 1)
	if err != nil {
		return "", "", err
	}
	group = newName()
	if err := kafkaGoWrite(ctx, topic, 0, kafkaGoMessages(values(0, 10))...); err != nil {
		return "", "", err
	}
	committed, err := kafkaGoClient().OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Offset: offset}}},
	})
	if err != nil {
		return "", "", err
	}
	return topic, group, committed.Topics[topic][0].Error
}

// kafkaGoRestart: the broker stops and starts while a member reads, which goes on and misses nothing.
func kafkaGoRestart(ctx context.Context) error {
	topic, err := kafkaGoTopic(ctx, 1)
	if err != nil {
		return err
	}
	if err := kafkaGoWrite(ctx, topic, 0, kafkaGoMessages(values(0, 100))...); err != nil {
		return err
	}
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, Topic: topic, GroupID: newName(), StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
	})
	seen := map[string]bool{}
	for len(seen) < 200 {
		m, err := r.ReadMessage(ctx) // commits it
		if ctx.Err() != nil {
			return fmt.Errorf("%d records of 200 came: %w", len(seen), err)
		}
		if err != nil {
			continue // it is read again
		}
		seen[string(m.Value)] = true
		if len(seen) != 100 {
			continue
		}
		if err := errors.Join(controlBroker(ctx, "restart"), kafkaGoWrite(ctx, topic, 0, kafkaGoMessages(values(100, 200))...)); err != nil {
			return err
		}
	}
	return r.Close()
}

// kafkaGoGroupAdmin describes, lists and deletes a group, and reads its offset.
func kafkaGoGroupAdmin(ctx context.Context) error {
	topic, group, err := kafkaGoGroupAt(ctx, 4)
	if err != nil {
		return err
	}
	c := kafkaGoClient()
	offsets, err := c.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
	if err != nil {
		return err
	}
	described, err := c.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	if err := equal([]any{4, "Empty"}, []any{offsets.Topics[topic][0].CommittedOffset, described.Groups[0].GroupState}); err != nil {
		return err
	}
	deleted, err := c.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return deleted.Errors[group]
}
