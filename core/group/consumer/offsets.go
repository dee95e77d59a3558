package consumer

import (
	"weir/core/metadata"
	"weir/core/wire"
)

// CommitCheck says whether a partition may be committed by who asked; nil: every one may. Its error is a *Refusal.
type CommitCheck func(topic string, id metadata.TopicID, partition int32) error

// commitVersionMin is the first version of OffsetCommit whose members know epochs.
const commitVersionMin = 9

// CheckCommit validates who commits offsets. A member may commit with an epoch older than its own for partitions
// that it has had since that epoch (KIP-1251): otherwise every rebalance would make it lose what it has processed.
func (g *Group) CheckCommit(member, instance string, epoch int32, isTransactional bool, version int16) (CommitCheck, error) {
	switch {
	case epoch < 0 && len(g.members) == 0: // an administrator's tool
		return nil, nil
	case isTransactional && epoch == -1 && member == "" && instance == "": // a producer that knows nothing of members
		return nil, nil
	}
	m := g.Member(member)
	switch {
	case m == nil:
		return nil, g.unknownMember(member)
	case !isTransactional && m.Classic == nil && version < commitVersionMin:
		return nil, refuse(wire.UnsupportedVersion, "OffsetCommit version 9 or above must be used by members using the consumer group protocol")
	case epoch == m.Epoch:
		return nil, nil
	case epoch > m.Epoch && m.Classic != nil:
		return nil, refuse(wire.IllegalGeneration, "Received generation id %d is newer than current member epoch %d.", epoch, m.Epoch)
	case epoch > m.Epoch:
		return nil, refuse(wire.StaleMemberEpoch, "Received member epoch %d is newer than current member epoch %d.", epoch, m.Epoch)
	}
	return func(topic string, id metadata.TopicID, partition int32) error {
		return m.checkCommit(epoch, topic, id, partition)
	}, nil
}

func (m *Member) checkCommit(epoch int32, topic string, id metadata.TopicID, partition int32) error {
	since, ok := m.Assigned.Epoch(id, partition)
	if !ok {
		since, ok = m.Revoking.Epoch(id, partition)
	}
	code, word := wire.Code(wire.StaleMemberEpoch), "member epoch"
	if m.Classic != nil {
		code, word = wire.IllegalGeneration, "generation id"
	}
	switch {
	case !ok:
		return refuse(code, "Partition %s-%d is not assigned or pending revocation for member.", topic, partition)
	case epoch < since:
		return refuse(code, "Received %s %d is older than assignment epoch %d for partition %s-%d.", word, epoch, since, topic, partition)
	}
	return nil
}

// CheckFetch validates who asks for committed offsets. A null member id with a negative epoch is anybody.
func (g *Group) CheckFetch(member *string, epoch int32) error {
	if member == nil && epoch < 0 {
		return nil
	}
	id := ""
	if member != nil {
		id = *member
	}
	m := g.Member(id)
	switch {
	case m == nil:
		return g.unknownMember(id)
	case epoch == m.Epoch:
		return nil
	case m.Classic != nil:
		return refuse(wire.IllegalGeneration, "The received generation id %d does not match the expected member epoch %d.", epoch, m.Epoch)
	}
	return refuse(wire.StaleMemberEpoch, "The received member epoch %d does not match the expected member epoch %d.", epoch, m.Epoch)
}
