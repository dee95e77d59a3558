package cases

import (
	"strings"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinGroup are single requests; joinGroupRounds are rounds of several members.
func joinGroup() []suite.Case {
	return suite.OfAPI(11,
		suite.Case{Name: "a new member is given an id first", Versions: from(4), Run: func(c *suite.C) {
			r := newMember(c, c.Name("g")).tryJoin()
			c.Code(r.ErrorCode, kerr.MemberIDRequired)
			c.True("the member id begins with the client id", strings.HasPrefix(r.MemberID, "weir-conformance-"))
			c.Equal("Generation", r.Generation, -1)
			c.Equal("LeaderID", r.LeaderID, "")
			c.Equal("Members", len(r.Members), 0)
		}},
		suite.Case{Name: "a new member joins at once", Versions: upTo(3), Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			checkAlone(c, m, m.joined(m.startJoin()))
		}},
		suite.Case{Name: "a member comes back with its id", Versions: from(4), Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			checkAlone(c, m, m.join())
		}},
		suite.Case{Name: "an id never handed out", Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.id = "stranger"
			r := m.tryJoin()
			c.Code(r.ErrorCode, kerr.UnknownMemberID)
			c.Equal("MemberID", r.MemberID, "stranger")
			c.Equal("Generation", r.Generation, -1)
		}},
		suite.Case{Name: "an id never handed out in a stable group", Needs: classic, Run: func(c *suite.C) {
			stranger := newMember(c, oneMember(c, c.Name("g")).group)
			stranger.id = "stranger"
			c.Code(stranger.tryJoin().ErrorCode, kerr.UnknownMemberID)
		}},
		suite.Case{Name: "empty group id", Run: func(c *suite.C) {
			c.Code(newMember(c, "").tryJoin().ErrorCode, kerr.InvalidGroupID)
		}},
		suite.Case{Name: "session timeout below the minimum", Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.session = 1
			c.Code(m.tryJoin().ErrorCode, kerr.InvalidSessionTimeout)
		}},
		suite.Case{Name: "session timeout above the maximum", Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.session = 1 << 30
			c.Code(m.tryJoin().ErrorCode, kerr.InvalidSessionTimeout)
		}},
		suite.Case{Name: "no protocol type", Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.kind = ""
			c.Code(m.tryJoin().ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		suite.Case{Name: "no protocols", Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.protocols = nil
			c.Code(m.tryJoin().ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		suite.Case{Name: "another protocol type", Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, oneMember(c, c.Name("g")).group)
			m.kind = "connect"
			c.Code(m.tryJoin().ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		suite.Case{Name: "another protocol", Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, oneMember(c, c.Name("g")).group)
			m.protocols = []string{"roundrobin"}
			c.Code(m.tryJoin().ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		suite.Case{Name: "a protocol that one member lacks", Needs: classic, Run: func(c *suite.C) {
			a, b, joiner := newMember(c, c.Name("g")), newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			a.protocols, b.protocols, joiner.protocols = []string{"x", "y"}, []string{"y", "z"}, []string{"x", "z"}
			joinAll(a, b)
			c.Code(joiner.tryJoin().ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		suite.Case{Name: "the protocol type is told on success only", Versions: from(7), Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			r := m.join()
			c.Equal("ProtocolType", *r.ProtocolType, "consumer")
			c.Equal("Protocol", *r.Protocol, "range")
			stranger := newMember(c, m.group)
			stranger.id = "stranger"
			r = stranger.tryJoin()
			c.Code(r.ErrorCode, kerr.UnknownMemberID)
			c.Equal("ProtocolType", r.ProtocolType, (*string)(nil))
			c.Equal("Protocol", r.Protocol, (*string)(nil))
		}},
		suite.Case{Name: "an error has an empty protocol", Versions: upTo(6), Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.id = "stranger"
			c.Equal("Protocol", *m.tryJoin().Protocol, "")
		}},
		suite.Case{Name: "a reason is accepted", Versions: from(8), Run: func(c *suite.C) {
			m := newMember(c, c.Name("g")).takeID()
			r := m.joinRequest()
			r.Reason = pointer(strings.Repeat("long ", 60))
			c.OK(suite.Call(m, r).ErrorCode)
		}},
	)
}

// checkAlone checks the answer to the only member of a new group.
func checkAlone(c *suite.C, m *member, r *kmsg.JoinGroupResponse) {
	c.Equal("Generation", r.Generation, 1)
	c.Equal("LeaderID", r.LeaderID, m.id)
	c.Equal("Protocol", *r.Protocol, "range")
	c.Equal("Members", len(r.Members), 1)
	c.Equal("Members.MemberID", r.Members[0].MemberID, m.id)
	c.Equal("Members.InstanceID", r.Members[0].InstanceID, (*string)(nil))
	c.Equal("Members.ProtocolMetadata", r.Members[0].ProtocolMetadata, m.metadata)
	c.Equal("SkipAssignment", r.SkipAssignment, false)
}
