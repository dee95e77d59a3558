package group

import (
	"weir/core/coordinator"
	"weir/core/wire"
)

// Type is the type of a group, as ListGroups names it.
type Type string

// The types of groups.
const (
	Classic  Type = "classic"
	Consumer Type = "consumer"
)

// Group is one group: its offsets, and its members by one of the protocols.
type Group struct {
	id             string
	members        members // nil: it has only offsets ("simple"), and may become a group of any type
	offsets        map[string]map[int32]*offset
	committedCount int                          // of offsets
	staged         map[string]map[int32][]int64 // by topic and partition: the producers whose open transactions have staged an offset
}

// members is what of a group depends on its protocol: a *classic, or a *consumerGroup (KIP-848).
type members interface {
	kind() Type
	// state is the name of the group's state for ListGroups and the describe requests.
	state() string
	// protocolType is that of ListGroups; "consumer" for consumer groups.
	protocolType() string
	// empty reports whether there are no members; then the group may be deleted.
	empty() bool
	// expires reports whether offsets may expire, and since when the retention counts, in milliseconds of wall time; -1:
	// since each was committed. Those of topics that a member reads never expire.
	expires() (may bool, since int64)
	// admitsOffsetDelete is what OffsetDelete is refused with, but for topics that members read; None: it is not.
	admitsOffsetDelete() wire.Code
	// subscribes reports whether a member may read a topic: its offsets are neither deleted nor expired.
	subscribes(topic string) bool
	// admitsCommit, admitsTxnCommit and admitsFetch check member and generation (or member epoch) of OffsetCommit,
	// TxnOffsetCommit and OffsetFetch. A commit that is admitted keeps the session of its member alive.
	admitsCommit(c *commitCheck) wire.Code
	admitsTxnCommit(c *commitCheck) wire.Code
	admitsFetch(memberID *string, epoch int32) wire.Code
	// entries are the records of the group as applied, and tombstones those that delete them; both without offsets. None:
	// nothing of it is durable.
	entries() []coordinator.Entry
	tombstones() []coordinator.Entry
	// serve begins deadlines, after the log was loaded.
	serve()
	// answerParked answers requests that wait, without a change to the group: the broker shuts down.
	answerParked(wire.Code)
	// close stops timers and answers requests that wait.
	close(wire.Code)
}

// commitCheck is what a commit says about who makes it.
type commitCheck struct {
	version    int16
	memberID   string
	instanceID *string
	generation int32       // or member epoch; -1: none
	partitions []Partition // for assignment epochs (KIP-1251)
}

// Client is who sent a request.
type Client struct {
	ID   string // client id
	Host string // address, as Kafka's describe requests show it: "/127.0.0.1"
}
