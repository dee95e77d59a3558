package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

var saramaScenarios = []scenario{
	{"sarama/codec/none", saramaCarry(sarama.CompressionNone)},
	{"sarama/codec/gzip", saramaCarry(sarama.CompressionGZIP)},
	{"sarama/codec/snappy", saramaCarry(sarama.CompressionSnappy)},
	{"sarama/codec/lz4", saramaCarry(sarama.CompressionLZ4)},
	{"sarama/codec/zstd", saramaCarry(sarama.CompressionZSTD)},
	{"sarama/record-fields", saramaRecordFields},
	{"sarama/commit-resume", saramaGroupResume},
	{"sarama/group-join-leave", saramaGroupShares},
	{"sarama/group-member-dies", saramaMemberDies},
	{"sarama/offsets-reset", saramaOffsetsReset},
	{"sarama/idempotence-broker-kill", saramaIdempotence},
	{"sarama/transaction-commit-abort", saramaTransactions},
	{"sarama/transaction-offsets", saramaConsumeTransformProduce},
	{"sarama/transaction-fence", saramaFencing},
	{"sarama/transaction-broker-kill", saramaTransactionOverKill},
	{"sarama/broker-restart", saramaRestart},
	{"sarama/admin-topics", saramaAdmin},
	{"sarama/admin-groups", saramaGroupAdmin},
}

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V4_0_0_0
	c.ClientID = "weir-clients"
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Retry.Max, c.Producer.Retry.Backoff = 600, 100*time.Millisecond
	c.Producer.Transaction.Retry.Max, c.Producer.Transaction.Retry.Backoff = 600, 100*time.Millisecond
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 600, 100*time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	return c
}

func withSaramaAdmin(use func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, saramaConfig())
	if err != nil {
		return err
	}
	return errors.Join(use(admin), admin.Close())
}

func saramaTopic(partitions int32) (string, error) {
	name := newName()
	return name, withSaramaAdmin(func(a sarama.ClusterAdmin) error {
		return a.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
	})
}

// saramaFill spreads the values over the partitions in turn.
func saramaFill(topic string, partitions int32, all []string, codec sarama.CompressionCodec) error {
	config := saramaConfig()
	config.Producer.Compression = codec
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for i, value := range all {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: int32(i) % partitions, Value: sarama.StringEncoder(value)})
	}
	return errors.Join(producer.SendMessages(messages), producer.Close())
}

// saramaTopicOf creates a topic with the values.
func saramaTopicOf(partitions int32, all []string) (string, error) {
	topic, err := saramaTopic(partitions)
	if err != nil {
		return "", err
	}
	return topic, saramaFill(topic, partitions, all, sarama.CompressionNone)
}

// saramaRead reads count committed records of partition 0.
func saramaRead(ctx context.Context, topic string, count int) ([]*sarama.ConsumerMessage, error) {
	consumer, err := sarama.NewConsumer([]string{bootstrap}, saramaConfig())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	var all []*sarama.ConsumerMessage
	for len(all) < count {
		select {
		case m := <-partition.Messages():
			all = append(all, m)
		case <-ctx.Done():
			return nil, fmt.Errorf("%d records of %d came", len(all), count)
		}
	}
	return all, nil
}

func saramaValues(all []*sarama.ConsumerMessage) []string {
	var values []string
	for _, m := range all {
		values = append(values, string(m.Value))
	}
	return values
}

func saramaCarry(codec sarama.CompressionCodec) func(context.Context) error {
	return func(ctx context.Context) error {
		topic, err := saramaTopic(1)
		if err != nil {
			return err
		}
		if err := saramaFill(topic, 1, values(0, 1000), codec); err != nil {
			return err
		}
		got, err := saramaRead(ctx, topic, 1000)
		if err != nil {
			return err
		}
		return equal(values(0, 1000), saramaValues(got))
	}
}

// saramaRecordFields carries a key, headers, a timestamp, and a null value.
func saramaRecordFields(ctx context.Context) error {
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, saramaConfig())
	if err != nil {
		return err
	}
	defer producer.Close()
	at := time.UnixMilli(time.Now().UnixMilli() - 5000)
	_, _, err = producer.SendMessage(&sarama.ProducerMessage{
		Topic: topic, Key: sarama.StringEncoder("key"), Timestamp: at,
		Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("1")}, {Key: []byte("h"), Value: []byte("2")}},
	})
	if err != nil {
		return err
	}
	got, err := saramaRead(ctx, topic, 1)
	if err != nil {
		return err
	}
	m := got[0]
	if m.Value != nil || len(m.Headers) != 2 {
		return fmt.Errorf("the value is %q, the headers are %v", m.Value, m.Headers)
	}
	return equal([]any{"key", "1", "2", at.UnixMilli()},
		[]any{string(m.Key), string(m.Headers[0].Value), string(m.Headers[1].Value), m.Timestamp.UnixMilli()})
}

