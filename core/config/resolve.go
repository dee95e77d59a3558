package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Broker is a broker's effective configuration. Each field names its key; ranges
// and defaults are those of the key (broker_keys.go), and values are in range if
// Settings made them. Fields of dynamic keys change in place with SetDynamic.
type Broker struct {
	// NodeID is node.id, 0 and up. It is written to the metadata disk: a broker that
	// is started with another one does not start.
	NodeID int32
	// Rack is broker.rack, the availability zone; empty: none.
	Rack string
	// Listeners is listeners: where the broker listens. At least one.
	Listeners []Listener
	// AdvertisedListeners is advertised.listeners as set; nil: as Listeners. An address
	// that clients cannot reach lets them bootstrap and then fail.
	AdvertisedListeners []Listener
	// NumPartitions is num.partitions: partitions of a topic created without a number.
	NumPartitions int32
	// DefaultReplicationFactor is default.replication.factor. Only 1 is served: with
	// more, topics created without a factor are refused.
	DefaultReplicationFactor int16
	// AutoCreateTopics is auto.create.topics.enable.
	AutoCreateTopics bool
	// DeleteTopics is delete.topic.enable; false refuses DeleteTopics.
	DeleteTopics bool
	// MessageMaxBytes is message.max.bytes: the default of max.message.bytes, bytes of
	// a batch as it is sent.
	MessageMaxBytes int32
	// MaxConnections is max.connections, of all listeners together; 0: no bound. Each
	// takes a file descriptor and a few KiB.
	MaxConnections int
	// MaxConnectionsPerIP is max.connections.per.ip; 0: no bound.
	MaxConnectionsPerIP int
	// ConnectionsMaxIdle is connections.max.idle.ms; 0: idle connections stay open.
	ConnectionsMaxIdle time.Duration
	// QueuedMaxRequestBytes is queued.max.request.bytes: bytes of all requests in
	// memory, and, as a budget of its own, bytes of records in answers that clients
	// have not taken. At least SocketRequestMaxBytes. Too low slows all clients; too
	// high lets clients fill the machine's memory.
	QueuedMaxRequestBytes int64
	// SocketRequestMaxBytes is socket.request.max.bytes: the largest Produce request,
	// 1 to 256 MiB, at most a quarter of WALBytes and no more than CacheBytes.
	SocketRequestMaxBytes int32
	// FetchMaxBytes is fetch.max.bytes: bytes of records in one Fetch response. A first
	// batch that is larger is still returned.
	FetchMaxBytes int32
	// FetchSessionSlots is max.incremental.fetch.session.cache.slots; 0: no sessions. With too
	// few, clients send full fetches again.
	FetchSessionSlots int
	// ProducerIDExpiration is producer.id.expiration.ms. A retry that comes after it is
	// appended as a new batch, so too short a time gives duplicates; too long a time
	// fills a broker's table of producers (partition.DefaultProducersMax).
	ProducerIDExpiration time.Duration
	// RetentionCheckInterval is log.retention.check.interval.ms; 0, which the key
	// refuses, turns retention off.
	RetentionCheckInterval time.Duration
	// CleanInterval is log.cleaner.backoff.ms: how long until it is looked again for a partition to compact by key after there
	// was none; 0: a second. CleanIndexBytes is log.cleaner.dedupe.buffer.size: memory for the keys of a pass, 24 bytes each. With
	// less, a pass of many keys takes several.
	CleanInterval   time.Duration
	CleanIndexBytes int64
	// WALBytes is weir.wal.size.bytes, 64 MiB and up. It bounds what is accepted while
	// the object store does not answer; disk use exceeds it (core/node, reserve.go).
	WALBytes int64
	// WALObject says that weir.wal.kind is object: the log of a start's epoch is in the object store.
	WALObject bool
	// WALObjectBytes is weir.wal.object.bytes, 64 KiB to 64 MiB; WALCreates is weir.wal.object.creates.in.flight, 1 to 64;
	// WALLingerMin, WALLingerMax and WALLingerBurst are weir.wal.object.linger.min.ms, max and burst. See wal.Config.
	WALObjectBytes             int64
	WALCreates                 int
	WALLingerMin, WALLingerMax time.Duration
	WALLingerBurst             int
	// CacheBytes is weir.cache.bytes, memory for recent records, 32 MiB and up. Less
	// than WALBytes leaves a part of the WAL unused: what is not uploaded yet stays in
	// memory.
	CacheBytes int64
	// BlockCacheBytes is weir.block.cache.bytes, memory for records read back from the
	// object store, 8 MiB and up.
	BlockCacheBytes int64
	// CoordinatorBytes is weir.coordinator.memory.bytes, 1 MiB and up: what groups, committed offsets and transactional
	// ids may take in memory. Lower refuses new members, offsets of more partitions and new transactional ids earlier.
	CoordinatorBytes int64
	// UploadBytes is weir.upload.bytes, at most a third of CacheBytes and of WALBytes.
	// Lower makes smaller objects and more PUTs.
	UploadBytes int64
	// UploadInterval is weir.upload.interval.ms, 100 ms and up. The log's disk holds the
	// only copy of a record for about this long; shorter costs more PUTs.
	UploadInterval time.Duration
	// CompactionDisabled is the opposite of weir.compaction.enabled.
	CompactionDisabled bool
	// CompactionBytesPerSecond is weir.compaction.bytes.per.second; 0: no bound.
	CompactionBytesPerSecond int64
	// ShipAsync says that weir.metadata.shipping is async: the loss of the metadata disk
	// may lose changes that were acknowledged (R19).
	ShipAsync bool
	// ShipInterval is weir.metadata.shipping.interval.ms, 100 ms and up; 0: the default
	// of quorum.Options.
	ShipInterval time.Duration
	// ObjectStore is weir.object.store, file:PATH or s3:BUCKET[/PREFIX]; never empty.
	ObjectStore string
	// DataDir is weir.data.dir, or the directory of log.dirs if only that is set.
	DataDir string
	// WALPath is weir.wal.path, a directory or a block device; MetaPath is
	// weir.meta.path, a directory. Never empty. They belong together: the broker refuses
	// to start with those of different clusters.
	WALPath, MetaPath string
	// WALAbandoned is weir.wal.abandoned: names of lost logs without which this broker may start.
	WALAbandoned []string
	// WALShared is weir.wal.shared: other brokers use WALPath, a directory, too.
	WALShared bool
	// S3 is how the store is reached if ObjectStore is s3:.
	S3 S3
	// MetricsAddress is weir.metrics.address, host:port; empty: metrics are not served.
	// Whoever reaches it can read profiles, so keep it off public networks.
	MetricsAddress string
	// ConsumerGroup holds the defaults of consumer groups.
	ConsumerGroup ConsumerGroup
	// Groups is the configuration of group coordinators.
	Groups Groups
	// TransactionTopicPartitions is transaction.state.log.num.partitions.
	TransactionTopicPartitions int32
	// Transactions is the configuration of transaction coordinators.
	Transactions Transactions
	// Topic holds the defaults of topics.
	Topic Topic
	// Cluster is how this node and the others of its cluster reach each other.
	Cluster Cluster
}

