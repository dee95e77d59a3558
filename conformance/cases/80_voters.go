package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// needStatic skips a case if the cluster's voters change: those of weir do where there are several brokers.
func needStatic(c *suite.C) {
	if c.Broker.IsWeir && c.Broker.Brokers > 1 {
		c.Skip("the voters of this cluster are not static")
	}
}

// voters are AddRaftVoter and RemoveRaftVoter on a cluster whose voters are static: none is ever added or removed.
func voters() []suite.Case {
	type change func(c *suite.C, cluster *string, voter int32, directory [16]byte) int16
	add := func(c *suite.C, cluster *string, voter int32, directory [16]byte) int16 {
		r := addVoter(cluster, voter, directory)
		r.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9}}
		return suite.Call(c, r).ErrorCode
	}
	remove := func(c *suite.C, cluster *string, voter int32, directory [16]byte) int16 {
		r := kmsg.NewPtrRemoveRaftVoterRequest()
		r.ClusterID, r.VoterID, r.VoterDirectoryID = cluster, voter, directory
		return suite.Call(c, r).ErrorCode
	}
	directory := [16]byte{1, 2, 3}
	both := func(ask change) []suite.Case {
		return []suite.Case{
			{Name: "static voters", Run: func(c *suite.C) {
				needStatic(c)
				id := suite.Call(c, kmsg.NewPtrDescribeClusterRequest()).ClusterID
				c.Code(ask(c, &id, c.Broker.NodeID+1, directory), kerr.UnsupportedVersion)
			}},
			{Name: "static voters, of no cluster in particular", Run: func(c *suite.C) {
				needStatic(c)
				c.Code(ask(c, nil, c.Broker.NodeID, directory), kerr.UnsupportedVersion)
			}},
			{Name: "another cluster", Run: func(c *suite.C) {
				c.Code(ask(c, pointer("AAAAAAAAAAAAAAAAAAAAAA"), c.Broker.NodeID+1, directory), kerr.InconsistentClusterID)
			}},
			{Name: "no directory", Run: func(c *suite.C) {
				c.Code(ask(c, nil, c.Broker.NodeID+1, [16]byte{}), kerr.InvalidRequest)
			}},
			{Name: "a negative voter", Run: func(c *suite.C) {
				c.Code(ask(c, nil, -2, directory), kerr.InvalidRequest)
			}},
		}
	}
	all := suite.OfAPI(80, append(both(add), suite.Case{Name: "no endpoint", Run: func(c *suite.C) {
		c.Code(suite.Call(c, addVoter(nil, c.Broker.NodeID+1, directory)).ErrorCode, kerr.InvalidRequest)
	}})...)
	return append(all, suite.OfAPI(81, both(remove)...)...)
}

func addVoter(cluster *string, voter int32, directory [16]byte) *kmsg.AddRaftVoterRequest {
	r := kmsg.NewPtrAddRaftVoterRequest()
	r.ClusterID, r.VoterID, r.VoterDirectoryID, r.TimeoutMillis = cluster, voter, directory, 5_000
	return r
}
