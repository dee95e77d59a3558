package diff

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupBases are requests about a group that is named as the topic of its case.
func groupBases() []base {
	return []base{
		{key: 8, fresh: true, parts: 1, build: func(e *endpoint, version int16, topic string) kmsg.Request {
			return commitOf(version, topic, topic, e.id(topic), 0, 5)
		}, verify: func(e *endpoint, topic string) []kmsg.Request {
			return []kmsg.Request{fetchOffsets(7, topic, topic, e.id(topic), 0)}
		}},
		{key: 9, parts: 1, build: func(e *endpoint, version int16, topic string) kmsg.Request {
			return fetchOffsets(version, topic, topic, e.id(topic), 0)
		}},
		{key: 10, build: func(_ *endpoint, version int16, topic string) kmsg.Request {
			r := kmsg.NewPtrFindCoordinatorRequest()
			r.CoordinatorKey, r.CoordinatorKeys = topic, []string{topic}
			return r
		}},
		{key: 11, build: func(_ *endpoint, version int16, topic string) kmsg.Request { return joinAs(version, topic, "", nil) }},
		{key: 12, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrHeartbeatRequest()
			r.Group, r.MemberID, r.Generation = topic, "member", 1
			return r
		}},
		{key: 13, build: func(_ *endpoint, version int16, topic string) kmsg.Request { return leaveOf(version, topic, "member") }},
		{key: 14, build: func(_ *endpoint, _ int16, topic string) kmsg.Request { return syncOf(topic, "member", 1) }},
		{key: 15, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups = []string{topic}
			return r
		}},
		{key: 16, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrListGroupsRequest()
			r.StatesFilter, r.TypesFilter = []string{"Stable"}, []string{"classic"}
			return r
		}},
		{key: 42, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrDeleteGroupsRequest()
			r.Groups = []string{topic}
			return r
		}},
		{key: 47, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request { return deleteOffset(topic, topic, 0) }},
	}
}

func commitOf(version int16, group, topic string, id [16]byte, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group = version, group
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, offset, 3, kmsg.StringPtr("m")
	r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return r
}

func fetchOffsets(version int16, group, topic string, id [16]byte, partitions ...int32) *kmsg.OffsetFetchRequest {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version, r.Group = version, group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	if topic != "" {
		r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, TopicID: id, Partitions: partitions}}
	}
	r.Groups = append(r.Groups, g)
	return r
}

func deleteOffset(group, topic string, partition int32) *kmsg.OffsetDeleteRequest {
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = group
	r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}}}}
	return r
}

// joinAs joins by one protocol, whose subscription is to topics that are there or not.
func joinAs(version int16, group, member string, instance *string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.InstanceID = version, group, member, instance
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.ProtocolType = 30_000, 30_000, "consumer"
	s := kmsg.NewConsumerMemberMetadata()
	s.Topics = []string{group}
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", s.AppendTo(nil)
	r.Protocols = append(r.Protocols, p)
	return r
}

func leaveOf(version int16, group, member string) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Version, r.Group, r.MemberID = version, group, member
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = member
	r.Members = append(r.Members, m)
	return r
}

func syncOf(group, member string, generation int32) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.MemberID, r.Generation = group, member, generation
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = member, []byte("assignment")
	r.GroupAssignment = append(r.GroupAssignment, a)
	return r
}

func keepMember(e *endpoint, r kmsg.Response) {
	join := r.(*kmsg.JoinGroupResponse)
	e.words["member"], e.vars["generation"] = join.MemberID, int64(join.Generation)
}

// groupLife is the life of a group with one member, in one version of every request, as far as they have it.
func (s *script) groupLife(versions map[int16][2]int16) {
	for version := int16(0); version <= 10; version++ {
		at := func(key int16) int16 { return max(min(version, versions[key][1]), versions[key][0]) }
		s.add(fmt.Sprintf("JoinGroup/v%d/life", at(11)), 1, 0, func(t []string) []step { return groupSteps(t[0], at, false) })
		s.add(fmt.Sprintf("JoinGroup/v%d/static", at(11)), 1, 0, func(t []string) []step { return groupSteps(t[0], at, true) })
		s.add(fmt.Sprintf("OffsetCommit/v%d/simple", at(8)), 1, 0, func(t []string) []step { return simpleSteps(t[0], at) })
	}
}

// as sends a request of the version that a case has for its key.
func as(name string, at func(int16) int16, build func(e *endpoint) kmsg.Request) step {
	return do(name, func(e *endpoint) kmsg.Request {
		r := build(e)
		r.SetVersion(at(r.Key()))
		return r
	})
}

