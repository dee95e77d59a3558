package config

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Broker is a broker's effective configuration.
type Broker struct {
	NodeID                   int32
	Rack                     string // empty: none
	Listeners                []Listener
	AdvertisedListeners      []Listener // as set; nil: as Listeners
	NumPartitions            int32
	DefaultReplicationFactor int16
	AutoCreateTopics         bool
	DeleteTopics             bool
	MessageMaxBytes          int32
	MaxConnections           int
	MaxConnectionsPerIP      int
	ConnectionsMaxIdle       time.Duration
	QueuedMaxRequestBytes    int64 // budget for all frames
	SocketRequestMaxBytes    int32
	FetchMaxBytes            int32
	FetchSessionSlots        int
	ProducerIDExpiration     time.Duration
	RetentionCheckInterval   time.Duration
	WALBytes                 int64
	CacheBytes               int64 // log cache
	BlockCacheBytes          int64
	UploadBytes              int64 // not above a third of the cache or of the WAL
	UploadInterval           time.Duration
	ShipAsync                bool          // weir.metadata.shipping is async
	ShipInterval             time.Duration // weir.metadata.shipping.interval.ms; zero: the quorum's default
	ObjectStore              string        // file:PATH or s3:BUCKET[/PREFIX]
	DataDir                  string
	WALPath, MetaPath        string
	S3                       S3
	MetricsAddress           string // host:port, or empty
	Topic                    Topic  // defaults for topics
}

// S3 is how an S3-compatible store is reached. Empty strings leave it to the AWS SDK.
type S3 struct {
	Endpoint  string
	Region    string
	PathStyle bool
	Checksum  string // crc32c or none
}

// Topic is a topic's effective configuration.
type Topic struct {
	CleanupPolicy      string        // compact, delete, both with a comma, or empty: keep all
	Retention          time.Duration // negative: for ever
	RetentionBytes     int64         // negative: no limit
	MaxMessageBytes    int32
	RecordBytesMax     int32         // max.decompressed.message.bytes: of one record in a compressed batch
	LogAppendTime      bool          // message.timestamp.type
	TimestampBeforeMax time.Duration // message.timestamp.before.max.ms
	TimestampAfterMax  time.Duration
	CompressionType    string
	MinInSyncReplicas  int32
}

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
		NodeID:                   int32(s.integer("node.id")),
		Rack:                     s.text("broker.rack"),
		Listeners:                s.listeners("listeners"),
		AdvertisedListeners:      s.listeners("advertised.listeners"),
		NumPartitions:            int32(s.integer("num.partitions")),
		DefaultReplicationFactor: int16(min(s.integer("default.replication.factor"), math.MaxInt16)),
		AutoCreateTopics:         s.boolean("auto.create.topics.enable"),
		DeleteTopics:             s.boolean("delete.topic.enable"),
		MessageMaxBytes:          int32(s.integer("message.max.bytes")),
		MaxConnections:           int(s.integer("max.connections")),
		MaxConnectionsPerIP:      int(s.integer("max.connections.per.ip")),
		ConnectionsMaxIdle:       s.millis("connections.max.idle.ms"),
		QueuedMaxRequestBytes:    s.integer("queued.max.request.bytes"),
		SocketRequestMaxBytes:    int32(s.integer("socket.request.max.bytes")),
		FetchMaxBytes:            int32(s.integer("fetch.max.bytes")),
		FetchSessionSlots:        int(s.integer("max.incremental.fetch.session.cache.slots")),
		ProducerIDExpiration:     s.millis("producer.id.expiration.ms"),
		RetentionCheckInterval:   s.millis("log.retention.check.interval.ms"),
		WALBytes:                 s.integer("weir.wal.size.bytes"),
		CacheBytes:               s.integer("weir.cache.bytes"),
		BlockCacheBytes:          s.integer("weir.block.cache.bytes"),
		UploadInterval:           s.millis("weir.upload.interval.ms"),
		ShipAsync:                s.text("weir.metadata.shipping") == "async",
		ShipInterval:             s.millis("weir.metadata.shipping.interval.ms"),
		DataDir:                  dir,
		WALPath:                  under("weir.wal.path", "wal"),
		MetaPath:                 under("weir.meta.path", "meta"),
		ObjectStore:              s.text("weir.object.store"),
		S3: S3{
			Endpoint: s.text("weir.s3.endpoint"), Region: s.text("weir.s3.region"),
			PathStyle: s.boolean("weir.s3.path.style"), Checksum: s.text("weir.s3.checksum"),
		},
		MetricsAddress: s.text("weir.metrics.address"),
		Topic:          s.Topic(nil),
	}
	if b.QueuedMaxRequestBytes < 0 {
		b.QueuedMaxRequestBytes = defaultQueuedBytes
	}
	if b.ObjectStore == "" {
		b.ObjectStore = "file:" + strings.TrimRight(dir, "/") + "/objects"
	}
	b.UploadBytes = min(s.integer("weir.upload.bytes"), b.CacheBytes/3, b.WALBytes/3)
	return b
}

// Validate checks what no single key can be checked for.
func (b *Broker) Validate() error {
	if b.QueuedMaxRequestBytes < int64(b.SocketRequestMaxBytes) {
		return fmt.Errorf("queued.max.request.bytes (%d) is less than socket.request.max.bytes (%d): the largest request would never find room",
			b.QueuedMaxRequestBytes, b.SocketRequestMaxBytes)
	}
	if int64(b.SocketRequestMaxBytes) > b.WALBytes/4 || int64(b.SocketRequestMaxBytes) > b.CacheBytes {
		return fmt.Errorf("socket.request.max.bytes (%d) is more than a quarter of weir.wal.size.bytes (%d), or than weir.cache.bytes (%d)",
			b.SocketRequestMaxBytes, b.WALBytes, b.CacheBytes)
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
	return Topic{
		CleanupPolicy:      v("cleanup.policy"),
		Retention:          millis(n("retention.ms")),
		RetentionBytes:     n("retention.bytes"),
		MaxMessageBytes:    int32(n("max.message.bytes")),
		RecordBytesMax:     int32(n("max.decompressed.message.bytes")),
		LogAppendTime:      v("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMax: millis(n("message.timestamp.before.max.ms")),
		TimestampAfterMax:  millis(n("message.timestamp.after.max.ms")),
		CompressionType:    v("compression.type"),
		MinInSyncReplicas:  int32(n("min.insync.replicas")),
	}
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
