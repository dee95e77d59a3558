package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	maxInt  = math.MaxInt32
	maxLong = math.MaxInt64
	minLong = math.MinInt64
)

var codecs = []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}

// topicKeys are Kafka's topic keys, sorted. Those about segments, indexes, local
// files and replication are accepted and shown, since tools set them; weir has
// none of these things, and their text says so.
var topicKeys = []Definition{
	words(List, "cleanup.policy", text("delete"),
		"What becomes of old records: delete removes them by retention.ms and retention.bytes; compact keeps at least the last of each key. "+
			"Records without a key are refused on a compacted topic. What is not in the object store yet is not compacted.",
		"compact", "delete").standIn(same("log.cleanup.policy")),
	integer(Int, "compression.gzip.level", -1, -1, 9, recompressLevel).checked(gzipLevel).standIn(same("compression.gzip.level")),
	integer(Int, "compression.lz4.level", 9, 1, 17, recompressLevel).standIn(same("compression.lz4.level")),
	words(String, "compression.type", text("producer"),
		"The codec of what is stored. producer: each batch as its producer compressed it, which costs the broker least. Otherwise a batch with another codec is compressed anew, and max.message.bytes holds for the result too.",
		codecs...).standIn(same("compression.type")),
	integer(Int, "compression.zstd.level", 3, -131072, 22, recompressLevel).standIn(same("compression.zstd.level")),
	integer(Long, "delete.retention.ms", 86_400_000, 0, maxLong, "How long tombstones of compacted topics are kept after the first compaction that saw them, in milliseconds: so long may a reader take for the whole topic without missing that a key was deleted.").standIn(same("log.cleaner.delete.retention.ms")),
	boolean("errors.deadletterqueue.group.enable", "false", unusedShare),
	integer(Long, "file.delete.delay.ms", 60_000, 0, maxLong, unusedSegments).standIn(same("log.segment.delete.delay.ms")),
	integer(Long, "flush.messages", maxLong, 1, maxLong, unusedFlush).standIn(same("log.flush.interval.messages")),
	integer(Long, "flush.ms", maxLong, 0, maxLong, unusedFlush).standIn(same("log.flush.interval.ms")),
	words(List, "follower.replication.throttled.replicas", text(""), unusedReplicas).checked(throttledReplicas),
	integer(Int, "index.interval.bytes", 4096, 0, maxInt, unusedSegments).standIn(same("log.index.interval.bytes")),
	words(List, "leader.replication.throttled.replicas", text(""), unusedReplicas).checked(throttledReplicas),
	integer(Long, "local.retention.bytes", -2, -2, maxLong, unusedTiers).standIn(same("log.local.retention.bytes")),
	integer(Long, "local.retention.ms", -2, -2, maxLong, unusedTiers).standIn(same("log.local.retention.ms")),
	integer(Long, "max.compaction.lag.ms", maxLong, 1, maxLong, "The longest time a record of a compacted topic may wait for compaction, in milliseconds.").standIn(same("log.cleaner.max.compaction.lag.ms")),
	integer(Int, "max.decompressed.message.bytes", 2_147_483_639, 1, maxInt, "The largest size of one record in a compressed batch, in bytes, decompressed. A batch with a larger record is refused with INVALID_RECORD.").standIn(same("max.decompressed.message.bytes")),
	integer(Int, "max.message.bytes", 1_048_588, 0, maxInt, "The largest record batch accepted, in bytes, as it is compressed.").standIn(same("message.max.bytes")),
	integer(Long, "message.timestamp.after.max.ms", 3_600_000, 0, maxLong, "How far ahead of the broker's clock a record's timestamp may be, in milliseconds, if timestamps are the producer's.").standIn(same("log.message.timestamp.after.max.ms")),
	integer(Long, "message.timestamp.before.max.ms", maxLong, 0, maxLong, "How far behind the broker's clock a record's timestamp may be, in milliseconds, if timestamps are the producer's.").standIn(same("log.message.timestamp.before.max.ms")),
	words(String, "message.timestamp.type", text("CreateTime"), "Whose time records carry: the producer's (CreateTime) or the broker's at the append (LogAppendTime).", "CreateTime", "LogAppendTime").standIn(same("log.message.timestamp.type")),
	words(Double, "min.cleanable.dirty.ratio", text("0.5"), "The share of a compacted topic's log that may be uncompacted before it is compacted. Lower compacts more often: each compaction reads the whole partition, and writes what changes.").standIn(same("log.cleaner.min.cleanable.ratio")),
	integer(Long, "min.compaction.lag.ms", 0, 0, maxLong, "The least time a record of a compacted topic stays uncompacted, in milliseconds.").standIn(same("log.cleaner.min.compaction.lag.ms")),
	integer(Int, "min.insync.replicas", 1, 1, maxInt, unusedReplicas).standIn(same("min.insync.replicas")),
	boolean("preallocate", "false", unusedSegments).standIn(same("log.preallocate")),
	integer(Long, "remote.copy.lag.bytes", -1, -1, maxLong, unusedTiers).standIn(same("log.remote.copy.lag.bytes")),
	integer(Long, "remote.copy.lag.ms", 0, -1, maxLong, unusedTiers).standIn(same("log.remote.copy.lag.ms")),
	boolean("remote.log.copy.disable", "false", unusedTiers),
	boolean("remote.log.delete.on.disable", "false", unusedTiers),
	boolean("remote.storage.enable", "false", unusedTiers).checked(noTiers),
	integer(Long, "retention.bytes", -1, minLong, maxLong, "How many bytes of a partition are kept; older records are deleted. A negative value: no limit.").standIn(same("log.retention.bytes")),
	integer(Long, "retention.ms", 604_800_000, -1, maxLong, "How long records are kept, in milliseconds, by the largest timestamp of what is deleted together. -1: for ever.").
		standIn(same("log.retention.ms"), times("log.retention.minutes", 60_000), times("log.retention.hours", 3_600_000)),
	integer(Int, "segment.bytes", 1<<30, 1<<20, maxInt, unusedSegments).standIn(same("log.segment.bytes")),
	integer(Int, "segment.index.bytes", 10<<20, 4, maxInt, unusedSegments).standIn(same("log.index.size.max.bytes")),
	integer(Long, "segment.jitter.ms", 0, 0, maxLong, unusedSegments).standIn(same("log.roll.jitter.ms"), times("log.roll.jitter.hours", 3_600_000)),
	integer(Long, "segment.ms", 604_800_000, 1, maxLong, unusedSegments).standIn(same("log.roll.ms"), times("log.roll.hours", 3_600_000)),
	boolean("unclean.leader.election.enable", "false", unusedReplicas).standIn(same("unclean.leader.election.enable")),
}