func groupSteps(g string, at func(int16) int16, static bool) []step {
	var instance *string
	if static {
		instance = kmsg.StringPtr("instance")
	}
	join := as("join", at, func(*endpoint) kmsg.Request { return joinAs(at(11), g, "", instance) })
	again := as("join again", at, func(e *endpoint) kmsg.Request { return joinAs(at(11), g, e.words["member"], instance) })
	join.keep, again.keep = keepMember, keepMember
	sync := as("sync", at, func(e *endpoint) kmsg.Request {
		r := syncOf(g, e.words["member"], int32(e.vars["generation"]))
		r.InstanceID, r.ProtocolType, r.Protocol = instance, kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		return r
	})
	beat := func(name, member string, add int32) step {
		return as("heartbeat "+name, at, func(e *endpoint) kmsg.Request {
			r := kmsg.NewPtrHeartbeatRequest()
			r.Group, r.MemberID, r.InstanceID, r.Generation = g, member, instance, int32(e.vars["generation"])+add
			if member == "" {
				r.MemberID = e.words["member"]
			}
			return r
		})
	}
	commit := func(name, member string, add int32) step {
		return as("commit "+name, at, func(e *endpoint) kmsg.Request {
			r := commitOf(at(8), g, g, e.id(g), 1, 7)
			r.MemberID, r.InstanceID, r.Generation = member, instance, int32(e.vars["generation"])+add
			if member == "" {
				r.MemberID = e.words["member"]
			}
			return r
		})
	}
	describe, list, remove := groupAdmin(g, at)
	fetch := as("fetch", at, func(e *endpoint) kmsg.Request { return fetchOffsets(at(9), g, g, e.id(g), 0, 1, 9) })
	fetchAll := as("fetch all", at, func(e *endpoint) kmsg.Request {
		if at(9) < 2 {
			return fetchOffsets(at(9), g, g, e.id(g), 1)
		}
		return fetchOffsets(at(9), g, "", e.id(g))
	})
	unassign := as("delete offset", at, func(*endpoint) kmsg.Request { return deleteOffset(g, g, 1) })
	leave := as("leave", at, func(e *endpoint) kmsg.Request { return leaveOf(at(13), g, e.words["member"]) })
	steps := []step{
		join, describe, list(nil, nil), again, describe, list(nil, nil), beat("before sync", "", 0), commit("before sync", "", 0), sync, sync, describe,
		list([]string{"stable"}, nil), list(nil, []string{"CLASSIC"}), list([]string{"Nowhere"}, nil), list(nil, []string{"nowhere"}),
		beat("right", "", 0), beat("old", "", -1), beat("stranger", "stranger", 0), commit("right", "", 0), commit("old", "", -1), commit("stranger", "stranger", 0),
		as("commit without member", at, func(e *endpoint) kmsg.Request { return commitOf(at(8), g, g, e.id(g), 1, 9) }),
		fetch, fetchAll, unassign, remove,
	}
	if static {
		steps = append(steps, join, again, describe, beat("right", "", 0))
	}
	other := as("join by another type", at, func(*endpoint) kmsg.Request {
		r := joinAs(at(11), g, "", nil)
		r.ProtocolType = "connect"
		return r
	})
	strange := as("join by another protocol", at, func(*endpoint) kmsg.Request {
		r := joinAs(at(11), g, "", nil)
		r.Protocols[0].Name = "roundrobin"
		return r
	})
	return append(steps, other, strange, leave, leave, describe, list(nil, nil), fetch, unassign, fetch, remove, describe)
}

// groupAdmin are requests of administrators of a group.
func groupAdmin(g string, at func(int16) int16) (describe step, list func(states, types []string) step, remove step) {
	describe = as("describe", at, func(*endpoint) kmsg.Request {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups, r.IncludeAuthorizedOperations = []string{g, g + "-absent"}, true
		return r
	})
	list = func(states, types []string) step {
		return as(fmt.Sprintf("list %v %v", states, types), at, func(*endpoint) kmsg.Request {
			r := kmsg.NewPtrListGroupsRequest()
			r.StatesFilter, r.TypesFilter = states, types
			return r
		})
	}
	remove = as("delete", at, func(*endpoint) kmsg.Request {
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups = []string{g, g + "-absent", g}
		return r
	})
	return describe, list, remove
}

// simpleSteps are commits without members.
func simpleSteps(g string, at func(int16) int16) []step {
	commit := func(name string, change func(e *endpoint, r *kmsg.OffsetCommitRequest)) step {
		return as("commit "+name, at, func(e *endpoint) kmsg.Request {
			r := commitOf(at(8), g, g, e.id(g), 0, 5)
			change(e, r)
			return r
		})
	}
	part := func(partition int32, metadata *string) kmsg.OffsetCommitRequestTopicPartition {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, 11, -1, metadata
		return p
	}
	long := make([]byte, 5000)
	for i := range long {
		long[i] = 'x'
	}
	fetch := as("fetch", at, func(e *endpoint) kmsg.Request { return fetchOffsets(at(9), g, g, e.id(g), 1, 0, 9) })
	return []step{
		fetch,
		commit("with a generation", func(_ *endpoint, r *kmsg.OffsetCommitRequest) { r.Generation, r.MemberID = 1, "member" }),
		commit("mixed", func(e *endpoint, r *kmsg.OffsetCommitRequest) {
			t := &r.Topics[0]
			t.Partitions = append(t.Partitions, part(9, nil), part(1, nil), part(0, kmsg.StringPtr(string(long))), part(-1, nil))
			r.Topics = append(r.Topics, kmsg.OffsetCommitRequestTopic{Topic: "absent", TopicID: strangeID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{part(0, nil)}})
		}),
		fetch,
		commit("only unknown", func(_ *endpoint, r *kmsg.OffsetCommitRequest) {
			r.Topics[0].Topic, r.Topics[0].TopicID = "absent", strangeID
		}),
		commit("again", func(_ *endpoint, r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].Metadata = nil }),
		commit("with a generation", func(_ *endpoint, r *kmsg.OffsetCommitRequest) { r.Generation, r.MemberID = 1, "member" }),
		as("join with a member id", at, func(*endpoint) kmsg.Request { return joinAs(at(11), g, "member", nil) }),
		as("describe", at, func(*endpoint) kmsg.Request {
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups = []string{g}
			return r
		}),
		as("list", at, func(*endpoint) kmsg.Request { return kmsg.NewPtrListGroupsRequest() }),
		fetch,
		as("delete offsets", at, func(*endpoint) kmsg.Request {
			r := deleteOffset(g, g, 0)
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: 9}, kmsg.OffsetDeleteRequestTopicPartition{Partition: 0})
			r.Topics = append(r.Topics, kmsg.OffsetDeleteRequestTopic{Topic: "absent", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}})
			return r
		}),
		fetch,
	}
}
