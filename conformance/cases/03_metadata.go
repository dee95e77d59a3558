package cases

import (
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func metadata() []suite.Case {
	return suite.OfAPI(3,
		suite.Case{Name: "a topic", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			r := suite.Call(c, metadataRequest(t.name))
			c.Equal("Brokers", len(r.Brokers), c.Broker.Brokers)
			c.True("the broker is among them", slices.ContainsFunc(r.Brokers, func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == c.Broker.NodeID }))
			if c.V >= 1 {
				c.True("there is a controller", r.ControllerID >= 0)
			}
			if c.V >= 2 {
				c.True("there is a cluster id", r.ClusterID != nil && *r.ClusterID != "")
			}
			got := r.Topics[0]
			c.OK(got.ErrorCode)
			c.Equal("Topic", *got.Topic, t.name)
			c.Equal("IsInternal", got.IsInternal, false)
			if c.V >= 10 {
				c.Equal("TopicID", got.TopicID, t.id)
			}
			if c.V >= 8 {
				c.Equal("AuthorizedOperations", got.AuthorizedOperations, -1<<31)
			}
			c.Equal("Partitions", len(got.Partitions), 2)
			for _, p := range got.Partitions {
				c.OK(p.ErrorCode)
				c.Equal("Leader", p.Leader, c.Broker.NodeID)
				c.Equal("Replicas", p.Replicas, []int32{c.Broker.NodeID})
				c.Equal("ISR", p.ISR, []int32{c.Broker.NodeID})
				c.Equal("OfflineReplicas", len(p.OfflineReplicas), 0)
				c.True("there is a leader epoch", c.V < 7 || p.LeaderEpoch >= 0)
			}
		}},
		suite.Case{Name: "all topics", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := metadataRequest()
			if c.V >= 1 {
				r.Topics = nil
			}
			found := slices.ContainsFunc(suite.Call(c, r).Topics, func(in kmsg.MetadataResponseTopic) bool { return *in.Topic == t.name })
			c.True("the topic is listed", found)
		}},
		suite.Case{Name: "no topics", Versions: from(1), Run: func(c *suite.C) {
			c.Equal("Topics", len(suite.Call(c, metadataRequest()).Topics), 0)
		}},
		suite.Case{Name: "an unknown topic that may not be made", Versions: from(4), Run: func(c *suite.C) {
			got := suite.Call(c, metadataRequest(c.Name("none"))).Topics[0]
			c.Code(got.ErrorCode, kerr.UnknownTopicOrPartition)
			c.Equal("Topic", *got.Topic, c.Name("none"))
			c.Equal("Partitions", len(got.Partitions), 0)
		}},
		suite.Case{Name: "an unknown topic is made", Versions: from(4), Run: func(c *suite.C) {
			if c.Config("auto.create.topics.enable") != "true" {
				c.Skip("topics are not made here")
			}
			r := metadataRequest(c.Name("new"))
			r.AllowAutoTopicCreation = true
			c.Poll("the topic is there", func() bool {
				got := suite.Call(c, r).Topics[0]
				return got.ErrorCode == 0 && len(got.Partitions) > 0
			})
		}},
		suite.Case{Name: "an invalid name", Run: func(c *suite.C) {
			for _, name := range []string{"", ".", "..", "a b", "a/b", "ä", long(250)} {
				got := suite.Call(c, metadataRequest(name)).Topics[0]
				c.Code(got.ErrorCode, kerr.InvalidTopicException, name)
			}
		}},
		suite.Case{Name: "by topic id", Versions: from(12), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			got := suite.Call(c, metadataByID(t.id)).Topics[0]
			c.OK(got.ErrorCode)
			c.Equal("Topic", *got.Topic, t.name)
		}},
		suite.Case{Name: "unknown topic id", Versions: from(12), Run: func(c *suite.C) {
			got := suite.Call(c, metadataByID([16]byte{1, 2})).Topics[0]
			c.Code(got.ErrorCode, kerr.UnknownTopicID)
			c.Equal("Topic", got.Topic, (*string)(nil))
			c.Equal("TopicID", got.TopicID, [16]byte{1, 2})
		}},
		suite.Case{Name: "authorized operations of a topic", Versions: from(8), Run: func(c *suite.C) {
			r := metadataRequest(newTopic(c, "t", 1).name)
			r.IncludeTopicAuthorizedOperations = true
			// READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS
			c.Equal("AuthorizedOperations", suite.Call(c, r).Topics[0].AuthorizedOperations, 0b110111111000)
		}},
		suite.Case{Name: "a topic made again under its name has a new id", Versions: from(10), Run: func(c *suite.C) {
			old := newTopic(c, "t", 1)
			deleteTopic(c, old)
			c.True("the id is new", newTopic(c, "t", 1).id != old.id)
		}},
	)
}

func metadataByID(id [16]byte) *kmsg.MetadataRequest {
	r := metadataRequest()
	in := kmsg.NewMetadataRequestTopic()
	in.TopicID = id
	r.Topics = append(r.Topics, in)
	return r
}

// long is a name of n letters.
func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}