// Transactions is the configuration of transaction coordinators. All times are at least a millisecond, but for AddRetryMax.
type Transactions struct {
	TimeoutMax     time.Duration // transaction.max.timeout.ms
	AbortInterval  time.Duration // transaction.abort.timed.out.transaction.cleanup.interval.ms
	RemoveInterval time.Duration // transaction.remove.expired.transaction.cleanup.interval.ms
	IDExpiration   time.Duration // transactional.id.expiration.ms
	// AddRetryMax is add.partitions.to.txn.retry.backoff.max.ms, or more with an object log (see addRetryMax); 0: clients ask again
	// themselves, which costs them a round trip for each transaction, and some of them seconds.
	AddRetryMax time.Duration
}

// Groups is the configuration of group coordinators.
type Groups struct {
	// InitialRebalanceDelay is group.initial.rebalance.delay.ms. Too short makes a group that starts rebalance several
	// times; longer delays the first records.
	InitialRebalanceDelay time.Duration
	// MinSessionTimeout and MaxSessionTimeout are group.min.session.timeout.ms and group.max.session.timeout.ms.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// MaxSize is group.max.size, members of a classic group.
	MaxSize int32
	// OffsetMetadataMaxBytes is offset.metadata.max.bytes.
	OffsetMetadataMaxBytes int
	// OffsetsRetention is offsets.retention.minutes. Too short a time loses the positions of consumers that pause.
	OffsetsRetention time.Duration
	// OffsetsRetentionCheckInterval is offsets.retention.check.interval.ms.
	OffsetsRetentionCheckInterval time.Duration
	// OffsetsTopicPartitions is offsets.topic.num.partitions.
	OffsetsTopicPartitions int32
}

