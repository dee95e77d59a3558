package clients

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/weirbin"
)

// admin is an administrator's client, and what it asserts.
type admin struct {
	*testing.T
	*kadm.Client
	context.Context
}

// TestKadm does an administrator's day with franz-go's kadm.
func TestKadm(t *testing.T) {
	broker := startWeir(t, weirbin.Options{Path: weirProgram(t), Dir: t.TempDir()})
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Address), kgo.DefaultProduceTopic("day"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a := admin{t, kadm.NewClient(client), ctx}
	a.cluster()
	a.create()
	a.configs()
	for i := range 10 {
		r := &kgo.Record{Value: []byte("v"), Timestamp: time.UnixMilli(time.Now().UnixMilli() - 1000 + int64(i))}
		a.ok("produce", client.ProduceSync(ctx, r).FirstErr())
	}
	a.offsets()
	a.delete()
	fresh, err := kgo.NewClient(kgo.SeedBrokers(broker.Address)) // with no metadata cached
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	topics, err := kadm.NewClient(fresh).ListTopics(ctx)
	a.ok("list", err)
	if len(topics) != 0 {
		t.Errorf("topics are %v", topics.Names())
	}
}

func (a admin) ok(what string, err error) {
	a.Helper()
	if err != nil {
		a.Errorf("%s: %v", what, err)
	}
}