// saramaMember is a member of a group: claims gets what each generation assigns, messages what the partitions have.
type saramaMember struct {
	group    sarama.ConsumerGroup
	claims   chan map[string][]int32
	messages chan saramaMessage
}

type saramaMessage struct {
	session sarama.ConsumerGroupSession
	message *sarama.ConsumerMessage
}

func (m *saramaMember) Setup(s sarama.ConsumerGroupSession) error {
	m.claims <- s.Claims()
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		select {
		case m.messages <- saramaMessage{s, message}:
		case <-s.Context().Done():
			return nil
		}
	}
	return nil
}

// joinSarama starts a member, which leaves when the context ends and the group is closed.
func joinSarama(ctx context.Context, group, topic string) (*saramaMember, error) {
	return joinSaramaAs(ctx, group, topic, saramaConfig())
}

func joinSaramaAs(ctx context.Context, group, topic string, config *sarama.Config) (*saramaMember, error) {
	g, err := sarama.NewConsumerGroup([]string{bootstrap}, group, config)
	if err != nil {
		return nil, err
	}
	m := &saramaMember{group: g, claims: make(chan map[string][]int32, 100), messages: make(chan saramaMessage)}
	go func() {
		for ctx.Err() == nil && !errors.Is(g.Consume(ctx, []string{topic}, m), sarama.ErrClosedConsumerGroup) {
		}
	}()
	return m, nil
}

// saramaGroupRead reads and commits count records as a member of the group, and leaves.
func saramaGroupRead(ctx context.Context, group, topic string, count int) ([]string, error) {
	m, err := joinSarama(ctx, group, topic)
	if err != nil {
		return nil, err
	}
	var all []string
	for len(all) < count {
		select {
		case got := <-m.messages:
			all = append(all, string(got.message.Value))
			got.session.MarkMessage(got.message, "")
			if len(all) == count {
				got.session.Commit()
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%d records of %d came", len(all), count)
		}
	}
	return all, m.group.Close()
}

func saramaGroupResume(ctx context.Context) error {
	topic, err := saramaTopicOf(2, values(0, 100))
	if err != nil {
		return err
	}
	group, all := newName(), []string(nil)
	for range 2 {
		got, err := saramaGroupRead(ctx, group, topic, 50)
		if err != nil {
			return err
		}
		all = append(all, got...)
	}
	return sameValues(values(0, 100), all)
}

// saramaGroupShares: two members own two partitions each, and when one leaves, the other owns all.
func saramaGroupShares(ctx context.Context) error {
	topic, err := saramaTopic(4)
	if err != nil {
		return err
	}
	group := newName()
	a, err := joinSarama(ctx, group, topic)
	if err != nil {
		return err
	}
	b, err := joinSarama(ctx, group, topic)
	if err != nil {
		return err
	}
	if err := errors.Join(a.owns(ctx, topic, 2), b.owns(ctx, topic, 2)); err != nil {
		return err
	}
	if err := b.group.Close(); err != nil {
		return err
	}
	return errors.Join(a.owns(ctx, topic, 4), a.group.Close())
}

// owns waits for a generation that assigns this many partitions.
func (m *saramaMember) owns(ctx context.Context, topic string, count int) error {
	for {
		select {
		case claims := <-m.claims:
			if len(claims[topic]) == count {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("the member never owned %d partitions", count)
		}
	}
}

func saramaTransactional(id string) (sarama.SyncProducer, error) {
	config := saramaConfig()
	config.Producer.Transaction.ID = id
	return sarama.NewSyncProducer([]string{bootstrap}, config)
}

// saramaTransactions: readers see what was committed, and only the offsets of committed transactions count.
func saramaTransactions(ctx context.Context) error {
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	group := newName()
	producer, err := saramaTransactional(newName())
	if err != nil {
		return err
	}
	for _, value := range []string{"committed", "aborted", "again"} {
		if err := saramaTransaction(producer, topic, group, value); err != nil {
			return fmt.Errorf("%s: %w", value, err)
		}
	}
	if err := producer.Close(); err != nil {
		return err
	}
	got, err := saramaRead(ctx, topic, 2)
	if err != nil {
		return err
	}
	if err := equal([]string{"committed", "again"}, saramaValues(got)); err != nil {
		return err
	}
	return saramaCommitted(group, topic, 1)
}

func saramaTransaction(producer sarama.SyncProducer, topic, group, value string) error {
	if err := producer.BeginTxn(); err != nil {
		return err
	}
	if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}); err != nil {
		return err
	}
	offset, end := int64(1), producer.CommitTxn
	if value == "aborted" {
		offset, end = 99, producer.AbortTxn
	}
	err := producer.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{topic: {{Partition: 0, Offset: offset, LeaderEpoch: -1}}}, group)
	if err != nil {
		return err
	}
	return end()
}