// S3 is how an S3-compatible store is reached.
type S3 struct {
	// Endpoint is weir.s3.endpoint, a URL; empty: AWS in Region.
	Endpoint string
	// Region is weir.s3.region; empty: as the AWS SDK's environment and files say.
	Region string
	// PathStyle is weir.s3.path.style: the bucket is in the URL's path, not in its host
	// name, as most stores other than AWS want it. With the wrong value, requests fail.
	PathStyle bool
	// Checksum is weir.s3.checksum, crc32c or none. Without it the store cannot refuse a
	// body that was damaged on its way.
	Checksum string
}

// Topic is a topic's effective configuration. Each field names its topic key
// (topic_keys.go).
type Topic struct {
	// CleanupPolicy is cleanup.policy: compact, delete, or both with a comma; empty:
	// everything is kept.
	CleanupPolicy string
	// DirtyRatio is min.cleanable.dirty.ratio, in millionths. Lower compacts more often, and writes more.
	DirtyRatio int64
	// DeleteRetentionMillis is delete.retention.ms. A reader who takes longer for the whole log may miss that a key was
	// deleted. MinCompactionLagMillis and MaxCompactionLagMillis are min.compaction.lag.ms and max.compaction.lag.ms. None
	// is a Duration: these end at 292 years.
	DeleteRetentionMillis, MinCompactionLagMillis, MaxCompactionLagMillis int64
	// Retention is retention.ms; negative: for ever. A wrong value deletes records.
	Retention time.Duration
	// RetentionBytes is retention.bytes of one partition; negative: no limit. A wrong
	// value deletes records.
	RetentionBytes int64
	// MaxMessageBytes is max.message.bytes, of a batch as it is sent. Some clients do
	// not retry a batch that is refused for its size.
	MaxMessageBytes int32
	// RecordBytesMax is max.decompressed.message.bytes: bytes of one record in a
	// compressed batch, uncompressed.
	RecordBytesMax int32
	// LogAppendTime says that message.timestamp.type is LogAppendTime: the broker's
	// clock replaces producers' timestamps.
	LogAppendTime bool
	// TimestampBeforeMaxMillis is message.timestamp.before.max.ms: how far a producer's
	// timestamp may lie behind the broker's clock. Not checked with LogAppendTime. It is
	// no Duration: these end at 292 years, and producers send microseconds.
	TimestampBeforeMaxMillis int64
	// TimestampAfterMaxMillis is message.timestamp.after.max.ms: how far it may lie ahead. A
	// timestamp far ahead keeps its records from expiring. Not checked with LogAppendTime.
	TimestampAfterMaxMillis int64
	// CompressionType is compression.type. With Recompress, which is false for producer, a batch that comes with another codec is
	// compressed anew with Codec, by its number on the wire, at CodecLevel, which is the key of that codec.
	CompressionType string
	Recompress      bool
	Codec           uint8
	CodecLevel      int
	// MinInSyncReplicas is min.insync.replicas. It is shown and has no effect.
	MinInSyncReplicas int32
}

// Compacted says that the topic is compacted by key.
func (t *Topic) Compacted() bool { return strings.Contains(t.CleanupPolicy, "compact") }

// Broker resolves the broker's configuration. The same pointer is returned each
// time: what it points to changes with SetDynamic.
func (s *Settings) Broker() *Broker {
	if !s.fresh {
		s.broker = s.resolveBroker()
		s.fresh = true
	}
	return &s.broker
}

