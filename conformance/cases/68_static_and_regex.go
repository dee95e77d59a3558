package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
)

func consumerStatic() []suite.Case {
	return suite.OfAPI(68,
		suite.Case{Name: "static an instance leaves for a while and comes back", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			old := staticConsumer(c, c.Name("g"), "old", t)
			old.join()
			settle(2, old)
			r := old.try(old.leaving(-2))
			c.OK(r.ErrorCode)
			c.Equal("MemberEpoch", r.MemberEpoch, -2)
			g := describeConsumers(c, old.group)
			c.Equal("Members", len(g.Members), 1)
			m := staticConsumer(c, old.group, "new", t)
			m.join()
			settle(2, m)
			c.Equal("epoch", m.epoch, old.epoch)
			c.Equal("assigned", m.assigned, old.assigned)
			c.Code(old.try(old.bare(old.epoch)).ErrorCode, kerr.FencedInstanceID, "the old member")
		}},
		suite.Case{Name: "static an absent instance keeps its partitions", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			a, b := staticConsumer(c, c.Name("g"), "a", t), newConsumer(c, c.Name("g"), c.Name("b"), t)
			a.join()
			b.join()
			settle(2, a, b)
			c.OK(a.try(a.leaving(-2)).ErrorCode)
			for range 5 {
				c.True("nothing moves", b.beat().Assignment == nil)
			}
			c.Equal("Epoch", describeConsumers(c, a.group).Epoch, b.epoch)
		}},
		suite.Case{Name: "static an instance in use", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := staticConsumer(c, c.Name("g"), "m", t)
			m.join()
			twin := staticConsumer(c, m.group, "twin", t)
			c.Code(twin.try(twin.full(0)).ErrorCode, kerr.UnreleasedInstanceID)
			c.OK(m.beat().ErrorCode)
		}},
		suite.Case{Name: "static another member of an instance", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := staticConsumer(c, c.Name("g"), "m", t)
			m.join()
			other := staticConsumer(c, m.group, "other", t)
			c.Code(other.try(other.bare(m.epoch)).ErrorCode, kerr.FencedInstanceID)
			c.Code(other.try(other.leaving(-2)).ErrorCode, kerr.FencedInstanceID)
			c.Code(other.try(other.leaving(-1)).ErrorCode, kerr.FencedInstanceID)
		}},
		suite.Case{Name: "static an unknown instance", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			other := staticConsumer(c, m.group, "other", t)
			c.Code(other.try(other.bare(1)).ErrorCode, kerr.UnknownMemberID)
			c.Code(other.try(other.leaving(-2)).ErrorCode, kerr.UnknownMemberID)
			c.Code(other.try(other.leaving(-1)).ErrorCode, kerr.UnknownMemberID)
		}},
		suite.Case{Name: "static an instance that comes back with another subscription", Needs: modern, Run: func(c *suite.C) {
			t, other := newTopic(c, "t", 1), newTopic(c, "other", 2)
			old := staticConsumer(c, c.Name("g"), "old", t)
			old.join()
			settle(1, old)
			c.OK(old.try(old.leaving(-2)).ErrorCode)
			m := staticConsumer(c, old.group, "new", other)
			m.join()
			settle(2, m)
			c.Equal("epoch", m.epoch, old.epoch+1)
		}},
		suite.Case{Name: "static an instance that leaves for good", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			a, b := staticConsumer(c, c.Name("g"), "a", t), newConsumer(c, c.Name("g"), c.Name("b"), t)
			a.join()
			b.join()
			settle(2, a, b)
			c.OK(a.try(a.leaving(-1)).ErrorCode)
			settle(2, b)
		}},
		suite.Case{Name: "static an instance that stays away is dropped", Needs: append([]int16{44}, modern...), Run: func(c *suite.C) {
			shortSession(c, c.Name("g"))
			m := staticConsumer(c, c.Name("g"), "m", newTopic(c, "t", 1))
			m.join()
			c.OK(m.try(m.leaving(-2)).ErrorCode)
			c.Poll("the instance is dropped", func() bool { return len(describeConsumers(c, m.group).Members) == 0 })
		}},
	)
}

func staticConsumer(c *suite.C, group, id string, topics ...topic) *consumer {
	m := newConsumer(c, group, c.Name(id), topics...)
	m.instance = pointer("instance")
	return m
}