func (a admin) refused(what string, err, want error) {
	a.Helper()
	if !errors.Is(err, want) {
		a.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (a admin) cluster() {
	m, err := a.BrokerMetadata(a.Context)
	a.ok("metadata", err)
	if len(m.Brokers) != 1 || m.Controller != 1 || len(m.Cluster) != 22 {
		a.Errorf("the cluster is %+v", m)
	}
	versions, err := a.ApiVersions(a.Context)
	a.ok("api versions", err)
	versions.Each(func(v kadm.BrokerApiVersions) { a.ok("api versions", v.Err) })
	dirs, err := a.DescribeAllLogDirs(a.Context, nil)
	a.ok("log directories", err)
	dirs.Each(func(d kadm.DescribedLogDir) { a.ok("log directories", d.Err) })
}

func (a admin) create() {
	name := func(s string) *string { return &s }
	_, err := a.CreateTopic(a.Context, 2, 1, map[string]*string{"retention.ms": name("600000")}, "day")
	a.ok("create", err)
	_, err = a.CreateTopic(a.Context, 2, 1, nil, "day")
	a.refused("create again", err, kerr.TopicAlreadyExists)
	_, err = a.CreateTopic(a.Context, 2, 1, map[string]*string{"no.such": name("1")}, "night")
	a.refused("create with an unknown key", err, kerr.InvalidConfig)
	dry, err := a.ValidateCreateTopics(a.Context, -1, -1, nil, "night")
	a.ok("validate", err)
	a.ok("validate", dry.Error())
	topics, err := a.ListTopics(a.Context)
	a.ok("list", err)
	if len(topics) != 1 || len(topics["day"].Partitions) != 2 || topics["day"].Partitions[1].Leader != 1 {
		a.Errorf("topics are %+v", topics)
	}
	more, err := a.CreatePartitions(a.Context, 1, "day")
	a.ok("create partitions", err)
	a.ok("create partitions", more.Error())
	fewer, err := a.UpdatePartitions(a.Context, 1, "day")
	a.ok("fewer partitions", err)
	a.refused("fewer partitions", fewer.Error(), kerr.InvalidPartitions)
}

// value is a topic's value of a key, and whether it is the topic's own.
func (a admin) value(key string) (string, bool) {
	configs, err := a.DescribeTopicConfigs(a.Context, "day")
	a.ok("describe", err)
	c, err := configs.On("day", nil)
	a.ok("describe", err)
	for _, k := range c.Configs {
		if k.Key == key {
			return k.MaybeValue(), k.Source.String() == "DYNAMIC_TOPIC_CONFIG"
		}
	}
	a.Errorf("there is no key %s", key)
	return "", false
}

func (a admin) expect(key, want string, own bool) {
	a.Helper()
	if v, o := a.value(key); v != want || o != own {
		a.Errorf("%s is %q, the topic's own %v; want %q, %v", key, v, o, want, own)
	}
}

func (a admin) alter(op kadm.IncrementalOp, key, value string) error {
	answers, err := a.AlterTopicConfigs(a.Context, []kadm.AlterConfig{{Op: op, Name: key, Value: &value}}, "day")
	a.ok("alter", err)
	answer, err := answers.On("day", nil)
	a.ok("alter", err)
	return answer.Err
}

func (a admin) configs() {
	a.expect("retention.ms", "600000", true)
	a.expect("retention.bytes", "-1", false)
	a.ok("set", a.alter(kadm.SetConfig, "retention.bytes", "5000000"))
	a.expect("retention.bytes", "5000000", true)
	a.ok("append", a.alter(kadm.AppendConfig, "cleanup.policy", "compact"))
	a.expect("cleanup.policy", "delete,compact", true)
	a.ok("subtract", a.alter(kadm.SubtractConfig, "cleanup.policy", "compact"))
	a.ok("unset", a.alter(kadm.DeleteConfig, "retention.bytes", ""))
	a.expect("retention.bytes", "-1", false)
	a.refused("a wrong value", a.alter(kadm.SetConfig, "retention.ms", "soon"), kerr.InvalidConfig)
	whole := "700000"
	answers, err := a.AlterTopicConfigsState(a.Context, []kadm.AlterConfig{{Name: "retention.ms", Value: &whole}}, "day")
	a.ok("alter the whole", err)
	for _, answer := range answers {
		a.ok("alter the whole", answer.Err)
	}
	a.expect("retention.ms", "700000", true)
	a.expect("cleanup.policy", "delete", false)
	brokers, err := a.DescribeBrokerConfigs(a.Context, 1)
	a.ok("describe the broker", err)
	for _, b := range brokers {
		if a.ok("describe the broker", b.Err); len(b.Configs) < 50 {
			a.Errorf("the broker has %d keys", len(b.Configs))
		}
	}
}

// offset is a partition's offset in a listing.
func (a admin) offset(what string, want int64, list kadm.ListedOffsets, err error) {
	a.Helper()
	a.ok(what, err)
	a.ok(what, list.Error())
	if o, _ := list.Lookup("day", 0); o.Offset != want {
		a.Errorf("%s: %+v, want %d", what, o, want)
	}
}

func (a admin) offsets() {
	list, err := a.ListEndOffsets(a.Context, "day")
	a.offset("end", 10, list, err)
	list, err = a.ListMaxTimestampOffsets(a.Context, "day")
	a.offset("largest timestamp", 9, list, err)
	at, _ := list.Lookup("day", 0)
	list, err = a.ListOffsetsAfterMilli(a.Context, at.Timestamp-3, "day")
	a.ok("by timestamp", err)
	if o, _ := list.Lookup("day", 0); o.Offset < 1 || o.Offset > 9 {
		a.Errorf("by timestamp: %+v", o)
	}
	list, err = a.ListOffsetsAfterMilli(a.Context, at.Timestamp+1, "day")
	a.offset("after all", 10, list, err)
	var upTo kadm.Offsets
	upTo.Add(kadm.Offset{Topic: "day", Partition: 0, At: 4})
	deleted, err := a.DeleteRecords(a.Context, upTo)
	a.ok("delete records", err)
	a.ok("delete records", deleted.Error())
	list, err = a.ListStartOffsets(a.Context, "day")
	a.offset("start", 4, list, err)
	upTo = kadm.Offsets{}
	upTo.Add(kadm.Offset{Topic: "day", Partition: 0, At: 11})
	deleted, err = a.DeleteRecords(a.Context, upTo)
	a.ok("delete too many records", err)
	a.refused("delete too many records", deleted.Error(), kerr.OffsetOutOfRange)
	var ask kadm.OffsetForLeaderEpochRequest
	ask.Add("day", 0, 0)
	epochs, err := a.OffsetForLeaderEpoch(a.Context, ask)
	a.ok("epochs", err)
	if e := epochs["day"][0]; e.Err != nil {
		a.Errorf("epochs: %+v", e)
	}
}

func (a admin) delete() {
	gone, err := a.DeleteTopics(a.Context, "day", "night")
	a.ok("delete", err)
	a.ok("delete", gone["day"].Err)
	a.refused("delete what is not there", gone["night"].Err, kerr.UnknownTopicOrPartition)
}