func (s *Settings) resolveBroker() Broker {
	dir := s.text("weir.data.dir")
	if dirs := SplitList(s.text("log.dirs")); len(dirs) > 0 && !s.isSet("weir.data.dir") {
		dir = dirs[0]
	}
	under := func(key, name string) string {
		if path := s.text(key); path != "" {
			return path
		}
		return strings.TrimRight(dir, "/") + "/" + name
	}
	b := Broker{
		NodeID:                     int32(s.integer("node.id")),
		Rack:                       s.text("broker.rack"),
		Listeners:                  s.listeners("listeners"),
		AdvertisedListeners:        s.listeners("advertised.listeners"),
		NumPartitions:              int32(s.integer("num.partitions")),
		DefaultReplicationFactor:   int16(min(s.integer("default.replication.factor"), math.MaxInt16)),
		AutoCreateTopics:           s.boolean("auto.create.topics.enable"),
		DeleteTopics:               s.boolean("delete.topic.enable"),
		MessageMaxBytes:            int32(s.integer("message.max.bytes")),
		MaxConnections:             int(s.integer("max.connections")),
		MaxConnectionsPerIP:        int(s.integer("max.connections.per.ip")),
		ConnectionsMaxIdle:         s.millis("connections.max.idle.ms"),
		QueuedMaxRequestBytes:      s.integer("queued.max.request.bytes"),
		SocketRequestMaxBytes:      int32(s.integer("socket.request.max.bytes")),
		FetchMaxBytes:              int32(s.integer("fetch.max.bytes")),
		FetchSessionSlots:          int(s.integer("max.incremental.fetch.session.cache.slots")),
		ProducerIDExpiration:       s.millis("producer.id.expiration.ms"),
		RetentionCheckInterval:     s.millis("log.retention.check.interval.ms"),
		CleanInterval:              s.millis("log.cleaner.backoff.ms"),
		CleanIndexBytes:            s.integer("log.cleaner.dedupe.buffer.size"),
		WALBytes:                   s.integer("weir.wal.size.bytes"),
		CacheBytes:                 s.integer("weir.cache.bytes"),
		BlockCacheBytes:            s.integer("weir.block.cache.bytes"),
		CoordinatorBytes:           s.integer("weir.coordinator.memory.bytes"),
		UploadInterval:             s.millis("weir.upload.interval.ms"),
		CompactionDisabled:         !s.boolean("weir.compaction.enabled"),
		CompactionBytesPerSecond:   s.integer("weir.compaction.bytes.per.second"),
		ShipAsync:                  s.text("weir.metadata.shipping") == "async",
		ShipInterval:               s.millis("weir.metadata.shipping.interval.ms"),
		DataDir:                    dir,
		WALPath:                    under("weir.wal.path", "wal"),
		MetaPath:                   under("weir.meta.path", "meta"),
		WALAbandoned:               SplitList(s.text("weir.wal.abandoned")),
		WALShared:                  s.boolean("weir.wal.shared"),
		ObjectStore:                s.text("weir.object.store"),
		S3:                         s.resolveS3(),
		MetricsAddress:             s.text("weir.metrics.address"),
		ConsumerGroup:              s.ConsumerGroup(nil),
		Groups:                     s.groups(),
		TransactionTopicPartitions: int32(s.integer("transaction.state.log.num.partitions")),
		Transactions: Transactions{
			TimeoutMax:     s.millis("transaction.max.timeout.ms"),
			AbortInterval:  s.millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
			RemoveInterval: s.millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
			IDExpiration:   s.millis("transactional.id.expiration.ms"),
			AddRetryMax:    s.millis("add.partitions.to.txn.retry.backoff.max.ms"),
		},
		Topic:   s.Topic(nil),
		Cluster: s.cluster(),
	}
	b.Listeners = clientListeners(b.Listeners, b.Cluster.ListenerName)
	b.AdvertisedListeners = clientListeners(b.AdvertisedListeners, b.Cluster.ListenerName)
	if b.QueuedMaxRequestBytes < 0 {
		b.QueuedMaxRequestBytes = defaultQueuedBytes
	}
	if b.ObjectStore == "" {
		b.ObjectStore = "file:" + strings.TrimRight(dir, "/") + "/objects"
	}
	b.UploadBytes = min(s.integer("weir.upload.bytes"), b.CacheBytes/3, b.WALBytes/3)
	s.resolveObjectWAL(&b)
	return b
}