// saramaCommitted compares the group's offset of partition 0.
func saramaCommitted(group, topic string, want int64) error {
	return withSaramaAdmin(func(a sarama.ClusterAdmin) error {
		offsets, err := a.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
		if err != nil {
			return err
		}
		return equal(want, offsets.GetBlock(topic, 0).Offset)
	})
}

// saramaFencing: a second producer of a transactional id aborts the transaction of the first, which cannot commit it.
func saramaFencing(ctx context.Context) error {
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	id := newName()
	zombie, err := saramaTransactional(id)
	if err != nil {
		return err
	}
	if err := zombie.BeginTxn(); err != nil {
		return err
	}
	if _, _, err := zombie.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("zombie")}); err != nil {
		return err
	}
	alive, err := saramaTransactional(id)
	if err != nil {
		return err
	}
	defer alive.Close()
	if err := saramaTransaction(alive, topic, newName(), "alive"); err != nil {
		return err
	}
	if zombie.CommitTxn() == nil {
		return errors.New("the zombie committed")
	}
	got, err := saramaRead(ctx, topic, 1)
	if err != nil {
		return err
	}
	return equal([]string{"alive"}, saramaValues(got))
}

// saramaAdmin creates, alters, describes and deletes.
func saramaAdmin(context.Context) error {
	topic, err := saramaTopicOf(1, values(0, 10))
	if err != nil {
		return err
	}
	hour := "3600000"
	return withSaramaAdmin(func(a sarama.ClusterAdmin) error {
		err := errors.Join(
			a.CreatePartitions(topic, 3, nil, false),
			a.DeleteRecords(topic, map[int32]int64{0: 5}),
			a.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
				"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &hour},
			}, false))
		if err != nil {
			return err
		}
		entries, err := a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
		if err != nil {
			return err
		}
		topics, err := a.DescribeTopics([]string{topic})
		if err != nil {
			return err
		}
		offsets, err := a.ListOffsets(map[string]map[int32]int64{topic: {0: sarama.OffsetOldest}}, nil)
		if err != nil {
			return err
		}
		if err := equal([]any{1, hour, 3, 5}, []any{len(entries), entries[0].Value, len(topics[0].Partitions), offsets[topic][0].Offset}); err != nil {
			return err
		}
		return a.DeleteTopic(topic)
	})
}

// saramaGroupAdmin resets offsets of an empty group, describes and deletes it.
func saramaGroupAdmin(ctx context.Context) error {
	topic, err := saramaTopicOf(1, values(0, 10))
	if err != nil {
		return err
	}
	group := newName()
	if _, err := saramaGroupRead(ctx, group, topic, 10); err != nil {
		return err
	}
	if err := saramaCommitted(group, topic, 10); err != nil {
		return err
	}
	err = withSaramaAdmin(func(a sarama.ClusterAdmin) error {
		_, err := a.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{topic: {0: {Offset: 4, LeaderEpoch: -1}}}, nil)
		return err
	})
	if err != nil {
		return err
	}
	got, err := saramaGroupRead(ctx, group, topic, 6)
	if err != nil {
		return err
	}
	if err := equal(values(4, 10), got); err != nil {
		return err
	}
	return withSaramaAdmin(func(a sarama.ClusterAdmin) error {
		described, err := a.DescribeConsumerGroups([]string{group})
		if err != nil {
			return err
		}
		if err := equal("Empty", described[0].State); err != nil {
			return err
		}
		return a.DeleteConsumerGroup(group)
	})
}

// saramaStay is a member of the group until the process is killed.
func saramaStay(ctx context.Context, group, topic string) error {
	m, err := joinSarama(ctx, group, topic)
	if err != nil {
		return err
	}
	for range m.claims {
	}
	return nil
}

// saramaMemberDies: a member is killed, and the other one owns all partitions once its session is over.
func saramaMemberDies(ctx context.Context) error {
	topic, err := saramaTopic(4)
	if err != nil {
		return err
	}
	group := newName()
	m, err := joinSarama(ctx, group, topic)
	if err != nil {
		return err
	}
	if err := m.owns(ctx, topic, 4); err != nil {
		return err
	}
	if err := withKilledMember("sarama", group, topic, func() error { return m.owns(ctx, topic, 2) }); err != nil {
		return err
	}
	return errors.Join(m.owns(ctx, topic, 4), m.group.Close())
}

