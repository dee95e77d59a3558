package broker

import (
	"weir/core/partition"
	"weir/core/record"
	"weir/core/wire"
)

// TransactionVerifier is what Produce needs of the transaction coordinators (KIP-890).
type TransactionVerifier interface {
	// AddPartitions adds partitions to the producer's open transaction; with verifyOnly it only checks that they are part
	// of it. done hears once, with a code for each partition, those of AddPartitionsToTxn. The partitions are lent until
	// done runs.
	AddPartitions(transactionalID string, producerID int64, epoch int16, partitions []partition.Name, verifyOnly bool, done func([]wire.Code))
}

const (
	// produceAbortable is the version from which a producer understands TRANSACTION_ABORTABLE.
	produceAbortable = 11
	// produceAdds is the version from which Produce adds partitions to a transaction: the second generation.
	produceAdds = 12
)

// transactionRefusal says why the transactional batches of a request make all of it void, as in Kafka.
func (p *pendingProduce) transactionRefusal() (wire.Code, string) {
	var first *record.Header
	for i := range p.parts {
		h := &p.parts[i].Header
		switch {
		case !h.Transactional() || p.parts[i].Code != wire.None:
		case !p.transactional:
			return wire.TransactionalIDAuthorizationFailed, "a transactional batch needs a transactional id"
		case first == nil:
			first = h
		case h.ProducerID != first.ProducerID || h.ProducerEpoch != first.ProducerEpoch:
			return wire.InvalidProducerIDMapping, "Transactional records contained more than one producer ID"
		}
	}
	return wire.None, ""
}

// unverified are the batches of a request that wait for the answer of their transaction's coordinator.
type unverified struct {
	parts []verifiedPart
	names []partition.Name
}

type verifiedPart struct {
	part *producePart
	on   *partition.Partition
}

// askedProducer is a producer on a partition whose batches wait for the answer of their transaction's coordinator. Batches
// behind them wait too, though their partition may be part of the transaction by then: the coordinator answers in
// the order in which it was asked, so they are appended in the order of their sequences.
type askedProducer struct {
	on *partition.Partition
	id int64
}

// answered notes that a batch waits no longer.
func (d *dataPlane) answered(p askedProducer) {
	if d.unverified[p]--; d.unverified[p] == 0 {
		delete(d.unverified, p)
	}
}

// appendTransactional appends a batch of a transaction that is open on its partition, or keeps it for verify.
func (p *pendingProduce) appendTransactional(found *partition.Partition, part *producePart) {
	guard, ask := found.Verify(&part.Header, p.version >= produceAdds)
	producer := askedProducer{found, part.Header.ProducerID}
	if !ask && p.plane.unverified[producer] == 0 {
		found.Append(&part.Append)
		return
	}
	part.Verification = guard
	p.plane.unverified[producer]++
	if p.asked == nil {
		p.asked = &unverified{}
	}
	p.asked.parts = append(p.asked.parts, verifiedPart{part, found})
	p.asked.names = append(p.asked.names, partition.Name{Topic: found.Name, TopicID: found.Topic, Index: found.Index})
}

// verify asks the coordinator about what is not verified, and appends it after its answer. Meanwhile the frame stays held.
func (p *pendingProduce) verify() {
	if p.asked == nil {
		return
	}
	h := &p.asked.parts[0].part.Header
	p.plane.verifier.AddPartitions(p.transactionalID, h.ProducerID, h.ProducerEpoch, p.asked.names, p.version < produceAdds, p.verified)
}

func (p *pendingProduce) verified(codes []wire.Code) {
	asked := p.asked
	p.asked = nil
	for i, v := range asked.parts {
		p.plane.answered(askedProducer{v.on, v.part.Header.ProducerID})
		v.on.Answered(v.part.Header.ProducerID, v.part.Verification, codes[i] == wire.None)
		if codes[i] == wire.None {
			v.on.Append(&v.part.Append)
			continue
		}
		code, detail := p.codeOfVerification(codes[i])
		p.refuse(v.part, code, detail)
	}
}

// codeOfVerification translates a coordinator's code for a producer of the request's version, as Kafka's
// AddPartitionsToTxnManager and ReplicaManager do: what passes becomes what any producer retries without asking for
// metadata.
func (p *pendingProduce) codeOfVerification(code wire.Code) (wire.Code, string) {
	switch code {
	case wire.ProducerFenced:
		return wire.InvalidProducerEpoch, ""
	case wire.TransactionAbortable:
		if p.version < produceAbortable {
			return wire.InvalidTxnState, "Partition was not added to the transaction"
		}
	case wire.InvalidTxnState:
		return code, "Partition was not added to the transaction"
	case wire.ConcurrentTransactions:
		if p.version < produceAdds {
			return wire.NotEnoughReplicas, "the transaction before this one is not over yet"
		}
	case wire.NetworkException, wire.CoordinatorLoadInProgress, wire.CoordinatorNotAvailable, wire.NotCoordinator:
		return wire.NotEnoughReplicas, "the transaction's coordinator could not be asked yet"
	}
	return code, ""
}