// addRetryMaxOfObjectLogs is well below what brokers and clients wait for an answer.
const addRetryMaxOfObjectLogs = 5 * time.Second

// addRetryMax is how long an add waits for the transaction before where logs are objects. Two writes of a log complete a
// transaction, its markers and its last record, and each waits up to linger before it goes to the store; as much again is for the
// store. A client that is told CONCURRENT_TRANSACTIONS before may lose much more than that: franz-go
// tries a batch again after it has asked for metadata, which it does each 5 s.
func addRetryMax(configured, linger time.Duration) time.Duration {
	if configured == 0 {
		return 0
	}
	return max(configured, min(4*linger, addRetryMaxOfObjectLogs))
}

func (s *Settings) resolveObjectWAL(b *Broker) {
	b.WALObject = s.text("weir.wal.kind") == "object"
	b.WALObjectBytes = s.integer("weir.wal.object.bytes")
	b.WALCreates = int(s.integer("weir.wal.object.creates.in.flight"))
	b.WALLingerMin, b.WALLingerMax = s.millis("weir.wal.object.linger.min.ms"), s.millis("weir.wal.object.linger.max.ms")
	b.WALLingerBurst = int(s.integer("weir.wal.object.linger.burst"))
	if b.WALObject {
		b.Transactions.AddRetryMax = addRetryMax(b.Transactions.AddRetryMax, b.WALLingerMax)
	}
}

func (s *Settings) groups() Groups {
	return Groups{
		InitialRebalanceDelay:         s.millis("group.initial.rebalance.delay.ms"),
		MinSessionTimeout:             s.millis("group.min.session.timeout.ms"),
		MaxSessionTimeout:             s.millis("group.max.session.timeout.ms"),
		MaxSize:                       int32(s.integer("group.max.size")),
		OffsetMetadataMaxBytes:        int(s.integer("offset.metadata.max.bytes")),
		OffsetsRetention:              time.Duration(s.integer("offsets.retention.minutes")) * time.Minute,
		OffsetsRetentionCheckInterval: s.millis("offsets.retention.check.interval.ms"),
		OffsetsTopicPartitions:        int32(s.integer("offsets.topic.num.partitions")),
	}
}

func (s *Settings) resolveS3() S3 {
	return S3{
		Endpoint: s.text("weir.s3.endpoint"), Region: s.text("weir.s3.region"),
		PathStyle: s.boolean("weir.s3.path.style"), Checksum: s.text("weir.s3.checksum"),
	}
}

// Validate checks what depends on several keys.
func (b *Broker) Validate() error {
	if b.QueuedMaxRequestBytes < int64(b.SocketRequestMaxBytes) {
		return fmt.Errorf("queued.max.request.bytes (%d) is less than socket.request.max.bytes (%d): the largest request would never find room",
			b.QueuedMaxRequestBytes, b.SocketRequestMaxBytes)
	}
	if int64(b.SocketRequestMaxBytes) > b.WALBytes/4 || int64(b.SocketRequestMaxBytes) > b.CacheBytes {
		return fmt.Errorf("socket.request.max.bytes (%d) is more than a quarter of weir.wal.size.bytes (%d), or than weir.cache.bytes (%d)",
			b.SocketRequestMaxBytes, b.WALBytes, b.CacheBytes)
	}
	if b.WALLingerMin > b.WALLingerMax {
		return fmt.Errorf("weir.wal.object.linger.min.ms (%v) is more than weir.wal.object.linger.max.ms (%v)", b.WALLingerMin, b.WALLingerMax)
	}
	if len(b.Listeners) == 0 {
		return fmt.Errorf("listeners: there is no listener for clients")
	}
	if err := b.Cluster.validate(); err != nil {
		return err
	}
	for _, l := range b.AdvertisedListeners {
		if l.Host == "" || l.Host == "0.0.0.0" || l.Host == "::" {
			return fmt.Errorf("advertised.listeners: %s is an address that clients cannot connect to", l)
		}
		if !hasListener(b.Listeners, l.Name) {
			return fmt.Errorf("advertised.listeners: there is no listener %s", l.Name)
		}
	}
	return nil
}

