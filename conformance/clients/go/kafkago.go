package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

var kafkaGoScenarios = []scenario{
	{"kafka-go-carry-none", kafkaGoCarry(0)},
	{"kafka-go-carry-gzip", kafkaGoCarry(kafka.Gzip)},
	{"kafka-go-carry-snappy", kafkaGoCarry(kafka.Snappy)},
	{"kafka-go-carry-lz4", kafkaGoCarry(kafka.Lz4)},
	{"kafka-go-carry-zstd", kafkaGoCarry(kafka.Zstd)},
	{"kafka-go-record-fields", kafkaGoRecordFields},
	{"kafka-go-group-commit-resume", kafkaGoGroupResume},
	{"kafka-go-admin", kafkaGoAdmin},
}

func kafkaGoClient() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: 10 * time.Second}
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
		BatchTimeout: 10 * time.Millisecond,
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
