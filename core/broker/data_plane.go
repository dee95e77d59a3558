package broker

import (
	"errors"
	"time"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/txn"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// exchange is one request under way and the way to answer it. Exactly one of
// reply, replyMessage, silence and hangUp is called, once.
type exchange interface {
	// version is the request's API version.
	version() int16
	// listener is the name of the listener that the client came by.
	listener() string
	// clientID is the client id of the request.
	clientID() string
	// address is where the client comes from, without the port.
	address() string
	// reply answers with a body of its own making: encode is called off the loop
	// with the response header, and returns the slices to write; written runs on
	// the loop when they are no longer needed, also if the connection is gone.
	reply(encode func(head []byte) [][]byte, written func())
	// replyMessage answers with a kmsg response.
	replyMessage(kmsg.Response)
	// silence ends a request that gets no answer (acks=0).
	silence()
	// hangUp closes the connection.
	hangUp()
	// cut closes the connection at once, whatever was answered.
	cut()
	// releaseFrame gives the request's frame back. Once.
	releaseFrame()
	// onGone sets what runs if the connection closes before the answer.
	onGone(func())
}

// More codes of the data plane.
const (
	offsetNotKnown           = -1
	listOffsetsTimeoutBefore = 30 * time.Second // where the request says none
)

// dataImage is what the data plane needs of a *metadata.Image.
type dataImage interface {
	Topic(name string) (*metadata.Topic, bool)
	TopicByID(id metadata.TopicID) (*metadata.Topic, bool)
	Broker(id metadata.BrokerID) (*metadata.Broker, bool)
}

// dataPlane serves the requests that read and write partitions.
type dataPlane struct {
	loop       *task.Loop
	env        env.Env
	image      dataImage
	partitions *partition.Manager
	trim       func(stream metadata.StreamID, logStart int64, done func(error))
	allocate   func(done func(first, count int64, err error))
	sessions   *fetchSessions
	ids        producerIDs
	// fetchMaxBytes bounds what one Fetch answers with (fetch.max.bytes).
	fetchMaxBytes int
	transactions  *txn.Coordinator      // nil: there is none
	unverified    map[askedProducer]int // how many batches wait; lookups only
	verifier      TransactionVerifier
	awaitApplied  func(topic string, index int32, end int64, done func(wire.Code))
	// coordinatorEpoch is the lowest leader epoch of the partitions of transaction coordinators.
	coordinatorEpoch func() int32
	telemetry        *telemetry.Registry
	operators        *telemetry.Limiter
	strangeMarkers   env.Counter

	arrivals arrivals
	moved    *telemetry.Mark // fetches that waited for a move

	held heldAnswers
	late lateReads
}

// find looks a partition up by id where there is one, by name otherwise.
func (d *dataPlane) find(byID bool, id metadata.TopicID, name []byte, index int32) (*partition.Partition, wire.Code) {
	switch {
	case byID:
		return d.partitions.ByID(id, index)
	case len(name) > metadata.TopicNameBytesMax: // not copied for each partition
		return nil, wire.UnknownTopicOrPartition
	}
	return d.partitions.ByName(string(name), index)
}

// hint says who leads a partition, for KIP-951.
func (d *dataPlane) hint(byID bool, id metadata.TopicID, name string, index int32) leaderHint {
	p := d.known(byID, id, name, index)
	if p == nil || p.Leader < 0 {
		return leaderHint{}
	}
	return leaderHint{known: true, id: p.Leader, epoch: p.LeaderEpoch}
}

// streamOf is the stream of a partition that the image knows, open here or not.
func (d *dataPlane) streamOf(byID bool, id metadata.TopicID, name string, index int32) (metadata.StreamID, bool) {
	p := d.known(byID, id, name, index)
	if p == nil {
		return 0, false
	}
	return p.Stream, true
}

// known is a partition as the image has it, or nil.
func (d *dataPlane) known(byID bool, id metadata.TopicID, name string, index int32) *metadata.Partition {
	var t *metadata.Topic
	var ok bool
	if byID {
		t, ok = d.image.TopicByID(id)
	} else {
		t, ok = d.image.Topic(name)
	}
	if !ok || index < 0 || int(index) >= len(t.Partitions) {
		return nil
	}
	return &t.Partitions[index]
}

// hinted says whether a code comes with a hint of the leader.
func hinted(code wire.Code) bool {
	return code == wire.NotLeaderOrFollower || code == wire.FencedLeaderEpoch
}

// addNode adds the endpoint of a hinted leader to nodes, once.
func (d *dataPlane) addNode(nodes []nodeEndpoint, hint leaderHint, listener string) []nodeEndpoint {
	if !hint.known {
		return nodes
	}
	for _, n := range nodes {
		if n.id == hint.id {
			return nodes
		}
	}
	b, ok := d.image.Broker(hint.id)
	if !ok {
		return nodes
	}
	for _, l := range b.Listeners {
		if l.Listener == listener {
			return append(nodes, nodeEndpoint{id: b.ID, host: l.Host, port: l.Port, rack: b.Rack})
		}
	}
	return nodes
}

func asControllerError(err error) (*controller.Error, bool) {
	var e *controller.Error
	ok := errors.As(err, &e)
	return e, ok
}