func consumerRegex() []suite.Case {
	return suite.OfAPI(68,
		suite.Case{Name: "regex topics that match", Versions: from(1), Needs: modern, Run: func(c *suite.C) {
			a, b := newTopic(c, "a", 2), newTopic(c, "b", 1)
			m := regexConsumer(c, c.Name("[ab]"), a, b)
			m.join()
			settle(3, m)
			g := describeConsumers(c, m.group)
			c.Equal("SubscribedTopicRegex", *g.Members[0].SubscribedTopicRegex, c.Name("[ab]"))
			c.Equal("SubscribedTopics", len(g.Members[0].SubscribedTopics), 0)
		}},
		suite.Case{Name: "regex an invalid expression", Versions: from(1), Run: func(c *suite.C) {
			m := regexConsumer(c, "(open")
			r := m.try(m.full(0))
			c.Code(r.ErrorCode, kerr.InvalidRegularExpression)
			c.True("there is a message", r.ErrorMessage != nil)
			c.Code(describeConsumers(c, m.group).ErrorCode, kerr.GroupIDNotFound, "ConsumerGroupDescribe")
		}},
		suite.Case{Name: "regex nothing matches", Versions: from(1), Needs: modern, Run: func(c *suite.C) {
			m := regexConsumer(c, c.Name("none.*"))
			m.join()
			settle(0, m)
		}},
		suite.Case{Name: "regex a whole name must match", Versions: from(1), Needs: modern, Run: func(c *suite.C) {
			a := newTopic(c, "a", 1)
			newTopic(c, "ab", 1)
			m := regexConsumer(c, c.Name("a"), a)
			m.join()
			settle(1, m)
		}},
		suite.Case{Name: "regex another expression", Versions: from(1), Needs: modern, Run: func(c *suite.C) {
			a, b := newTopic(c, "a", 1), newTopic(c, "b", 2)
			m := regexConsumer(c, c.Name("a"), a, b)
			m.join()
			settle(1, m)
			m.regex = pointer(c.Name("b"))
			m.took(m.try(m.full(m.epoch)))
			settle(2, m)
		}},
		suite.Case{Name: "regex an invalid expression of a member", Versions: from(1), Needs: modern, Run: func(c *suite.C) {
			m := regexConsumer(c, c.Name("a"), newTopic(c, "a", 1))
			m.join()
			settle(1, m)
			m.regex = pointer("[z-a]")
			c.Code(m.try(m.full(m.epoch)).ErrorCode, kerr.InvalidRegularExpression)
			m.regex = pointer(c.Name("a"))
			settle(1, m)
		}},
		suite.Case{Name: "regex an expression and names", Versions: from(1), Needs: modern, Run: func(c *suite.C) {
			a, b := newTopic(c, "a", 1), newTopic(c, "b", 2)
			m := newConsumer(c, c.Name("g"), c.Name("m"), b)
			m.names[a.id], m.regex = a.name, pointer(c.Name("a"))
			m.join()
			settle(3, m)
		}},
		suite.Case{Name: "regex two members share an expression", Versions: from(1), Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "a", 4)
			a, b := regexConsumer(c, c.Name("a"), t), regexConsumer(c, c.Name("a"), t)
			b.id = c.Name("b")
			a.join()
			b.join()
			settle(4, a, b)
			c.Equal("assigned", []int{len(a.assigned), len(b.assigned)}, []int{2, 2})
			c.OK(a.try(a.leaving(-1)).ErrorCode)
			settle(4, b)
		}},
		suite.Case{Name: "regex from an expression to names", Versions: from(1), Needs: modern, Run: func(c *suite.C) {
			a, b := newTopic(c, "a", 1), newTopic(c, "b", 2)
			m := regexConsumer(c, c.Name("a"), a, b)
			m.join()
			settle(1, m)
			m.regex, m.topics = pointer(""), []string{b.name}
			m.took(m.try(m.full(m.epoch)))
			settle(2, m)
		}},
	)
}

// regexConsumer subscribes by an expression; topics are those that it may be assigned.
func regexConsumer(c *suite.C, expression string, topics ...topic) *consumer {
	m := newConsumer(c, c.Name("g"), c.Name("m"), topics...)
	m.topics, m.regex = nil, &expression
	return m
}
