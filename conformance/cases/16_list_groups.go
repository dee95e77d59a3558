package cases

import (
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func listGroups() []suite.Case {
	return suite.OfAPI(16,
		suite.Case{Name: "a stable group", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			g := listed(c, m.group, nil, nil)
			c.True("the group is listed", g != nil)
			c.Equal("ProtocolType", g.ProtocolType, "consumer")
			if c.V >= 4 {
				c.Equal("GroupState", g.GroupState, "Stable")
			}
			if c.V >= 5 {
				c.Equal("GroupType", g.GroupType, "classic")
			}
		}},
		suite.Case{Name: "a group of offsets only", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, 5)
			g := listed(c, c.Name("g"), nil, nil)
			c.True("the group is listed", g != nil)
			c.Equal("ProtocolType", g.ProtocolType, "")
			if c.V >= 4 {
				c.Equal("GroupState", g.GroupState, "Empty")
			}
		}},
		suite.Case{Name: "an unknown group", Run: func(c *suite.C) {
			c.True("the group is not listed", listed(c, c.Name("g"), nil, nil) == nil)
		}},
		suite.Case{Name: "state filter", Versions: from(4), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			for filter, want := range map[string]bool{"Stable": true, "stable": true, "STABLE": true, "Empty": false, "Dead": false, "nonsense": false} {
				c.Equal("listed with "+filter, listed(c, m.group, []string{filter}, nil) != nil, want)
			}
			c.True("two states", listed(c, m.group, []string{"Empty", "Stable"}, nil) != nil)
		}},
		suite.Case{Name: "type filter", Versions: from(5), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			for filter, want := range map[string]bool{"classic": true, "Classic": true, "CLASSIC": true, "consumer": false, "share": false, "nonsense": false} {
				c.Equal("listed with "+filter, listed(c, m.group, nil, []string{filter}) != nil, want)
			}
			c.True("type and state", listed(c, m.group, []string{"Empty"}, []string{"classic"}) == nil)
		}},
		suite.Case{Name: "a group that was deleted", Needs: []int16{8, 42}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, 5)
			c.OK(deleteGroup(c, c.Name("g")))
			c.True("the group is not listed", listed(c, c.Name("g"), nil, nil) == nil)
		}},
	)
}

// listed is one group of a listing; nil if it is not there.
func listed(c *suite.C, group string, states, types []string) *kmsg.ListGroupsResponseGroup {
	r := kmsg.NewPtrListGroupsRequest()
	r.StatesFilter, r.TypesFilter = states, types
	answer := suite.Call(c, r)
	c.OK(answer.ErrorCode)
	i := slices.IndexFunc(answer.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group == group })
	if i < 0 {
		return nil
	}
	return &answer.Groups[i]
}
