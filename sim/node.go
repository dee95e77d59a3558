package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/core/config"
	"weir/core/env"
	"weir/core/telemetry"
	"weir/sim/machine"
	"weir/sim/plan"
)

// realNode builds what production builds.
func realNode(env.Env, NodeOptions) machine.Node { panic("sim: core/node is not here yet") }

// audit compares the object store with the image (I8).
func (w *world) audit() {}

// invariantOf names the invariant that a panic of the core broke.
func invariantOf(value any) string {
	var broken *telemetry.InvariantViolation
	if err, ok := value.(error); ok && errors.As(err, &broken) {
		return fmt.Sprintf("I%d", broken.Number)
	}
	if text, ok := value.(string); ok && strings.HasPrefix(text, "sim:") {
		return "contract"
	}
	return "panic"
}

// brokerConfig is the broker's configuration: the plan's, and small defaults.
func brokerConfig(c *plan.Config, topics []plan.Topic) *config.Broker {
	or := func(v, standard int64) int64 {
		if v == 0 {
			return standard
		}
		return v
	}
	b := &config.Broker{
		NodeID: brokerID, NumPartitions: 1, MessageMaxBytes: 1 << 20, MaxConnections: 1000, MaxConnectionsPerIP: 1000,
		ConnectionsMaxIdle: 10 * time.Minute, QueuedMaxRequestBytes: or(c.FrameBudget, 64<<20), SocketRequestMaxBytes: 100 << 20,
		FetchMaxBytes: 55 << 20, FetchSessionSlots: int(or(c.FetchSessions, 1000)), ProducerIDExpiration: 24 * time.Hour,
		WALBytes: or(c.WALBytes, 16<<20), CacheBytes: or(c.CacheBytes, 16<<20), BlockCacheBytes: or(c.BlockCacheBytes, 8<<20),
		UploadBytes: or(c.UploadBytes, 1<<20), UploadInterval: c.UploadInterval,
		Listeners:           []config.Listener{{Name: "PLAINTEXT", Host: "broker", Port: 9092}},
		AdvertisedListeners: []config.Listener{{Name: "PLAINTEXT", Host: "broker", Port: 9092}},
	}
	if b.UploadInterval == 0 {
		b.UploadInterval = 2 * time.Second
	}
	b.Topic = config.Topic{
		CleanupPolicy: "delete", Retention: -1, RetentionBytes: -1, MaxMessageBytes: 1 << 20,
		TimestampBeforeMax: 1 << 62, TimestampAfterMax: 1 << 62, CompressionType: "producer", MinInSyncReplicas: 1,
	}
	return b
}
