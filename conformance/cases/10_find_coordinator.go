package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The kinds of coordinators.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
	shareCoordinator       = 2
)

func findCoordinator() []suite.Case {
	return suite.OfAPI(10,
		suite.Case{Name: "of a group", Run: func(c *suite.C) { checkCoordinator(c, c.Name("g"), groupCoordinator) }},
		suite.Case{Name: "of a transactional id", Versions: from(1), Needs: transactions, Run: func(c *suite.C) {
			checkCoordinator(c, c.Name("x"), transactionCoordinator)
		}},
		suite.Case{Name: "of the empty key", Run: func(c *suite.C) {
			needEmptyGroup(c)
			checkCoordinator(c, "", groupCoordinator)
		}},
		suite.Case{Name: "unknown kind", Versions: from(1), Run: func(c *suite.C) {
			got := coordinatorOf(c, suite.Call(c, findRequest(3, c.Name("g"))))
			c.Code(got.ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "share coordinator below version 6", Versions: between(1, 5), Run: func(c *suite.C) {
			got := coordinatorOf(c, suite.Call(c, findRequest(shareCoordinator, "g:AAAAAAAAAAAAAAAAAAAAAA:0")))
			c.Code(got.ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "share coordinator with a bad key", Versions: from(6), Run: func(c *suite.C) {
			got := coordinatorOf(c, suite.Call(c, findRequest(shareCoordinator, "nonsense")))
			c.Code(got.ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "many keys", Versions: from(4), Run: func(c *suite.C) {
			needEmptyGroup(c)
			a, b := c.Group("a"), c.Group("b")
			r := findRequest(groupCoordinator, a)
			r.CoordinatorKeys = []string{a, b, ""}
			answer := suite.Call(c, r)
			c.Equal("Coordinators", len(answer.Coordinators), 3)
			keys := map[string]bool{}
			for _, one := range answer.Coordinators {
				c.OK(one.ErrorCode)
				c.Equal("NodeID", one.NodeID, c.Broker.NodeID)
				keys[one.Key] = true
			}
			c.Equal("keys", keys, map[string]bool{a: true, b: true, "": true})
		}},
		suite.Case{Name: "no keys", Versions: from(4), Run: func(c *suite.C) {
			r := findRequest(groupCoordinator, "")
			r.CoordinatorKeys = nil
			c.Equal("Coordinators", len(suite.Call(c, r).Coordinators), 0)
		}},
	)
}

// needEmptyGroup skips a case of the group without a name if another broker of the cluster coordinates it.
func needEmptyGroup(c *suite.C) {
	if !c.Broker.Coordinates("") {
		c.Skip("another broker coordinates the group without a name")
	}
}

func findRequest(kind int8, key string) *kmsg.FindCoordinatorRequest {
	r := kmsg.NewPtrFindCoordinatorRequest()
	r.CoordinatorType, r.CoordinatorKey, r.CoordinatorKeys = kind, key, []string{key}
	return r
}

// coordinatorOf is the only coordinator of an answer, which old versions have at its top.
func coordinatorOf(c *suite.C, r *kmsg.FindCoordinatorResponse) kmsg.FindCoordinatorResponseCoordinator {
	if r.Version >= 4 {
		c.Equal("Coordinators", len(r.Coordinators), 1)
		return r.Coordinators[0]
	}
	top := kmsg.NewFindCoordinatorResponseCoordinator()
	top.NodeID, top.Host, top.Port, top.ErrorCode, top.ErrorMessage = r.NodeID, r.Host, r.Port, r.ErrorCode, r.ErrorMessage
	return top
}

func checkCoordinator(c *suite.C, key string, kind int8) {
	got := coordinatorOf(c, suite.Call(c, findRequest(kind, key)))
	c.OK(got.ErrorCode)
	c.Equal("NodeID", got.NodeID, c.Broker.NodeID)
	c.True("the host is named", got.Host != "" && got.Port > 0)
	if c.V >= 4 {
		c.Equal("Key", got.Key, key)
	}
}
