package broker

import (
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kbin"
)

const (
	fetchSessionsFrom = 7
	fetchFlexible     = 12
	fetchTopicIDs     = 13
	fetchHints        = 16
	fetchReplicaFrom  = 11 // preferred read replica
	noReplica         = -1
)

// fetchAnswer is a Fetch response before it is encoded. Its batches are lent by
// slabs that stay retained until the response is written.
type fetchAnswer struct {
	version   int16
	throttle  int32
	code      wire.Code
	session   int32
	committed bool // read_committed: the list of aborted transactions is not null
	topics    []fetchTopicAnswer
	parts     []fetchPartAnswer
	nodes     []nodeEndpoint
	slabs     []*env.Slab
}

// fetchTopicAnswer is a run of partitions of one topic: parts[first:end].
type fetchTopicAnswer struct {
	name       string
	id         metadata.TopicID
	first, end int
}

// fetchPartAnswer is one partition's part of the answer.
type fetchPartAnswer struct {
	index         int32
	code          wire.Code
	highWatermark int64
	lastStable    int64
	logStart      int64
	batches       [][]byte
	bytes         int
	aborted       []object.AbortedTransaction
	leader        leaderHint
	diverging     divergingEpoch
	absent        bool // there is no such partition, or it was not looked up
}

// divergingEpoch is KIP-595's answer to a fetch whose last epoch ended earlier.
type divergingEpoch struct {
	known bool
	epoch int32
	end   int64
}

// release gives the slabs back, once the response was written or dropped.
func (a *fetchAnswer) release() {
	for _, s := range a.slabs {
		s.Release()
	}
	a.slabs = nil
}

// encode appends the body to head, and returns it cut where the borrowed batches
// belong, with the batches between: slices to be written in order.
func (a *fetchAnswer) encode(head []byte) [][]byte {
	flexible := a.version >= fetchFlexible
	pieces := 1
	for i := range a.parts {
		if n := len(a.parts[i].batches); n > 0 {
			pieces += n + 1
		}
	}
	// The header bytes may move as they grow, so cuts are noted as positions.
	cuts := make([]int, 0, len(a.parts))
	head = a.appendTop(head)
	head = wire.AppendArrayLen(head, flexible, len(a.topics))
	for i := range a.topics {
		t := &a.topics[i]
		if a.version >= fetchTopicIDs {
			head = append(head, t.id[:]...)
		} else {
			head = wire.AppendString(head, flexible, t.name)
		}
		head = wire.AppendArrayLen(head, flexible, t.end-t.first)
		for j := range a.parts[t.first:t.end] {
			head, cuts = a.parts[t.first+j].append(head, cuts, a.version, a.committed)
		}
		head = wire.AppendNoTags(head, flexible)
	}
	switch {
	case a.version >= fetchHints && len(a.nodes) > 0:
		head = appendNodeEndpoints(head, a.nodes)
	default:
		head = wire.AppendNoTags(head, flexible)
	}
	return a.weave(make([][]byte, 0, pieces), head, cuts)
}

func (a *fetchAnswer) appendTop(dst []byte) []byte {
	dst = kbin.AppendInt32(dst, a.throttle)
	if a.version >= fetchSessionsFrom {
		dst = kbin.AppendInt16(dst, int16(a.code))
		dst = kbin.AppendInt32(dst, a.session)
	}
	return dst
}

// weave puts the batches of each partition behind its cut.
func (a *fetchAnswer) weave(out [][]byte, head []byte, cuts []int) [][]byte {
	from := 0
	for i := range a.parts {
		if len(a.parts[i].batches) == 0 {
			continue
		}
		out = append(out, head[from:cuts[i]])
		out = append(out, a.parts[i].batches...)
		from = cuts[i]
	}
	return append(out, head[from:])
}

func (p *fetchPartAnswer) append(dst []byte, cuts []int, version int16, committed bool) ([]byte, []int) {
	flexible := version >= fetchFlexible
	dst = kbin.AppendInt32(dst, p.index)
	dst = kbin.AppendInt16(dst, int16(p.code))
	dst = kbin.AppendInt64(dst, p.highWatermark)
	dst = kbin.AppendInt64(dst, p.lastStable)
	if version >= 5 {
		dst = kbin.AppendInt64(dst, p.logStart)
	}
	dst = p.appendAborted(dst, flexible, p.absent || committed && p.code == wire.None)
	if version >= fetchReplicaFrom {
		dst = kbin.AppendInt32(dst, noReplica)
	}
	if flexible {
		dst = kbin.AppendUvarint(dst, uint32(p.bytes)+1)
	} else {
		dst = kbin.AppendInt32(dst, int32(p.bytes))
	}
	cuts = append(cuts, len(dst))
	switch {
	case flexible && p.diverging.known:
		dst = p.diverging.append(dst)
	case version >= fetchHints && p.leader.known:
		dst = p.leader.append(dst, 1)
	default:
		dst = wire.AppendNoTags(dst, flexible)
	}
	return dst, cuts
}

// appendAborted appends the aborted transactions, or null when they were
// not asked for. As in Kafka, the list is null beside an error of the partition, and
// empty where there is no partition.
func (p *fetchPartAnswer) appendAborted(dst []byte, flexible, committed bool) []byte {
	if !committed {
		return wire.AppendArrayLen(dst, flexible, -1)
	}
	dst = wire.AppendArrayLen(dst, flexible, len(p.aborted))
	for _, t := range p.aborted {
		dst = kbin.AppendInt64(dst, t.Producer)
		dst = kbin.AppendInt64(dst, t.First)
		dst = wire.AppendNoTags(dst, flexible)
	}
	return dst
}

// append writes a tag section with the diverging epoch alone, under tag 0.
func (d divergingEpoch) append(dst []byte) []byte {
	dst = append(dst, 1, 0, 4+8+1)
	dst = kbin.AppendInt32(dst, d.epoch)
	dst = kbin.AppendInt64(dst, d.end)
	return append(dst, 0)
}
