// Produce (0), versions 3-13: transactional ids (KIP-98, version 3), the log start in the answer (KIP-107, 5), zstd (KIP-110, 7),
// errors of single records (KIP-467, 8), the new leader beside NOT_LEADER_OR_FOLLOWER (KIP-951, 10), transactions of KIP-890
// (11, 12), topic ids (KIP-516, 13). Versions 0-2 are announced and refused, as in Kafka (KAFKA-18659: older librdkafka looks
// for version 0).
//
// Differences from Kafka: acks=1 waits until the batch is durable, like acks=all; a request has at most 65,536 partitions, and a
// bound on what its batches decompress to; a null batch is refused with INVALID_RECORD, where Kafka fails and does not answer;
// while some batches of a request wait for the answer of their transaction's coordinator, the others are appended.

package broker

import (
	"time"

	"weir/core/partition"
	"weir/core/wire"
)

// recordErrorsMax bounds the records that an answer lists, but for the first of each batch. Kafka lists all: 150,000
// messages for a batch of 1 MiB.
const recordErrorsMax = 1000

// pendingProduce is a Produce request under way on the loop.
type pendingProduce struct {
	*produceRequest
	plane    *dataPlane
	exchange exchange
	open     int // partitions without an answer, and one while they are being submitted
	lent     int // batches that the frame still serves, and one likewise
	ended    bool
	memory   *heldAnswer // counts the partitions of a request that is not small
	refusal  wire.Code   // of the whole request, or None
	reason   string      // of the refusal
	asked    *unverified // batches that wait for their transaction's coordinator; nil: none
}

// produce appends each partition's batch and answers once all are durable or
// refused (acks 1 and all alike), or not at all (acks 0).
func (d *dataPlane) produce(x exchange, r *produceRequest) {
	p := &pendingProduce{produceRequest: r, plane: d, exchange: x, open: len(r.parts) + 1, lent: len(r.parts) + 1}
	if n := len(r.parts); n > smallParts {
		p.memory = d.held.add(x, int64(n)*producePartBytes, d.loop.Now())
	}
	p.refusal, p.reason = p.transactionRefusal()
	release, done := p.release, p.appended
	deadline := d.loop.Now().Add(time.Duration(r.timeoutMillis) * time.Millisecond)
	for i := range r.topics {
		t := &r.topics[i]
		for j := range r.parts[t.first:t.end] {
			part := &r.parts[t.first+j]
			part.Done, part.Release, part.Deadline = done, release, deadline
			part.RecordErrorsMax = max(1, recordErrorsMax/len(r.parts))
			p.submit(t, part)
		}
		if t.name == "" {
			t.name = string(t.wireName)
		}
	}
	release()
	p.verify()
	if r.acks == 0 {
		p.endSilently()
	}
	p.answered()
}

// submit appends one batch, or refuses it. The leader hint is looked up at once,
// while the name is still in the frame.
func (p *pendingProduce) submit(t *produceTopic, part *producePart) {
	found, code := p.plane.find(p.version >= produceTopicIDs, t.id, t.wireName, part.index)
	if found != nil {
		t.name = found.Name
	}
	switch {
	case part.replaced:
		p.release()
		p.answered()
	case p.plane.arrivals.hold(p, t, part, code):
	case code == wire.NotLeaderOrFollower && part.Code == wire.None:
		p.plane.partitions.Refused(t.id, string(t.wireName), part.index, &part.Header)
		p.refuse(part, code, "")
	case code != wire.None:
		p.refuse(part, code, "")
	case isInternal(found.Name): // what a client wrote there could stop a coordinator
		p.refuse(part, wire.InvalidTopic, "Cannot append to internal topic "+found.Name)
	case p.acks < -1 || p.acks > 1:
		p.refuse(part, wire.InvalidRequiredAcks, "")
	case p.refusal != wire.None:
		p.refuse(part, p.refusal, p.reason)
	case part.Code != wire.None:
		p.refuse(part, part.Code, part.Detail)
	case part.Header.Transactional() && !part.Header.Control():
		p.appendTransactional(found, part)
	default:
		found.Append(&part.Append)
	}
}

func (p *pendingProduce) refuse(part *producePart, code wire.Code, detail string) {
	part.Code, part.Detail = code, detail
	part.BaseOffset, part.LogAppendTime, part.LogStart = -1, -1, -1
	p.release()
	p.answered()
}

// appended takes what became of a batch. A request with acks=0 is over by then: its failure closes the connection, or what the
// client sent behind the batch would be appended without it.
func (p *pendingProduce) appended(a *partition.Append) {
	if p.ended && a.Code != wire.None {
		p.exchange.cut()
	}
	p.answered()
}

// release notes that one batch is no longer needed; the frame goes with the last.
func (p *pendingProduce) release() {
	if p.lent--; p.lent == 0 {
		p.exchange.releaseFrame()
	}
}

// endSilently ends a request with acks=0. As in Kafka, an error that is known by
// now closes the connection, since there is no other way to tell.
func (p *pendingProduce) endSilently() {
	p.ended = true
	for i := range p.parts {
		if p.parts[i].Code != wire.None {
			p.exchange.hangUp()
			return
		}
	}
	p.exchange.silence()
}

func (p *pendingProduce) answered() {
	if p.open--; p.open > 0 {
		return
	}
	if p.ended {
		p.forget()
		return
	}
	p.ended = true
	nodes := p.hints()
	p.exchange.reply(func(head []byte) [][]byte {
		return [][]byte{p.appendProduceResponse(head, 0, nodes)}
	}, p.forget)
}

// forget ends the counting of the request's memory: its answer is written, or it gets none.
func (p *pendingProduce) forget() {
	if p.memory != nil {
		p.plane.held.done(p.memory)
		p.memory = nil
	}
}

// hints adds KIP-951's leader to each partition that needs it.
func (p *pendingProduce) hints() (nodes []nodeEndpoint) {
	if p.version < produceHints {
		return nil
	}
	for i := range p.topics {
		t := &p.topics[i]
		for j := range p.parts[t.first:t.end] {
			part := &p.parts[t.first+j]
			if hinted(part.Code) {
				part.leader = p.plane.hint(p.version >= produceTopicIDs, t.id, t.name, part.index)
				nodes = p.plane.addNode(nodes, part.leader, p.exchange.listener())
			}
		}
	}
	return nodes
}
