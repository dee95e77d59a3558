package cases

import (
	"encoding/binary"
	"slices"

	"weir/conformance/rawconn"
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocol are cases about frames, headers and connections.
func protocol() []suite.Case {
	return suite.OfArea("Protocol",
		suite.Case{Name: "an unknown version of ApiVersions is answered in version 0", Run: func(c *suite.C) {
			for _, version := range []int16{6, 99, 32767, -1} {
				r := suite.CallV(c.Dial(), version, hello())
				c.Code(r.ErrorCode, kerr.UnsupportedVersion)
				c.Equal("Version", r.Version, 0)
				c.Equal("ApiVersions", versionsOf(c, r, 18), c.Broker.Versions[18])
			}
		}},
		suite.Case{Name: "the connection goes on after ApiVersions was downgraded", Run: func(c *suite.C) {
			n := c.Dial()
			c.Code(suite.CallV(n, 99, hello()).ErrorCode, kerr.UnsupportedVersion)
			c.OK(suite.CallV(n, 3, hello()).ErrorCode)
			c.Equal("Brokers", len(suite.Call(n, metadataRequest()).Brokers), c.Broker.Brokers)
		}},
		suite.Case{Name: "an unknown API key closes the connection", Run: func(c *suite.C) {
			for _, key := range []uint16{4, 9999, 0xffff} {
				closedBy(c, func(frame []byte) []byte { binary.BigEndian.PutUint16(frame, key); return frame })
			}
		}},
		suite.Case{Name: "an unserved version closes the connection", Run: func(c *suite.C) {
			for _, version := range []uint16{100, 0xffff} {
				closedBy(c, func(frame []byte) []byte { binary.BigEndian.PutUint16(frame[2:], version); return frame })
			}
		}},
		suite.Case{Name: "a body cut short closes the connection", Run: func(c *suite.C) {
			closedBy(c, func(frame []byte) []byte { return frame[:len(frame)-2] })
		}},
		suite.Case{Name: "a frame without a header closes the connection", Run: func(c *suite.C) {
			closedBy(c, func([]byte) []byte { return nil })
		}},
		suite.Case{Name: "a frame of a negative or huge size closes the connection", Run: func(c *suite.C) {
			for _, size := range []uint32{0xffffffff, 0x7fffffff} {
				n := c.Dial()
				_, err := n.Write(binary.BigEndian.AppendUint32(nil, size))
				c.NoError(err)
				suite.Start(n, metadataRequest()).Closed()
			}
		}},
		suite.Case{Name: "a null client id", Run: func(c *suite.C) {
			n := c.Dial()
			answer := exchange(c, n, kmsg.NewPtrMetadataRequest(), 0, func(frame []byte) []byte {
				return slices.Concat(frame[:8], []byte{0xff, 0xff}, frame[10+len(clientID):])
			})
			c.Equal("Brokers", len(answer.(*kmsg.MetadataResponse).Brokers), c.Broker.Brokers)
		}},
		suite.Case{Name: "answers come in the order of requests", Run: func(c *suite.C) {
			t, n := newTopic(c, "t", 1), c.Dial()
			a := suite.Start(n, metadataRequest(t.name))
			b := suite.Start(n, produceRequest(t, 0, records(1)))
			d := suite.Start(n, listOffsets(t, 0, latest))
			e := suite.Start(n, hello())
			f := suite.Start(n, readRequest(t, 0, 0))
			c.OK(a.Wait().Topics[0].ErrorCode)
			c.OK(b.Wait().Topics[0].Partitions[0].ErrorCode)
			c.Equal("Offset after the produce before it", d.Wait().Topics[0].Partitions[0].Offset, 1)
			c.OK(e.Wait().ErrorCode)
			c.Equal("visible records", visible(f.Wait().Topics[0].Partitions[0]), 1)
		}},
		suite.Case{Name: "fifty requests in flight", Run: func(c *suite.C) {
			t, n, p := newTopic(c, "t", 1), c.Dial(), newIdempotent(c)
			pending := make([]*suite.Pending[*kmsg.ProduceResponse], 50)
			for i := range pending {
				pending[i] = suite.Start(n, produceRequest(t, 0, p.batch(int32(i), 1)))
			}
			for i := range pending {
				answer := pending[i].Wait().Topics[0].Partitions[0]
				c.OK(answer.ErrorCode)
				c.Equal("BaseOffset", answer.BaseOffset, i)
			}
		}},
		suite.Case{Name: "a request behind a parked one", Run: func(c *suite.C) {
			t, n := newTopic(c, "t", 1), c.Dial()
			r := readRequest(t, 0, 0)
			r.MinBytes, r.MaxWaitMillis = 1, 300
			parked, behind := suite.Start(n, r), suite.Start(n, metadataRequest(t.name))
			c.OK(parked.Wait().Topics[0].Partitions[0].ErrorCode)
			c.OK(behind.Wait().Topics[0].ErrorCode)
		}},
		suite.Case{Name: "bytes behind a body are ignored", Run: func(c *suite.C) {
			answer := exchange(c, c.Dial(), kmsg.NewPtrMetadataRequest(), 0, func(frame []byte) []byte { return append(frame, 1, 2, 3) })
			c.Equal("Brokers", len(answer.(*kmsg.MetadataResponse).Brokers), c.Broker.Brokers)
		}},
	)
}

const clientID = "weir-conformance"

// closedBy sends a Metadata request whose frame is changed, and wants the connection closed.
func closedBy(c *suite.C, change func(frame []byte) []byte) {
	n, r := c.Dial(), kmsg.NewPtrMetadataRequest()
	c.NoError(n.Send(r, change))
	if _, err := n.Receive(r); err != rawconn.ErrClosed {
		c.Fail("%v, not a closed connection", err)
	}
}

// exchange sends a request whose frame is changed and returns its answer.
func exchange(c *suite.C, n *suite.Conn, r kmsg.Request, version int16, change func(frame []byte) []byte) kmsg.Response {
	r.SetVersion(version)
	c.NoError(n.Send(r, change))
	answer, err := n.Receive(r)
	c.NoError(err)
	return answer
}

// unknownTag is a tag buffer with one field that no version knows.
var unknownTag = []byte{1, 0xc8, 1, 3, 'x', 'y', 'z'}

// unknownTags sends a request of each API with tagged fields that nobody knows, in its header and behind its body.
func unknownTags() (all []suite.Case) {
	for i, r := range harmless() {
		all = append(all, suite.OfAPI(r.Key(), suite.Case{Name: "unknown tagged fields", Versions: from(firstFlexible(r)), Run: func(c *suite.C) {
			answer := exchange(c, c.Dial(), harmless()[i], c.V, func(frame []byte) []byte {
				at := 10 + len(clientID)
				head := slices.Concat(frame[:at], unknownTag)
				rest := frame[at+1:]
				return slices.Concat(head, rest[:len(rest)-1], unknownTag)
			})
			c.True("there is an answer", answer != nil)
		}})...)
	}
	return all
}

// harmless are requests that read, or that name nothing that exists.
func harmless() []kmsg.Request {
	produce := kmsg.NewPtrProduceRequest()
	produce.Acks, produce.TimeoutMillis = -1, 1000
	fetch := kmsg.NewPtrFetchRequest()
	fetch.ReplicaID, fetch.SessionEpoch = -1, -1
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionTimeoutMillis = 1000
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorKeys = "tags", []string{"tags"}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID = "tags", "nobody"
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID = "tags", "nobody"
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.MemberID = "tags", "nobody"
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.MemberID, join.ProtocolType, join.SessionTimeoutMillis = "tags", "nobody", "consumer", memberTimeout
	list := kmsg.NewPtrListOffsetsRequest()
	list.ReplicaID = -1
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group = "tags"
	fetchOffsets := fetchRequest("tags", topic{})
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID = "tags-nobody"
	consumer := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	consumer.Group, consumer.MemberID, consumer.MemberEpoch = "tags", "nobody", 5
	return []kmsg.Request{
		produce, fetch, list, kmsg.NewPtrMetadataRequest(), commit, fetchOffsets, find, join, beat, leave, sync,
		kmsg.NewPtrDescribeGroupsRequest(), kmsg.NewPtrListGroupsRequest(), hello(), kmsg.NewPtrCreateTopicsRequest(), kmsg.NewPtrDeleteTopicsRequest(),
		kmsg.NewPtrDeleteRecordsRequest(), init, kmsg.NewPtrOffsetForLeaderEpochRequest(), end, kmsg.NewPtrDescribeConfigsRequest(), kmsg.NewPtrAlterConfigsRequest(),
		kmsg.NewPtrDescribeLogDirsRequest(), kmsg.NewPtrCreatePartitionsRequest(), kmsg.NewPtrDeleteGroupsRequest(), kmsg.NewPtrIncrementalAlterConfigsRequest(),
		kmsg.NewPtrDescribeClusterRequest(), kmsg.NewPtrDescribeProducersRequest(), kmsg.NewPtrDescribeTransactionsRequest(), kmsg.NewPtrListTransactionsRequest(),
		consumer, kmsg.NewPtrConsumerGroupDescribeRequest(), kmsg.NewPtrListConfigResourcesRequest(), kmsg.NewPtrDescribeTopicPartitionsRequest(),
	}
}

// firstFlexible is the first version of an API with tagged fields.
func firstFlexible(r kmsg.Request) int16 {
	for v := int16(0); v <= r.MaxVersion(); v++ {
		r.SetVersion(v)
		if r.IsFlexible() {
			return v
		}
	}
	return r.MaxVersion() + 1
}
