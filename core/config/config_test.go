package config_test

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/core/config"

	"github.com/stretchr/testify/require"
)

func load(t *testing.T, file string, environment map[string]string, flags ...config.Override) *config.Settings {
	t.Helper()
	s, err := config.Load([]byte(file), environment, flags)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTablesAreSortedAndTheirDefaultsValid(t *testing.T) {
	names := map[string]bool{}
	for _, table := range [][]config.Definition{config.BrokerKeys(), config.TopicKeys()} {
		if !slices.IsSortedFunc(table, func(a, b config.Definition) int { return strings.Compare(a.Key, b.Key) }) {
			t.Error("a table is not sorted: keys would not be found")
		}
		for i := range table {
			d := &table[i]
			if d.Default != nil && d.Validate(*d.Default) != nil {
				t.Errorf("default of %s: %v", d.Key, d.Validate(*d.Default))
			}
			if d.Doc == "" {
				t.Errorf("%s has no text", d.Key)
			}
			for _, s := range d.Synonyms {
				if _, ok := config.BrokerKey(s.Key); !ok {
					t.Errorf("%s has synonym %s, which is no broker key", d.Key, s.Key)
				}
			}
		}
	}
	for _, d := range config.BrokerKeys() {
		name := config.EnvironmentName(d.Key)
		if names[name] {
			t.Errorf("two keys have the variable %s", name)
		}
		names[name] = true
	}
}

func TestDefaultsResolve(t *testing.T) {
	b := load(t, "", nil).Broker()
	if b.NodeID != 1 || !b.AutoCreateTopics || b.NumPartitions != 1 || b.MessageMaxBytes != 1_048_588 || b.SocketRequestMaxBytes != 100<<20 ||
		b.ConnectionsMaxIdle != 10*time.Minute || b.FetchSessionSlots != 1000 || b.ProducerIDExpiration != 24*time.Hour {
		t.Errorf("broker is %+v", *b)
	}
	if len(b.Listeners) != 1 || b.Listeners[0] != (config.Listener{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}) || b.AdvertisedListeners != nil {
		t.Errorf("listeners are %v, advertised %v", b.Listeners, b.AdvertisedListeners)
	}
	if b.WALPath != "data/wal" || b.MetaPath != "data/meta" || b.ObjectStore != "file:data/objects" || b.UploadBytes != b.CacheBytes/3 {
		t.Errorf("paths are %q %q %q, upload at %d", b.WALPath, b.MetaPath, b.ObjectStore, b.UploadBytes)
	}
	want := config.Topic{
		CleanupPolicy: "delete", DirtyRatio: 500_000, DeleteRetentionMillis: 86_400_000, MaxCompactionLagMillis: math.MaxInt64, Retention: 7 * 24 * time.Hour, RetentionBytes: -1, MaxMessageBytes: 1_048_588, RecordBytesMax: 2_147_483_639,
		TimestampBeforeMaxMillis: math.MaxInt64, TimestampAfterMaxMillis: 3_600_000, CompressionType: "producer", MinInSyncReplicas: 1,
	}
	if b.Topic != want {
		t.Errorf("topic defaults are %+v", b.Topic)
	}
}

func TestLayersOverrideEachOther(t *testing.T) {
	s := load(t, "node.id=4\nnum.partitions = 3\nbroker.rack=file\nlog.retention.hours: 2\nlog.dirs=/var/weir\nsome.plugin=x\n",
		map[string]string{"WEIR_BROKER_RACK": "environment", "WEIR_WAL_SIZE_BYTES": "2147483648", "WEIR_NODEID": "8", "PATH": "/bin"},
		config.Override{Key: "node.id", Value: "7"})
	b := s.Broker()
	if b.NodeID != 7 || b.NumPartitions != 3 || b.Rack != "environment" || b.WALBytes != 2<<30 || b.Topic.Retention != 2*time.Hour {
		t.Errorf("resolved to %+v", *b)
	}
	if b.WALPath != "/var/weir/wal" || b.DataDir != "/var/weir" {
		t.Errorf("the directory of log.dirs is not used: %q %q", b.WALPath, b.DataDir)
	}
	if !slices.Equal(s.Unknown(), []string{"some.plugin", "WEIR_NODEID"}) {
		t.Errorf("unknown keys are %v", s.Unknown())
	}
	for _, e := range s.DescribeBroker() {
		if want, ok := map[string]string{"node.id": "flag", "broker.rack": "environment", "num.partitions": "file", "fetch.max.bytes": "default"}[e.Key]; ok && e.Origin != want {
			t.Errorf("%s comes from %q, want %q", e.Key, e.Origin, want)
		}
	}
}

func TestDynamicValuesOverrideStaticOnesInPlace(t *testing.T) {
	s := load(t, "message.max.bytes=2000\n", nil)
	b := s.Broker()
	s.SetDynamic([]config.Override{{Key: "log.retention.ms", Value: "5000"}},
		[]config.Override{{Key: "log.retention.ms", Value: "9000"}, {Key: "message.max.bytes", Value: "3000"}, {Key: "node.id", Value: "9"}, {Key: "log.retention.bytes", Value: "junk"}})
	if b.Topic.Retention != 5*time.Second || b.Topic.MaxMessageBytes != 3000 || b.NodeID != 1 || b.Topic.RetentionBytes != -1 {
		t.Errorf("resolved to %+v", *b)
	}
	s.SetDynamic(nil, nil)
	if b.Topic.Retention != 7*24*time.Hour || b.Topic.MaxMessageBytes != 2000 {
		t.Errorf("values stay after they were taken back: %+v", b.Topic)
	}
}

func TestLoadReportsEveryFault(t *testing.T) {
	_, err := config.Load([]byte("node.id=x\nlisteners=nonsense\n"), map[string]string{"WEIR_NUM_PARTITIONS": "0"},
		[]config.Override{{Key: "no.such", Value: "1"}})
	for _, want := range []string{"line 1", "node.id", "line 2", "WEIR_NUM_PARTITIONS", "at least 1", "no.such"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	for _, file := range []string{
		"queued.max.request.bytes=1000", "weir.wal.size.bytes=67108864", "weir.wal.size.bytes=9223372036854775807", "advertised.listeners=PLAINTEXT://0.0.0.0:1",
		"advertised.listeners=OTHER://h:1", "listener.security.protocol.map=PLAINTEXT:TLS",
		"listeners=SSL://:1", "listeners=SSL://:1\nlistener.security.protocol.map=SSL:SSL", "log.dirs=/a,/b", "group.consumer.session.timeout.ms=1000", "group.consumer.heartbeat.interval.ms=50000\ngroup.consumer.max.heartbeat.interval.ms=50000", "group.consumer.assignors=", "group.consumer.assignors=sticky", "group.consumer.min.session.timeout.ms=70000", "weir.object.store=ftp:x", "weir.object.store=s3:/x",
	} {
		if _, err := config.Load([]byte(file), nil, nil); err == nil {
			t.Errorf("%s is accepted", file)
		}
	}
}

// TestKafkasOwnFile: the settings of the server.properties that comes with Kafka are
// taken, or known to mean nothing here.
func TestKafkasOwnFile(t *testing.T) {
	s := load(t, `process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
offsets.topic.replication.factor=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`, nil)
	if b := s.Broker(); len(b.Listeners) != 1 || b.Cluster.Listener.Port != 9093 || b.Cluster.Several() || b.DataDir != "/tmp/kraft-combined-logs" {
		t.Errorf("resolved to %+v", *b)
	}
	want := []string{
		"offsets.topic.replication.factor",
	}
	if !slices.Equal(s.Unknown(), want) {
		t.Errorf("unknown keys are %v", s.Unknown())
	}
}

func TestParseProperties(t *testing.T) {
	file := "# comment\r\n! another\n\n  a=1\nb : two words \nc three\nd\\=e=\\u0041\\tz\nlong=x,\\\n   y,\\\n z\nempty=\nflag\nend=\\\\\n"
	got, err := config.ParseProperties([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Property{
		{Key: "a", Value: "1", Line: 4},
		{Key: "b", Value: "two words", Line: 5},
		{Key: "c", Value: "three", Line: 6},
		{Key: "d=e", Value: "A\tz", Line: 7},
		{Key: "long", Value: "x,y,z", Line: 8},
		{Key: "empty", Line: 11},
		{Key: "flag", Line: 12},
		{Key: "end", Value: `\`, Line: 13},
	}
	if !slices.Equal(got, want) {
		t.Fatalf("read %v,\nwant %v", got, want)
	}
	got, err = config.ParseProperties([]byte("\ufeffnode.id=3\r\n"))
	if err != nil || len(got) != 1 || got[0].Key != "node.id" {
		t.Errorf("behind a byte order mark there is %v, %v", got, err)
	}
	if _, err := config.ParseProperties([]byte("\xff\xfen\x00o\x00=\x001\x00")); err == nil {
		t.Error("UTF-16 was taken")
	}
	if _, err := config.ParseProperties([]byte(`a=\u12`)); err == nil {
		t.Error("a short escape is accepted")
	}
}

func FuzzParseProperties(f *testing.F) {
	f.Add([]byte("a=1\\\n b\n#c\nx\\:y : z"))
	f.Fuzz(func(t *testing.T, file []byte) {
		properties, err := config.ParseProperties(file)
		if err == nil && len(properties) > len(file) {
			t.Errorf("%d properties from %d bytes", len(properties), len(file))
		}
		_, _ = config.Load(file, nil, nil)
	})
}

func TestListenersRoundTrip(t *testing.T) {
	const text = "PLAINTEXT://:9092,INSIDE://[::1]:0,OUT://host.example:65535"
	all, err := config.ParseListeners(text)
	if err != nil || config.FormatListeners(all) != text || all[1].Host != "::1" {
		t.Fatalf("%v %v", all, err)
	}
	for _, bad := range []string{"", "host:1", "A://h", "A://h:x", "A://h:70000", "A://h:1,a://g:2", "A://::1:5", "://h:1"} {
		if _, err := config.ParseListeners(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// With an object log the transaction before takes two of its writes to complete, so that an add may wait for these.
func TestAddsWaitForWritesOfAnObjectLog(t *testing.T) {
	for _, c := range []struct {
		config string
		want   time.Duration
	}{
		{"", 100 * time.Millisecond},
		{"weir.wal.object.linger.max.ms=1000", 100 * time.Millisecond},
		{"weir.wal.kind=object", time.Second},
		{"weir.wal.kind=object\nweir.wal.object.linger.max.ms=20", 100 * time.Millisecond},
		{"weir.wal.kind=object\nweir.wal.object.linger.max.ms=60000", 5 * time.Second},
		{"weir.wal.kind=object\nadd.partitions.to.txn.retry.backoff.max.ms=7000", 7 * time.Second},
		{"weir.wal.kind=object\nadd.partitions.to.txn.retry.backoff.max.ms=0", 0},
	} {
		if got := load(t, c.config, nil).Broker().Transactions.AddRetryMax; got != c.want {
			t.Errorf("with %q an add waits %v, not %v", c.config, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	for key, values := range map[string][2][]string{
		"cleanup.policy":                        {{"compact", "delete", "compact,delete", ""}, {"shred", "delete,shred"}},
		"retention.ms":                          {{"-1", "0", "9223372036854775807"}, {"-2", "x", "9223372036854775808", "1.5"}},
		"max.message.bytes":                     {{"0", "2147483647"}, {"-1", "2147483648"}},
		"message.timestamp.type":                {{"CreateTime", "LogAppendTime"}, {"createtime", ""}},
		"min.cleanable.dirty.ratio":             {{"0", "0.5", "1", "1.0", ".3"}, {"1.1", "-0.1", "2", "x", "", "."}},
		"compression.gzip.level":                {{"-1", "1", "9"}, {"0", "10"}},
		"preallocate":                           {{"true", "FALSE"}, {"yes", ""}},
		"remote.storage.enable":                 {{"false"}, {"true"}},
		"leader.replication.throttled.replicas": {{"", "*", "0:1,2:3"}, {"0", "a:b"}},
	} {
		d, ok := config.TopicKey(key)
		if !ok {
			t.Fatalf("no key %s", key)
		}
		for _, v := range values[0] {
			if err := d.Validate(v); err != nil {
				t.Errorf("%s=%q: %v", key, v, err)
			}
		}
		for _, v := range values[1] {
			if err := d.Validate(v); err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s=%q: error is %v", key, v, err)
			}
		}
	}
}

func TestAlterTopic(t *testing.T) {
	s := load(t, "", nil)
	base := []config.Override{{Key: "cleanup.policy", Value: "compact"}, {Key: "retention.ms", Value: "1000"}}
	op := func(key string, kind int8, value string) config.Op {
		return config.Op{Key: key, Op: kind, Value: value}
	}
	for name, c := range map[string]struct {
		ops     []config.Op
		replace bool
		want    []config.Override
		fault   error
	}{
		"set":                    {ops: []config.Op{op("flush.ms", config.OpSet, "5")}, want: []config.Override{base[0], {Key: "flush.ms", Value: "5"}, base[1]}},
		"set to the default":     {ops: []config.Op{op("retention.ms", config.OpSet, "604800000")}, want: []config.Override{base[0], {Key: "retention.ms", Value: "604800000"}}},
		"delete":                 {ops: []config.Op{op("retention.ms", config.OpDelete, "")}, want: base[:1]},
		"delete what is not set": {ops: []config.Op{op("flush.ms", config.OpDelete, "")}, want: base},
		"append":                 {ops: []config.Op{op("cleanup.policy", config.OpAppend, "delete,compact")}, want: []config.Override{{Key: "cleanup.policy", Value: "compact,delete"}, base[1]}},
		"append to the default":  {ops: []config.Op{op("cleanup.policy", config.OpAppend, "compact")}, replace: true, want: []config.Override{{Key: "cleanup.policy", Value: "delete,compact"}}},
		"subtract":               {ops: []config.Op{op("cleanup.policy", config.OpSubtract, "compact")}, want: []config.Override{{Key: "cleanup.policy"}, base[1]}},
		"replace":                {ops: []config.Op{op("flush.ms", config.OpSet, "5")}, replace: true, want: []config.Override{{Key: "flush.ms", Value: "5"}}},
		"append to no list":      {ops: []config.Op{op("flush.ms", config.OpAppend, "5")}, fault: config.ErrInvalidConfig},
		"unknown key":            {ops: []config.Op{op("no.such", config.OpSet, "5")}, fault: config.ErrInvalidConfig},
		"bad value":              {ops: []config.Op{op("flush.ms", config.OpSet, "x")}, fault: config.ErrInvalidConfig},
		"same key twice":         {ops: []config.Op{op("flush.ms", config.OpSet, "1"), op("flush.ms", config.OpDelete, "")}, fault: config.ErrInvalidOp},
		"unknown operation":      {ops: []config.Op{op("flush.ms", 9, "1")}, fault: config.ErrInvalidOp},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.AlterTopic(base, c.ops, c.replace)
			if c.fault != nil {
				if !errors.Is(err, c.fault) {
					t.Fatalf("error is %v", err)
				}
				return
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Fatalf("got %v %v, want %v", got, err, c.want)
			}
			if base[0].Value != "compact" || base[1].Value != "1000" {
				t.Fatal("what was given changed")
			}
		})
	}
}

func TestAlterBrokerRefusesWhatNeedsARestart(t *testing.T) {
	s := load(t, "", nil)
	if _, err := s.AlterBroker(nil, []config.Op{{Key: "node.id", Value: "2"}}, false); !errors.Is(err, config.ErrInvalidOp) {
		t.Fatalf("error is %v", err)
	}
	got, err := s.AlterBroker(nil, []config.Op{{Key: "log.retention.ms", Value: "2"}}, false)
	if err != nil || len(got) != 1 {
		t.Fatalf("%v %v", got, err)
	}
}

func TestDescribeTopicShowsTheChainOfSynonyms(t *testing.T) {
	s := load(t, "log.retention.minutes=10\n", nil)
	s.SetDynamic(nil, []config.Override{{Key: "log.retention.ms", Value: "7"}})
	find := func(overrides []config.Override, key string) config.Entry {
		for _, e := range s.DescribeTopic(overrides) {
			if e.Key == key {
				return e
			}
		}
		t.Fatalf("no entry %s", key)
		return config.Entry{}
	}
	e := find([]config.Override{{Key: "retention.ms", Value: "604800000"}}, "retention.ms")
	var chain []string
	for _, l := range e.Chain {
		chain = append(chain, l.Key+"="+*l.Value+" "+l.Source.String())
	}
	want := []string{
		"retention.ms=604800000 DYNAMIC_TOPIC_CONFIG", "log.retention.ms=7 DYNAMIC_DEFAULT_BROKER_CONFIG",
		"log.retention.minutes=10 STATIC_BROKER_CONFIG",
	}
	if e.Source != config.DynamicTopic || *e.Value != "604800000" || !slices.Equal(chain, want) {
		t.Errorf("entry is %v %v", e.Source, chain)
	}
	s.SetDynamic(nil, nil)
	if e = find(nil, "retention.ms"); *e.Value != "600000" || e.Source != config.Static {
		t.Errorf("minutes count as %s, source %v", *e.Value, e.Source)
	}
	if e = find(nil, "flush.ms"); *e.Value != "9223372036854775807" || e.Source != config.Default {
		t.Errorf("a key without a value below it has %s", *e.Value)
	}
}

func TestAdvertise(t *testing.T) {
	b := load(t, "listeners=A://:0,B://127.0.0.1:0,C://0.0.0.0:7\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,C:PLAINTEXT\nadvertised.listeners=C://outside:0\n", nil).Broker()
	bound := []config.Listener{{Name: "A", Port: 5}, {Name: "B", Host: "127.0.0.1", Port: 6}, {Name: "C", Host: "0.0.0.0", Port: 7}}
	if got := config.FormatListeners(b.Advertise(bound, "here")); got != "A://here:5,B://127.0.0.1:6,C://outside:7" {
		t.Fatalf("advertised as %s", got)
	}
}

func TestAlterAsKafkaDoes(t *testing.T) {
	s, err := config.Load(nil, nil, nil)
	require.NoError(t, err)
	set := func(key, value string) config.Op { return config.Op{Key: key, Value: value} }
	topic := func(ops ...config.Op) error {
		_, err := s.AlterTopic(nil, ops, false)
		return err
	}
	for _, o := range []config.Op{
		set("retention.bytes", "-2"), set("min.cleanable.dirty.ratio", "1e-1"), set("min.cleanable.dirty.ratio", "0.1e1"),
		set("min.cleanable.dirty.ratio", "1d"), set("internal.segment.bytes", "-3"), set("remote.log.copy.disable", "true"),
		set("leader.replication.throttled.replicas", "*"), set("leader.replication.throttled.replicas", ","),
		set("max.decompressed.message.bytes", "1000"), set("errors.deadletterqueue.group.enable", "true"), set("remote.copy.lag.ms", "-1"),
		{Key: "no.such.key", Op: config.OpDelete},
	} {
		require.NoError(t, topic(o), "%v", o)
	}
	for _, o := range []config.Op{
		set("leader.replication.throttled.replicas", "*,0:1"), set("min.cleanable.dirty.ratio", "1e1"), set("min.cleanable.dirty.ratio", "11e-1"),
		set("min.cleanable.dirty.ratio", "e1"), set("no.such.key", "1"),
		{Key: "cleanup.policy", Op: config.OpAppend},
		{Key: "retention.ms", Op: config.OpAppend, Value: "1"},
	} {
		require.ErrorIs(t, topic(o), config.ErrInvalidConfig, "%v", o)
	}
	require.ErrorIs(t, topic(set("retention.ms", "no number"), set("retention.ms", "1")), config.ErrInvalidOp, "duplicates come before values")

	made, err := s.NewTopic([]config.Override{{Key: "retention.ms", Value: "no number"}, {Key: "retention.ms", Value: "7"}})
	require.NoError(t, err, "the last of repeated keys counts")
	require.Equal(t, []config.Override{{Key: "retention.ms", Value: "7"}}, made)

	broker := func(o config.Op) error {
		_, err := s.AlterBroker(nil, []config.Op{o}, false)
		return err
	}
	for _, o := range []config.Op{
		set("num.io.threads", "9"), set("producer.id.expiration.ms", "1000"), set("log.flush.interval.ms", "-1"),
		{Key: "listeners", Op: config.OpDelete},
		{Key: "no.such.key", Op: config.OpDelete},
	} {
		require.NoError(t, broker(o), "%v", o)
	}
	for _, o := range []config.Op{set("compression.type", "no codec"), set("node.id", "4"), set("background.threads", "0")} {
		require.ErrorIs(t, broker(o), config.ErrInvalidOp, "%v", o)
	}
	require.ErrorIs(t, broker(config.Op{Key: "node.id", Op: config.OpAppend, Value: "1"}), config.ErrInvalidConfig)
}

// TestLongInputsCostLinearTime: strangers send as much as a request holds, and the loop waits. With work that is
// quadratic, each of these takes minutes.
func TestLongInputsCostLinearTime(t *testing.T) {
	const n = 400_000
	s := load(t, "", nil)
	overrides, list := make([]config.Override, n), make([]string, n)
	for i := range n {
		list[i] = strconv.Itoa(i) + ":1"
		overrides[i] = config.Override{Key: list[i], Value: "1"}
	}
	if _, err := s.NewTopic(overrides); !errors.Is(err, config.ErrInvalidConfig) {
		t.Errorf("unknown keys: %v", err)
	}
	const key = "leader.replication.throttled.replicas"
	op := config.Op{Key: key, Op: config.OpAppend, Value: strings.Join(list, ",")}
	got, err := s.AlterTopic(nil, []config.Op{op}, false)
	if err != nil || len(got) != 1 || got[0].Value != op.Value {
		t.Fatalf("%d overrides, %v", len(got), err)
	}
	op.Op = config.OpSubtract
	if got, err = s.AlterTopic(got, []config.Op{op}, false); err != nil || got[0].Value != "" {
		t.Errorf("after all is subtracted: %v", err)
	}
}

// TestSubtractRemovesOneForEach: of elements that are there several times, the first.
func TestSubtractRemovesOneForEach(t *testing.T) {
	const key = "leader.replication.throttled.replicas"
	got, err := load(t, "", nil).AlterTopic([]config.Override{{Key: key, Value: "1:1,2:1,1:1,3:1"}},
		[]config.Op{{Key: key, Op: config.OpSubtract, Value: "1:1,4:1"}}, false)
	if err != nil || got[0].Value != "2:1,1:1,3:1" {
		t.Errorf("%v, %v", got, err)
	}
}

// A group's values hold within the bounds of the broker as they are now.
func TestConsumerGroupIsWithinBounds(t *testing.T) {
	s := load(t, "group.consumer.max.session.timeout.ms=50000", nil)
	overrides := []config.Override{{Key: "consumer.assignment.interval.ms", Value: "0"}, {Key: "consumer.heartbeat.interval.ms", Value: "junk"}, {Key: "consumer.session.timeout.ms", Value: "60000"}}
	g := s.ConsumerGroup(overrides)
	if g.SessionTimeout != 50*time.Second || g.AssignmentInterval != 0 || g.HeartbeatInterval != 5*time.Second || g.Assignors[0] != "uniform" || !g.Upgrade || !g.Downgrade {
		t.Errorf("resolved to %+v", g)
	}
}

func TestCluster(t *testing.T) {
	file := "node.id=2\nprocess.roles=broker,controller\nlisteners=PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093\ncontroller.listener.names=CONTROLLER\n" +
		"controller.quorum.voters=3@c:9093,1@a:9093,2@b:9094\nbroker.session.timeout.ms=2000\n"
	c := load(t, file, nil).Broker().Cluster
	require.True(t, c.Several())
	require.True(t, c.Votes)
	require.Equal(t, []config.Voter{{Node: 1, Address: "a:9093"}, {Node: 2, Address: "b:9094"}, {Node: 3, Address: "c:9093"}}, c.Voters)
	require.Equal(t, "b:9094", c.Advertised.Address(), "as the others know it")
	require.Equal(t, 500*time.Millisecond, c.HeartbeatInterval, "a quarter of the session")
	require.Less(t, c.Lease(), 1981*time.Millisecond)
	require.Greater(t, c.Term(), 2019*time.Millisecond)

	c = load(t, file+"node.id=7\n", nil).Broker().Cluster
	require.False(t, c.Votes)
	c = load(t, "listeners=PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093\ncontroller.listener.names=CONTROLLER\nprocess.roles=broker,controller\n"+
		"controller.quorum.bootstrap.servers=a:9093, b:9093\ncontroller.quorum.auto.join.enable=true\n", nil).Broker().Cluster
	require.Equal(t, []string{"a:9093", "b:9093"}, c.Bootstrap)
	require.True(t, c.Votes && c.AutoJoin && len(c.Voters) == 0)
	require.False(t, c.Secure)
	tls := "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:"
	c = load(t, tls+"SSL\ncontroller.quorum.voters=1@a:1,2@b:1\nssl.keystore.location=own.pem\nssl.truststore.location=trust.pem\nssl.endpoint.identification.algorithm=\n", nil).Broker().Cluster
	require.True(t, c.Secure && c.Several(), "certificates are as good as a secret")
	require.Equal(t, config.TLS{KeyStore: "own.pem", TrustStore: "trust.pem", AnyHost: true}, c.TLS)
	for _, bad := range []string{
		tls + "SASL_SSL", tls + "SSL\nssl.keystore.type=JKS",
		"controller.quorum.voters=1@a:9093", // without a listener
		"controller.quorum.voters=1@a", "controller.quorum.voters=1@a:1,1@b:1", "controller.quorum.voters=1@a:1,2@a:1,3@a:1,4@a:1,5@a:1,6@a:1",
		"controller.quorum.bootstrap.servers=a:9093", "controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=a",
		"process.roles=controller", "controller.listener.names=A,B", "controller.listener.names=OTHER",
		file + "listeners=PLAINTEXT://:9092,CONTROLLER://:9093", // reached from everywhere, without a secret
		"listeners=CONTROLLER://127.0.0.1:9093\ncontroller.listener.names=CONTROLLER",
	} {
		_, err := config.Load([]byte(bad), nil, nil)
		require.Error(t, err, bad)
	}
}

func TestLagsOfCompactionMayNotContradictEachOther(t *testing.T) {
	s := load(t, "", nil)
	longest := []config.Override{{Key: "max.compaction.lag.ms", Value: "1000"}}
	_, err := s.AlterTopic(longest, []config.Op{{Key: "min.compaction.lag.ms", Value: "1001"}}, false)
	require.ErrorIs(t, err, config.ErrInvalidConfig)
	require.ErrorContains(t, err, "min.compaction.lag.ms (1001) > max.compaction.lag.ms (1000)")
	_, err = s.AlterTopic(longest, []config.Op{{Key: "min.compaction.lag.ms", Value: "1000"}}, false)
	require.NoError(t, err)
}

// The ratio is calculated with whole numbers only.
func TestRatiosAreMillionths(t *testing.T) {
	s := load(t, "", nil)
	for text, want := range map[string]int64{
		"0": 0, "1": 1_000_000, "1.0": 1_000_000, ".3": 300_000, "0.5": 500_000, "1e-1": 100_000, "0.1e1": 1_000_000,
		"0.0000019": 1, "123456789e-9": 123_456, "0.01d": 10_000, "1e-30": 0,
	} {
		require.Equal(t, want, s.Topic([]config.Override{{Key: "min.cleanable.dirty.ratio", Value: text}}).DirtyRatio, text)
	}
}
