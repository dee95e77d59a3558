// Package config is the table of configuration definitions and the typed structs it resolves to.
package config

import "time"

// Broker is a broker's effective configuration (subset; the table has the rest).
type Broker struct {
	NodeID                int32
	Rack                  string
	Listeners             []Listener
	AdvertisedListeners   []Listener
	NumPartitions         int32
	AutoCreateTopics      bool
	MessageMaxBytes       int32
	MaxConnections        int
	MaxConnectionsPerIP   int
	ConnectionsMaxIdle    time.Duration
	QueuedMaxRequestBytes int64 // budget for all frames
	SocketRequestMaxBytes int32
	FetchMaxBytes         int32
	FetchSessionSlots     int
	ProducerIDExpiration  time.Duration
	WALBytes              int64
	CacheBytes            int64 // log cache
	BlockCacheBytes       int64
	UploadBytes           int64
	UploadInterval        time.Duration
	ObjectStore           string // file:PATH or s3:BUCKET[/PREFIX]
	WALPath, MetaPath     string
	Topic                 Topic // defaults for topics
}

// Listener is a name and an address.
type Listener struct {
	Name, Host string
	Port       int32
}

// Topic is a topic's effective configuration.
type Topic struct {
	CleanupPolicy      string
	Retention          time.Duration // negative: for ever
	RetentionBytes     int64         // negative: no limit
	MaxMessageBytes    int32
	LogAppendTime      bool          // message.timestamp.type
	TimestampBeforeMax time.Duration // message.timestamp.before.max.ms
	TimestampAfterMax  time.Duration
	CompressionType    string
	MinInSyncReplicas  int32
}
