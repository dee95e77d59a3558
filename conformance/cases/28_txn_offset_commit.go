package cases

import (
	"strings"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
)

// API keys that the cases need: with offsets read back, and with members too.
var (
	staging           = append([]int16{8, 9, 65}, transactions...)
	stagingAndMembers = append(append([]int16{}, classic...), staging...)
)

func txnOffsetCommit() []suite.Case {
	return suite.OfAPI(28,
		suite.Case{Name: "visible after the commit", Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			p.stage(c.Name("g"), t, 5)
			c.Equal("Offset before", fetchCommitted(c, c.Name("g"), t, 0).Offset, -1)
			p.end(true)
			c.Equal("Offset after", fetchCommitted(c, c.Name("g"), t, 0).Offset, 5)
		}},
		suite.Case{Name: "gone after an abort", Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			commitSimple(c, c.Name("g"), t, 3)
			p.stage(c.Name("g"), t, 5)
			c.Equal("Offset before", fetchCommitted(c, c.Name("g"), t, 0).Offset, 3)
			p.end(false)
			c.Equal("Offset after", fetchCommitted(c, c.Name("g"), t, 0).Offset, 3)
		}},
		suite.Case{Name: "unstable while it is staged", Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			commitSimple(c, c.Name("g"), t, 3)
			p.stage(c.Name("g"), t, 5)
			r := fetchRequest(c.Name("g"), t, 0)
			r.RequireStable = true
			found, code := offsetsIn(suite.Call(c, r), t)
			c.OK(code)
			c.Code(found[0].ErrorCode, kerr.UnstableOffsetCommit)
			c.Equal("Offset", found[0].Offset, -1)
			p.end(true)
			found, _ = offsetsIn(suite.Call(c, r), t)
			c.OK(found[0].ErrorCode)
			c.Equal("Offset", found[0].Offset, 5)
		}},
		suite.Case{Name: "the later record wins", Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			p.stage(c.Name("g"), t, 5)
			commitSimple(c, c.Name("g"), t, 9)
			c.Equal("Offset before", fetchCommitted(c, c.Name("g"), t, 0).Offset, 9)
			p.end(true)
			c.Equal("Offset after", fetchCommitted(c, c.Name("g"), t, 0).Offset, 9)
		}},
		suite.Case{Name: "with a member", Versions: from(3), Needs: stagingAndMembers, Run: func(c *suite.C) {
			t, p, m := newTopic(c, "t", 1), stager(c), oneMember(c, c.Name("g"))
			r := p.offsetsRequest(m.group, t, 5)
			r.MemberID, r.Generation = m.id, m.generation
			c.OK(p.tryStage(r))
			p.end(true)
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 5)
		}},
		suite.Case{Name: "without a member in a group with members", Needs: stagingAndMembers, Run: func(c *suite.C) {
			t, p, m := newTopic(c, "t", 1), stager(c), oneMember(c, c.Name("g"))
			c.OK(p.tryStage(p.offsetsRequest(m.group, t, 5)))
		}},
		suite.Case{Name: "wrong member", Versions: from(3), Needs: stagingAndMembers, Run: func(c *suite.C) {
			t, p, m := newTopic(c, "t", 1), stager(c), oneMember(c, c.Name("g"))
			r := p.offsetsRequest(m.group, t, 5)
			r.MemberID, r.Generation = "stranger", m.generation
			c.Code(p.tryStage(r), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "wrong generation", Versions: from(3), Needs: stagingAndMembers, Run: func(c *suite.C) {
			t, p, m := newTopic(c, "t", 1), stager(c), oneMember(c, c.Name("g"))
			r := p.offsetsRequest(m.group, t, 5)
			r.MemberID, r.Generation = m.id, 100
			c.Code(p.tryStage(r), kerr.IllegalGeneration)
		}},
		suite.Case{Name: "a generation without a group", Versions: from(3), Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			r := p.offsetsRequest(c.Name("g"), t, 5)
			r.MemberID, r.Generation = "stranger", 1
			c.Code(p.tryStage(r), choose(c.V >= 6, kerr.GroupIDNotFound, kerr.IllegalGeneration))
		}},
		suite.Case{Name: "fenced instance", Versions: from(3), Needs: stagingAndMembers, Run: func(c *suite.C) {
			t, p, m := newTopic(c, "t", 1), stager(c), newStatic(c, c.Name("g"), "i")
			stable(m)
			r := p.offsetsRequest(m.group, t, 5)
			r.MemberID, r.InstanceID, r.Generation = "stranger", m.instance, m.generation
			c.Code(p.tryStage(r), kerr.FencedInstanceID)
		}},
		suite.Case{Name: "an old epoch", Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			p.stage(c.Name("g"), t, 5)
			p.end(true)
			delayed := p.offsetsRequest(c.Name("g"), t, 6)
			p.init()
			p.stage(c.Name("g"), t, 7)
			c.Code(suite.Call(c, delayed).Topics[0].Partitions[0].ErrorCode, kerr.InvalidProducerEpoch)
			p.end(true)
			c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, 7)
		}},
		suite.Case{Name: "unknown topic", Versions: upTo(5), Needs: staging, Run: func(c *suite.C) {
			p := stager(c)
			c.Code(p.tryStage(p.offsetsRequest(c.Name("g"), topic{name: c.Name("none")}, 5)), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "unknown topic id", Versions: from(6), Needs: staging, Run: func(c *suite.C) {
			p := stager(c)
			c.Code(p.tryStage(p.offsetsRequest(c.Name("g"), topic{id: [16]byte{1, 2}}, 5)), kerr.UnknownTopicID)
		}},
		suite.Case{Name: "metadata too large", Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			r := p.offsetsRequest(c.Name("g"), t, 5)
			r.Topics[0].Partitions[0].Metadata = pointer(strings.Repeat("m", 4097))
			c.Code(p.tryStage(r), kerr.OffsetMetadataTooLarge)
		}},
		// Kafka verifies requests of several versions in one batch, and answers all as the first of them, so that this runs alone.
		suite.Case{Name: "without its partition added", Versions: upTo(4), Serial: true, Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			c.Code(suite.Call(p, p.offsetsRequest(c.Name("g"), t, 5)).Topics[0].Partitions[0].ErrorCode, choose(c.V >= 4, kerr.TransactionAbortable, kerr.InvalidTxnState))
		}},
		suite.Case{Name: "the partition is added by itself", Versions: from(5), Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			c.OK(suite.Call(p, p.offsetsRequest(c.Name("g"), t, 5)).Topics[0].Partitions[0].ErrorCode)
			c.Equal("Topic", describeTransaction(c, p.id).Topics[0].Topic, "__consumer_offsets")
		}},
		suite.Case{Name: "unknown transactional id", Versions: from(5), Needs: staging, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			r := p.offsetsRequest(c.Name("g"), t, 5)
			r.TransactionalID = c.TransactionalID("none")
			c.Code(suite.Call(p, r).Topics[0].Partitions[0].ErrorCode, kerr.InvalidProducerIDMapping)
		}},
		suite.Case{Name: "offsets deleted while staged", Needs: append([]int16{47}, staging...), Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), stager(c)
			commitSimple(c, c.Name("g"), t, 3)
			p.stage(c.Name("g"), t, 5)
			c.OK(suite.Call(c, deleteOffsets(c.Name("g"), t.name, 0)).Topics[0].Partitions[0].ErrorCode, "OffsetDelete")
			p.end(true)
			c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, -1)
		}},
	)
}

// stager is a producer whose generation fits the case's version.
func stager(c *suite.C) *producer {
	p := newProducer(c, c.Name("x"))
	p.first = c.V < 5
	return p
}
