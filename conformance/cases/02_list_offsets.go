package cases

import (
	"weir/conformance/recordbatch"
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Special timestamps.
const (
	latest        int64 = -1
	earliest      int64 = -2
	maxTimestamp  int64 = -3
	earliestLocal int64 = -4
	latestTiered  int64 = -5
)

func listOffsetsCases() []suite.Case {
	return suite.OfAPI(2,
		suite.Case{Name: "an empty partition", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			for _, timestamp := range []int64{latest, earliest} {
				p := offsetAt(c, t, timestamp)
				c.OK(p.ErrorCode)
				c.Equal("Offset", p.Offset, 0)
				c.Equal("Timestamp", p.Timestamp, -1)
			}
			c.Equal("Offset of a time", offsetAt(c, t, now).Offset, -1)
		}},
		suite.Case{Name: "times", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			later := recordbatch.New(now+100, 3).Bytes()
			c.OK(produced(c, produceRequest(t, 0, later)).ErrorCode)
			for at, want := range map[int64]int64{0: 0, now: 0, now + 1: 1, now + 2: 2, now + 3: 3, now + 100: 3, now + 102: 5, now + 103: -1} {
				p := offsetAt(c, t, at)
				c.OK(p.ErrorCode)
				c.Equal("Offset", p.Offset, want)
				if want < 0 {
					c.Equal("Timestamp", p.Timestamp, -1)
				} else {
					c.Equal("Timestamp", p.Timestamp, choose(want < 3, now+want, now+97+want))
				}
			}
			c.Equal("Offset", []int64{offsetAt(c, t, latest).Offset, offsetAt(c, t, earliest).Offset}, []int64{6, 0})
		}},
		suite.Case{Name: "the record of the highest timestamp", Versions: from(7), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			c.Equal("Offset", offsetAt(c, t, maxTimestamp).Offset, -1)
			c.OK(produced(c, produceRequest(t, 0, recordbatch.New(now+100, 1).Bytes())).ErrorCode)
			write(c, t, 0, 1)
			p := offsetAt(c, t, maxTimestamp)
			c.Equal("Offset", p.Offset, 0)
			c.Equal("Timestamp", p.Timestamp, now+100)
		}},
		suite.Case{Name: "highest timestamp below its version", Versions: upTo(6), Run: func(c *suite.C) {
			p := offsetAt(c, newTopic(c, "t", 1), maxTimestamp)
			c.Code(p.ErrorCode, kerr.UnsupportedVersion)
			c.Equal("Offset", p.Offset, -1)
		}},
		suite.Case{Name: "earliest local offset", Versions: from(8), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			c.Equal("Offset", offsetAt(c, t, earliestLocal).Offset, 0)
		}},
		suite.Case{Name: "latest tiered offset", Versions: from(9), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			p := offsetAt(c, t, latestTiered)
			c.OK(p.ErrorCode)
			c.Equal("Offset", p.Offset, -1)
		}},
		suite.Case{Name: "an unknown special timestamp", Run: func(c *suite.C) {
			c.Code(offsetAt(c, newTopic(c, "t", 1), -77).ErrorCode, kerr.UnsupportedVersion)
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			p := offsetAt(c, topic{name: c.Name("none")}, latest)
			c.Code(p.ErrorCode, kerr.UnknownTopicOrPartition)
			c.Equal("Offset", p.Offset, -1)
		}},
		suite.Case{Name: "unknown partition", Run: func(c *suite.C) {
			r := listOffsets(newTopic(c, "t", 1), 7, latest)
			c.Code(suite.Call(c, r).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "a leader epoch to come", Versions: from(4), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := listOffsets(t, 0, latest)
			r.Topics[0].Partitions[0].CurrentLeaderEpoch = leaderEpoch(c, t) + 1
			c.Code(suite.Call(c, r).Topics[0].Partitions[0].ErrorCode, kerr.UnknownLeaderEpoch)
		}},
		suite.Case{Name: "the leader epoch", Versions: from(4), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 1)
			c.Equal("LeaderEpoch", offsetAt(c, t, latest).LeaderEpoch, leaderEpoch(c, t))
		}},
		suite.Case{Name: "deleted records", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 6)
			c.OK(deleteRecordsBefore(c, t, 0, 4).ErrorCode, "DeleteRecords")
			c.Equal("Offset", offsetAt(c, t, earliest).Offset, 4)
			c.Equal("Offset", offsetAt(c, t, latest).Offset, 6)
		}},
		suite.Case{Name: "read committed", Versions: from(2), Needs: append([]int16{65}, transactions...), Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			write(c, t, 0, 2)
			p.write(t, 0, 1)
			r := listOffsets(t, 0, latest)
			r.IsolationLevel = readStable
			c.Equal("Offset", suite.Call(c, r).Topics[0].Partitions[0].Offset, 2)
			c.Equal("Offset, uncommitted", offsetAt(c, t, latest).Offset, 3)
			p.end(true)
			c.Equal("Offset", suite.Call(c, r).Topics[0].Partitions[0].Offset, 4)
		}},
	)
}

func offsetAt(c *suite.C, t topic, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
	return suite.Call(c, listOffsets(t, 0, timestamp)).Topics[0].Partitions[0]
}