func hasListener(all []Listener, name string) bool {
	for i := range all {
		if all[i].Name == name {
			return true
		}
	}
	return false
}

// Topic resolves a topic's configuration: its overrides (sorted by key or not),
// else the broker's defaults. Overrides that are not valid count as not set.
func (s *Settings) Topic(overrides []Override) Topic {
	v := func(key string) string { return s.topicValue(key, overrides) }
	n := func(key string) int64 {
		i, _ := parseInteger(v(key)) // validated
		return i
	}
	recompress, codec, level := compressionOf(v("compression.type"), n)
	return Topic{
		Recompress: recompress, Codec: codec, CodecLevel: level,
		CleanupPolicy:            v("cleanup.policy"),
		DirtyRatio:               millionths(v("min.cleanable.dirty.ratio")),
		DeleteRetentionMillis:    n("delete.retention.ms"),
		MinCompactionLagMillis:   n("min.compaction.lag.ms"),
		MaxCompactionLagMillis:   n("max.compaction.lag.ms"),
		Retention:                millis(n("retention.ms")),
		RetentionBytes:           n("retention.bytes"),
		MaxMessageBytes:          int32(n("max.message.bytes")),
		RecordBytesMax:           int32(n("max.decompressed.message.bytes")),
		LogAppendTime:            v("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMaxMillis: n("message.timestamp.before.max.ms"),
		TimestampAfterMaxMillis:  n("message.timestamp.after.max.ms"),
		CompressionType:          v("compression.type"),
		MinInSyncReplicas:        int32(n("min.insync.replicas")),
	}
}

// codecNumbers are the codecs by their numbers on the wire.
var codecNumbers = [...]string{"uncompressed", "gzip", "snappy", "lz4", "zstd"}

// compressionOf resolves compression.type; integer reads the key of a level.
func compressionOf(name string, integer func(key string) int64) (recompress bool, codec uint8, level int) {
	number := slices.Index(codecNumbers[:], name)
	if number < 0 {
		return false, 0, 0
	}
	if key := "compression." + name + ".level"; number > 0 && name != "snappy" {
		level = int(integer(key))
	}
	return true, uint8(number), level
}

// topicValue is a topic key's effective text.
func (s *Settings) topicValue(key string, overrides []Override) string {
	d, ok := TopicKey(key)
	if !ok {
		panic("config: no topic key " + key)
	}
	for i := range overrides {
		if overrides[i].Key == key && d.Validate(overrides[i].Value) == nil {
			return overrides[i].Value
		}
	}
	text, _, _ := s.effective(d, true)
	return text
}

// effective is a key's value below a topic's own: what its broker keys say, or its
// default. ok is false if it has none.
func (s *Settings) effective(d *Definition, ofTopic bool) (text string, source Source, ok bool) {
	s.chain(d, ofTopic, func(v value) bool {
		text, source, ok = multiplied(v), v.source, true
		return false
	})
	if !ok && d.Default != nil {
		return *d.Default, Default, true
	}
	return text, source, ok
}

func (s *Settings) get(key string) (string, bool) {
	d, ok := BrokerKey(key)
	if !ok {
		panic("config: no broker key " + key)
	}
	text, _, ok := s.effective(d, false)
	return text, ok
}

func (s *Settings) isSet(key string) bool {
	set := false
	s.lookup(same(key), func(v value) bool {
		set = v.source != Default
		return false
	})
	return set
}

func (s *Settings) text(key string) string {
	text, _ := s.get(key)
	return strings.TrimSpace(text)
}

func (s *Settings) integer(key string) int64 {
	n, _ := parseInteger(s.text(key)) // validated
	return n
}

func (s *Settings) boolean(key string) bool {
	on, _ := parseBool(s.text(key)) // validated
	return on
}

func (s *Settings) millis(key string) time.Duration { return millis(s.integer(key)) }

func (s *Settings) listeners(key string) []Listener {
	all, _ := ParseListeners(s.text(key)) // validated, or not set
	return all
}

// millis converts milliseconds; what does not fit is the longest duration.
func millis(n int64) time.Duration {
	if n > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Millisecond
}