// saramaOffsetsReset: a group without offsets begins at the first record, or after the last.
func saramaOffsetsReset(ctx context.Context) error {
	topic, err := saramaTopicOf(1, values(0, 10))
	if err != nil {
		return err
	}
	got, err := saramaGroupRead(ctx, newName(), topic, 10)
	if err != nil {
		return err
	}
	if err := equal(values(0, 10), got); err != nil {
		return err
	}
	config := saramaConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetNewest
	m, err := joinSaramaAs(ctx, newName(), topic, config)
	if err != nil {
		return err
	}
	for {
		if err := saramaFill(topic, 1, []string{"new"}, sarama.CompressionNone); err != nil {
			return err
		}
		select {
		case got := <-m.messages:
			return errors.Join(equal("new", string(got.message.Value)), m.group.Close())
		case <-ctx.Done():
			return errors.New("no new record came")
		case <-time.After(time.Millisecond): // the member may not have begun to read
		}
	}
}

// saramaIdempotence: the broker is killed twice while a producer writes, and each record is there once and in order.
func saramaIdempotence(ctx context.Context) error {
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, saramaConfig())
	if err != nil {
		return err
	}
	kills := make(chan error, 2)
	for i := 0; i < 400; i += 10 {
		if i == 100 || i == 250 {
			go func() { kills <- controlBroker(ctx, "kill") }()
		}
		var messages []*sarama.ProducerMessage
		for _, value := range values(i, i+10) {
			messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)})
		}
		if err := producer.SendMessages(messages); err != nil {
			return err
		}
	}
	if err := errors.Join(<-kills, <-kills, producer.Close()); err != nil {
		return err
	}
	got, err := saramaRead(ctx, topic, 400)
	if err != nil {
		return err
	}
	return equal(values(0, 400), saramaValues(got))
}

// saramaTransactionOverKill: the broker is killed under an open transaction, which goes on and is committed whole.
func saramaTransactionOverKill(ctx context.Context) error {
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	producer, err := saramaTransactional(newName())
	if err != nil {
		return err
	}
	if err := producer.BeginTxn(); err != nil {
		return err
	}
	for _, value := range []string{"before", "after"} {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}); err != nil {
			return err
		}
		if value == "before" {
			if err := controlBroker(ctx, "kill"); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(producer.CommitTxn(), producer.Close()); err != nil {
		return err
	}
	got, err := saramaRead(ctx, topic, 2)
	if err != nil {
		return err
	}
	return equal([]string{"before", "after"}, saramaValues(got))
}

// saramaConsumeTransformProduce copies records and commits their offsets in transactions, the first of which is aborted once.
func saramaConsumeTransformProduce(ctx context.Context) error {
	source, err := saramaTopicOf(1, values(0, 20))
	if err != nil {
		return err
	}
	to, err := saramaTopic(1)
	if err != nil {
		return err
	}
	group := newName()
	producer, err := saramaTransactional(newName())
	if err != nil {
		return err
	}
	for _, end := range []func() error{producer.AbortTxn, producer.CommitTxn, producer.CommitTxn} {
		if err := saramaCopy(ctx, producer, group, source, to, end); err != nil {
			return err
		}
	}
	if err := producer.Close(); err != nil {
		return err
	}
	got, err := saramaRead(ctx, to, 20)
	if err != nil {
		return err
	}
	return equal(values(0, 20), saramaValues(got))
}

// saramaCopy copies ten records from where the group is.
func saramaCopy(ctx context.Context, producer sarama.SyncProducer, group, source, to string, end func() error) error {
	m, err := joinSarama(ctx, group, source)
	if err != nil {
		return err
	}
	if err := producer.BeginTxn(); err != nil {
		return err
	}
	for range 10 {
		select {
		case got := <-m.messages:
			if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: to, Value: sarama.ByteEncoder(got.message.Value)}); err != nil {
				return err
			}
			if err := producer.AddMessageToTxn(got.message, group, nil); err != nil {
				return err
			}
		case <-ctx.Done():
			return errors.New("too few records came")
		}
	}
	return errors.Join(end(), m.group.Close())
}

// saramaRestart: the broker stops and starts while a member reads, which goes on and misses nothing.
func saramaRestart(ctx context.Context) error {
	topic, err := saramaTopicOf(1, values(0, 100))
	if err != nil {
		return err
	}
	m, err := joinSarama(ctx, newName(), topic)
	if err != nil {
		return err
	}
	seen, restarted := map[string]bool{}, false
	for len(seen) < 200 {
		select {
		case got := <-m.messages:
			seen[string(got.message.Value)] = true
			got.session.MarkMessage(got.message, "")
		case <-ctx.Done():
			return fmt.Errorf("%d records of 200 came", len(seen))
		}
		if len(seen) != 100 || restarted {
			continue
		}
		restarted = true
		if err := errors.Join(controlBroker(ctx, "restart"), saramaFill(topic, 1, values(100, 200), sarama.CompressionNone)); err != nil {
			return err
		}
	}
	return m.group.Close()
}
