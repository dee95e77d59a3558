package cases

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/conformance/recordbatch"
	"weir/conformance/suite"
)

// compactLimit is how long a broker may take until it has compacted what was written: with its defaults, Kafka looks for work every 15
// seconds, and weir uploads every minute.
const compactLimit = 3 * time.Minute

// compactedTopic is a topic of which any dirty byte is compacted, once a record with a later timestamp has closed its segment.
func compactedTopic(c *suite.C, configs ...string) topic {
	return newTopic(c, "t", 1, append([]string{"cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.0", "segment.ms", "100"}, configs...)...)
}

// table writes records of a compacted topic, one in a batch, each a second after the one before.
type table struct {
	*suite.C
	topic
	written int64
}

// put writes a value, or a tombstone if it is empty. It returns the record as [table.read] finds it.
func (t *table) put(key, value string) string {
	b := recordbatch.New(now+1000*t.written, 1)
	b.Key, b.Value = []byte(key), nil
	if value != "" {
		b.Value = []byte(value)
	}
	p := produced(t.C, produceRequest(t.topic, 0, b.Bytes()))
	t.OK(p.ErrorCode, "Produce")
	t.Equal("BaseOffset", p.BaseOffset, t.written)
	t.written++
	return shownRecord(p.BaseOffset, key, b.Value)
}

func shownRecord(offset int64, key string, value []byte) string {
	if value == nil {
		return fmt.Sprintf("%d: %s is gone", offset, key)
	}
	return fmt.Sprintf("%d: %s=%s", offset, key, value)
}

// read reads the topic from an offset to its end.
func (t *table) read(from int64) (records []string) {
	for from < t.written {
		p := readFrom(t.C, t.topic, 0, from, readStable)
		t.OK(p.ErrorCode, "Fetch")
		batches := recordbatch.Parse(p.RecordBatches)
		t.True("a read below the end finds something", len(batches) > 0)
		for _, b := range batches {
			end := b.FirstOffset + int64(b.LastOffsetDelta) + 1
			t.True("a batch ends above the offset that was asked for", end > from, "it ends at %d, asked for was %d", end, from)
			for _, r := range t.recordsOf(&b) {
				if offset := b.FirstOffset + int64(r.OffsetDelta); offset >= from {
					records = append(records, shownRecord(offset, string(r.Key), r.Value))
				}
			}
			from = end
		}
	}
	return records
}

// recordsOf reads the records of a batch that is not compressed.
func (t *table) recordsOf(b *kmsg.RecordBatch) []kmsg.Record {
	records := make([]kmsg.Record, b.NumRecords)
	rest := b.Records
	for i := range records {
		length, n := binary.Varint(rest)
		t.True("a record is whole", n > 0 && length > 0 && n+int(length) <= len(rest))
		t.NoError(records[i].ReadFrom(rest[:n+int(length)]))
		rest = rest[n+int(length):]
	}
	return records
}

// await waits until the topic reads as these records.
func (t *table) await(what string, want ...string) {
	t.PollFor(compactLimit, what, func() bool { return fmt.Sprint(t.read(0)) == fmt.Sprint(want) })
}

func compaction() []suite.Case {
	return suite.OfArea("Compaction",
		suite.Case{Name: "the latest value of each key stays at its offset", Slow: true, Run: func(c *suite.C) {
			t := table{C: c, topic: compactedTopic(c)}
			t.put("a", "1")
			t.put("b", "1")
			t.put("a", "2")
			b := t.put("b", "2")
			a := t.put("a", "3")
			end := t.put("end", "1")
			t.await("older values are gone", b, a, end)
			c.Equal("the log start", listOffset(c, t.topic, 0, -2).Offset, 0)
			c.Equal("the log end", listOffset(c, t.topic, 0, -1).Offset, t.written)
			c.Equal("read from a missing offset", fmt.Sprint(t.read(1)), fmt.Sprint([]string{b, a, end}))
			found := listOffset(c, t.topic, 0, now+1000)
			c.Equal("the first record at or after the time of a missing one", found.Offset, 3)
			c.Equal("its time", found.Timestamp, now+3000)
		}},
		suite.Case{Name: "a tombstone outlives what it deletes", Slow: true, Run: func(c *suite.C) {
			t := table{C: c, topic: compactedTopic(c, "delete.retention.ms", "86400000")}
			t.put("a", "1")
			b := t.put("b", "1")
			a := t.put("a", "")
			end := t.put("end", "1")
			t.await("the value is gone, its tombstone is not", b, a, end)
			next := t.put("next", "1")
			last := t.put("last", "1")
			t.await("nor after the next compaction", b, a, end, next, last)
		}},
		suite.Case{Name: "a tombstone goes after its time", Slow: true, Run: func(c *suite.C) {
			t := table{C: c, topic: compactedTopic(c, "delete.retention.ms", "1")}
			t.put("a", "1")
			b := t.put("b", "1")
			t.put("a", "")
			c.PollFor(compactLimit, "the tombstone is gone", func() bool {
				t.put("tick", fmt.Sprint(t.written)) // there has to be something to compact
				records := t.read(0)
				return records[0] == b && len(records) > 1 && !strings.HasPrefix(records[1], "2:")
			})
		}},
		suite.Case{Name: "compacted and deleted", Slow: true, Run: func(c *suite.C) {
			t := table{C: c, topic: compactedTopic(c, "cleanup.policy", "compact,delete", "retention.ms", "-1")}
			t.put("a", "1")
			a := t.put("a", "2")
			end := t.put("end", "1")
			t.await("older values are gone", a, end)
		}},
		suite.Case{Name: "a least lag above the longest", Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), 1)
			for _, lag := range [][2]string{{"min.compaction.lag.ms", "2000"}, {"max.compaction.lag.ms", "1000"}} {
				entry := kmsg.NewCreateTopicsRequestTopicConfig()
				entry.Name, entry.Value = lag[0], &lag[1]
				r.Topics[0].Configs = append(r.Topics[0].Configs, entry)
			}
			c.Code(suite.CallV(c, c.Broker.Highest(19), r).Topics[0].ErrorCode, kerr.InvalidConfig)
		}},
		suite.Case{Name: "what is younger than min.compaction.lag.ms stays", Slow: true, Run: func(c *suite.C) {
			t := table{C: c, topic: compactedTopic(c, "min.compaction.lag.ms", "86400000")}
			first, second, end := t.put("a", "1"), t.put("a", "2"), t.put("end", "1")
			other := table{C: c}
			other.topic = newTopic(c, "other", 1, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.0", "segment.ms", "100")
			other.put("a", "1")
			a, last := other.put("a", "2"), other.put("end", "1")
			other.await("another topic is compacted", a, last)
			c.Equal("records", fmt.Sprint(t.read(0)), fmt.Sprint([]string{first, second, end}))
		}},
	)
}
