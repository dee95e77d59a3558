package metadata

import "slices"

// AppendTo implements Record.
func (r *FoundCluster) AppendTo(dst []byte) []byte { return encode(dst, typeFoundCluster, r) }

// AppendTo implements Record.
func (r *SetFeatures) AppendTo(dst []byte) []byte { return encode(dst, typeSetFeatures, r) }

// AppendTo implements Record.
func (r *RegisterBroker) AppendTo(dst []byte) []byte {
	switch {
	case r.ObjectWAL:
		return encodeAs(dst, typeRegisterBroker, 3, r)
	case r.Term > 0 || r.Peer != "" || r.SharedWAL:
		return encodeAs(dst, typeRegisterBroker, 2, r)
	}
	return encodeAs(dst, typeRegisterBroker, 1, r)
}

// AppendTo implements Record.
func (r *CreateTopic) AppendTo(dst []byte) []byte {
	if r.ReplicationFactor == 0 {
		return encodeAs(dst, typeCreateTopic, 1, r)
	}
	return encode(dst, typeCreateTopic, r)
}

// AppendTo implements Record.
func (r *DeleteTopic) AppendTo(dst []byte) []byte { return encode(dst, typeDeleteTopic, r) }

// AppendTo implements Record.
func (r *AddPartitions) AppendTo(dst []byte) []byte { return encode(dst, typeAddPartitions, r) }

// AppendTo implements Record.
func (r *SetTopicConfigs) AppendTo(dst []byte) []byte { return encode(dst, typeSetTopicConfigs, r) }

// AppendTo implements Record.
func (r *SetBrokerConfigs) AppendTo(dst []byte) []byte { return encode(dst, typeSetBrokerConfigs, r) }

// AppendTo implements Record.
func (r *SetGroupConfigs) AppendTo(dst []byte) []byte { return encode(dst, typeSetGroupConfigs, r) }

// AppendTo implements Record.
func (r *AllocateProducerIDs) AppendTo(dst []byte) []byte {
	return encode(dst, typeAllocateProducerIDs, r)
}

// AppendTo implements Record.
func (r *TrimStream) AppendTo(dst []byte) []byte { return encode(dst, typeTrimStream, r) }

// AppendTo implements Record.
func (r *LeaseObjects) AppendTo(dst []byte) []byte { return encode(dst, typeLeaseObjects, r) }

// AppendTo implements Record.
func (r *CommitObject) AppendTo(dst []byte) []byte {
	switch {
	case slices.ContainsFunc(r.Parts, func(p CommitPart) bool { return p.Stored.Named() }):
		return encode(dst, typeCommitObject, r)
	case r.WALSlot != 0:
		return encodeAs(dst, typeCommitObject, 2, r)
	}
	return encodeAs(dst, typeCommitObject, 1, r)
}

// AppendTo implements Record.
func (r *CleanStream) AppendTo(dst []byte) []byte { return encode(dst, typeCleanStream, r) }

// AppendTo implements Record.
func (r *TakeOver) AppendTo(dst []byte) []byte { return encode(dst, typeTakeOver, r) }

// AppendTo implements Record.
func (r *FenceBroker) AppendTo(dst []byte) []byte { return encode(dst, typeFenceBroker, r) }

// AppendTo implements Record.
func (r *UnregisterBroker) AppendTo(dst []byte) []byte { return encode(dst, typeUnregisterBroker, r) }

// AppendTo implements Record.
func (r *AssignRecovery) AppendTo(dst []byte) []byte { return encode(dst, typeAssignRecovery, r) }

// AppendTo implements Record.
func (r *SealRanges) AppendTo(dst []byte) []byte {
	if len(r.Objects) == 0 {
		return encodeAs(dst, typeSealRanges, 1, r)
	}
	return encode(dst, typeSealRanges, r)
}

// AppendTo implements Record.
func (r *ExpireObjects) AppendTo(dst []byte) []byte { return encode(dst, typeExpireObjects, r) }

// AppendTo implements Record.
func (r *DeleteObjects) AppendTo(dst []byte) []byte { return encode(dst, typeDeleteObjects, r) }