const (
	recompressLevel = "The level at which batches are compressed anew if compression.type says so."
	unusedSegments  = "Without effect: there are no segment files."
	unusedFlush     = "Without effect: every acknowledged record is durable."
	unusedReplicas  = "Without effect: an acknowledged record is durable in the write-ahead log or the object store, not in replicas on other brokers."
	unusedShare     = "Without effect: share groups are not served."
	unusedThreads   = "Without effect: threads are as many as the processors need."
	unusedTiers     = "Without effect: all records move to the object store; there is no second tier to configure."
)

func gzipLevel(value string) error {
	if n, err := parseInteger(value); err == nil && n == 0 {
		return fmt.Errorf("value must be -1 or from 1 to 9")
	}
	return nil
}

func noTiers(value string) error {
	if on, _ := parseBool(value); on {
		return fmt.Errorf("tiered Storage functionality is disabled in the broker: all records move to the object store without it")
	}
	return nil
}

// errReplicas has the words of Kafka, dots included.
var errReplicas = fmt.Errorf("must be the literal '*' or a list of replicas in the form %s", "[partitionId]:[brokerId],[partitionId]:[brokerId],...")

// throttledReplicas accepts * alone, or partition:broker pairs.
func throttledReplicas(value string) error {
	pairs := slices.DeleteFunc(SplitList(value), func(pair string) bool { return pair == "" })
	if len(pairs) == 1 && pairs[0] == "*" {
		return nil
	}
	for _, pair := range pairs {
		partition, broker, ok := strings.Cut(pair, ":")
		_, first := parseInteger(partition)
		_, second := parseInteger(broker)
		if !ok || first != nil || second != nil {
			return errReplicas
		}
	}
	return nil
}

// TopicKeys returns the definitions of topic keys, sorted by key.
func TopicKeys() []Definition { return topicKeys }

// TopicKey finds a topic key.
func TopicKey(key string) (*Definition, bool) {
	if key == internalSegmentBytes.Key {
		return &internalSegmentBytes, true
	}
	return find(topicKeys, key)
}

// internalSegmentBytes is accepted, as in Kafka, whose tests set it, but never listed.
var internalSegmentBytes = integer(Int, "internal.segment.bytes", 1<<30, math.MinInt32, maxInt, unusedSegments)
