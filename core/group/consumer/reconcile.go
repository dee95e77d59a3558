package consumer

import (
	"slices"

	"weir/core/metadata"
	"weir/core/wire"
)

// reconciliation moves one member a step towards its target: first it gives back, then it takes what is free.
type reconciliation struct {
	member      *Member
	targetEpoch int32
	target      Assignment
	subscribed  func(metadata.TopicID) bool
	// free reports whether nobody but the member has a partition.
	free func(id metadata.TopicID, partition int32) bool
	// owned is what the member says it owns; nil: it did not say.
	owned *Assignment
	// subscriptionChanged takes topics away at once that the member has just unsubscribed from.
	subscriptionChanged bool
}

// next returns the member's next state, or the member itself if it must wait.
func (r *reconciliation) next() (*Member, error) {
	m := r.member
	switch m.State {
	case Stable:
		switch {
		case m.Epoch != r.targetEpoch:
			return r.advance(), nil
		case r.subscriptionChanged:
			return r.unsubscribe(), nil
		}
		return m, nil
	case Unrevoked:
		if !r.stillOwns(m.Revoking) {
			return r.advance(), nil
		}
		// The member waits for its own client, whatever the target is by now.
		if r.subscriptionChanged {
			return r.unsubscribe(), nil
		}
		return m, nil
	case Unreleased:
		return r.advance(), nil
	}
	// A newer release wrote the state, and was downgraded.
	if r.owned == nil || len(*r.owned) > 0 {
		return nil, refuse(wire.FencedMemberEpoch, "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.")
	}
	return r.advance(), nil
}

// stillOwns reports whether the member has not confirmed yet that it gave partitions back.
func (r *reconciliation) stillOwns(a Assignment) bool { return r.owned == nil || r.owned.intersects(a) }

func (r *reconciliation) advance() *Member {
	next := *r.member
	var kept, revoked, taken Assignment
	waits := false
	for _, id := range topicsOf(r.target, r.member.Assigned) {
		target := r.target.Topic(id).Partitions
		if !r.subscribed(id) {
			target = nil
		}
		keep, revoke := split(r.member.Assigned.Topic(id), target)
		take, blocked := r.available(id, target, keep.Partitions)
		waits = waits || blocked
		kept, revoked, taken = kept.put(keep), revoked.put(revoke), taken.put(take)
	}
	if len(revoked) > 0 && r.stillOwns(revoked) {
		// The epoch stays: it moves on once the member has confirmed.
		next.moved(next.Epoch)
		next.State, next.Assigned, next.Revoking = Unrevoked, kept, revoked
		return &next
	}
	next.moved(r.targetEpoch)
	next.State, next.Assigned, next.Revoking = Stable, kept.union(taken), nil
	if waits {
		next.State = Unreleased
	}
	return &next
}

// split divides partitions into those of a target and the others.
func split(tp TopicPartitions, target []int32) (in, out TopicPartitions) {
	in.Topic, out.Topic = tp.Topic, tp.Topic
	for i, p := range tp.Partitions {
		into := &out
		if _, ok := slices.BinarySearch(target, p); ok {
			into = &in
		}
		into.add(p, tp.Epochs[i])
	}
	return in, out
}

// available returns what of a target the member does not have and may take now, and whether others still have some.
func (r *reconciliation) available(id metadata.TopicID, target, has []int32) (take TopicPartitions, blocked bool) {
	take.Topic = id
	for _, p := range target {
		if _, ok := slices.BinarySearch(has, p); ok {
			continue
		}
		if !r.free(id, p) {
			blocked = true
			continue
		}
		take.add(p, r.targetEpoch)
	}
	return take, blocked
}

// unsubscribe takes away the partitions of topics that the member does not subscribe to any more.
func (r *reconciliation) unsubscribe() *Member {
	next := *r.member
	var kept, dropped Assignment
	for _, tp := range r.member.Assigned {
		if r.subscribed(tp.Topic) {
			kept = append(kept, tp)
		} else {
			dropped = append(dropped, tp)
		}
	}
	if len(dropped) == 0 {
		return r.member
	}
	next.moved(next.Epoch)
	next.Assigned = kept
	if revoking := r.member.Revoking.union(dropped); r.stillOwns(revoking) {
		next.State, next.Revoking = Unrevoked, revoking
	}
	return &next
}
