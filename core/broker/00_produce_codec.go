package broker

import (
	"errors"
	"fmt"

	"weir/core/compress"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/record"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kbin"
)

const (
	// producePartsMax bounds the partitions of one request: each costs some
	// hundred bytes here, and as little as six on the wire.
	producePartsMax = 1 << 16

	produceFlexible   = 9
	produceTopicIDs   = 13
	produceZstd       = 7
	produceErrors     = 8 // record errors and an error message
	produceHints      = 10
	produceVersionMin = 3

	// What the batches of one request may decompress to in all: so many bytes, or so many times
	// the request's size if that is more. It bounds the CPU time that a request takes before its
	// topics are looked up; memory does not grow with what a batch decompresses to.
	decompressedBytesMax = 64 << 20
	decompressedRatioMax = 64
)

// produceRequest is a decoded Produce request and the state of its answer. The
// batches, and the topics' wire names, are slices of the frame.
type produceRequest struct {
	version       int16
	acks          int16
	timeoutMillis int32
	// transactionalID is a copy.
	transactionalID string
	transactional   bool // it has a transactional id
	topics          []produceTopic
	parts           []producePart // in the order of the request
	decompressed    int           // bytes that the batches may still decompress to
}

// produceTopic is a topic of the request; its partitions are parts[first:end].
type produceTopic struct {
	wireName   []byte // in the frame; nil from version 13 on
	name       string // set on the loop
	id         metadata.TopicID
	first, end int
	replaced   int // parts of the topic that the request has again, further on
}

// producePart is one partition of the request. If the batch cannot be appended
// anywhere, Code and Detail of its Append say why.
type producePart struct {
	partition.Append
	index    int32
	replaced bool // the request has the partition again, further on
	leader   leaderHint
}

// decodeProduce decodes a request's body and reads every record of its batches, so
// that the loop gets facts. It runs off the loop, on the connection's goroutine, and
// allocates twice for any number of records: topics and partitions.
func decodeProduce(version int16, body []byte) (*produceRequest, error) {
	r := &produceRequest{version: version, decompressed: max(decompressedBytesMax, decompressedRatioMax*len(body))}
	in := kbin.Reader{Src: body}
	flexible := version >= produceFlexible
	id := wire.ReadNullableString(&in, flexible)
	r.transactional, r.transactionalID = id != nil, string(id)
	r.acks, r.timeoutMillis = in.Int16(), in.Int32()
	topics := wire.ReadArrayLen(&in, flexible)
	r.topics = make([]produceTopic, 0, min(topics, 64))
	for range topics {
		if err := r.decodeTopic(&in, flexible); err != nil {
			return nil, err
		}
	}
	wire.SkipTags(&in, flexible)
	if err := in.Complete(); err != nil {
		return nil, fmt.Errorf("%w: %v", wire.ErrMalformed, err)
	}
	r.markReplaced()
	return r, nil
}

func (r *produceRequest) decodeTopic(in *kbin.Reader, flexible bool) error {
	t := produceTopic{first: len(r.parts)}
	if r.version >= produceTopicIDs {
		t.id = in.Uuid()
	} else if t.wireName = wire.ReadNullableString(in, flexible); t.wireName == nil {
		return fmt.Errorf("%w: a topic without a name", wire.ErrMalformed)
	}
	parts := wire.ReadArrayLen(in, flexible)
	if len(r.parts)+parts > producePartsMax {
		return fmt.Errorf("%w: more than %d partitions", wire.ErrMalformed, producePartsMax)
	}
	if r.parts == nil {
		r.parts = make([]producePart, 0, min(parts, 16))
	}
	for range parts {
		index, batch := in.Int32(), wire.ReadNullableBytes(in, flexible)
		wire.SkipTags(in, flexible)
		if !in.Ok() {
			return fmt.Errorf("%w: partitions are cut off", wire.ErrMalformed)
		}
		r.parts = append(r.parts, producePart{index: index})
		r.check(&r.parts[len(r.parts)-1], batch)
	}
	wire.SkipTags(in, flexible)
	t.end = len(r.parts)
	r.topics = append(r.topics, t)
	return nil
}

// check validates one batch as far as it can be without the topic.
func (r *produceRequest) check(p *producePart, data []byte) {
	h, err := record.Check(data)
	p.Header = h
	switch {
	case errors.Is(err, record.ErrCorrupt):
		p.Code = wire.CorruptMessage
	case errors.Is(err, record.ErrCodec):
		p.Code = wire.UnsupportedCompressionType
	case err != nil:
		p.Code = wire.InvalidRecord
	case h.Codec() == compress.Zstd && r.version < produceZstd:
		p.Code, p.Detail = wire.UnsupportedCompressionType, "zstd needs Produce version 7"
	default:
		p.Data = data[:h.Bytes]
		r.readRecords(p)
	}
	if err != nil && len(data) > 0 { // Kafka has no text for no batch
		p.Detail = err.Error()
	}
}

// readRecords validates the records of a batch.
func (r *produceRequest) readRecords(p *producePart) {
	if p.Header.Codec() == compress.None {
		p.Facts, p.Invalid = record.Validate(&p.Header, p.Data, len(p.Data))
		return
	}
	p.Facts, p.Invalid = record.Validate(&p.Header, p.Data, r.decompressed)
	if r.decompressed -= p.Facts.Bytes; errors.Is(p.Invalid, record.ErrTooLarge) {
		r.decompressed = 0
	}
}

// markReplaced finds partitions that the request has more than once. Kafka stores the last batch
// and answers once.
func (r *produceRequest) markReplaced() {
	if len(r.parts) < 2 || r.ascending() {
		return
	}
	var names topicNumbers
	last := make(map[partKey]place, len(r.parts))
	for i := range r.topics {
		t := &r.topics[i]
		k := partKey{name: names.of(string(t.wireName)), id: t.id}
		for j := t.first; j < t.end; j++ {
			k.index = r.parts[j].index
			if before, twice := last[k]; twice {
				r.parts[before.part].replaced = true
				r.topics[before.topic].replaced++
			}
			last[k] = place{i, j}
		}
	}
}

// partKey names a partition by its topic's id, or by the number of its name among those of the request.
type partKey struct {
	name  int
	id    metadata.TopicID
	index int32
}

type place struct{ topic, part int }

// ascending reports whether the request has one topic, and its partitions in ascending order: then
// none is there twice.
func (r *produceRequest) ascending() bool {
	if len(r.topics) > 1 {
		return false
	}
	for i := range r.parts[1:] {
		if r.parts[i].index >= r.parts[i+1].index {
			return false
		}
	}
	return true
}

// appendProduceResponse appends the body of the answer.
func (r *produceRequest) appendProduceResponse(dst []byte, throttleMillis int32, nodes []nodeEndpoint) []byte {
	flexible := r.version >= produceFlexible
	dst = wire.AppendArrayLen(dst, flexible, r.topicsAnswered())
	for i := range r.topics {
		t := &r.topics[i]
		if t.superseded() {
			continue
		}
		if r.version >= produceTopicIDs {
			dst = append(dst, t.id[:]...)
		} else {
			dst = wire.AppendString(dst, flexible, t.name)
		}
		dst = wire.AppendArrayLen(dst, flexible, t.end-t.first-t.replaced)
		for j := range r.parts[t.first:t.end] {
			if part := &r.parts[t.first+j]; !part.replaced {
				dst = part.append(dst, r.version)
			}
		}
		dst = wire.AppendNoTags(dst, flexible)
	}
	if r.version >= 1 {
		dst = kbin.AppendInt32(dst, throttleMillis)
	}
	if !flexible {
		return dst
	}
	if r.version >= produceHints && len(nodes) > 0 {
		return appendNodeEndpoints(dst, nodes)
	}
	return wire.AppendNoTags(dst, true)
}

// superseded reports whether the topic is left out of the answer, as in Kafka: the request has all of its partitions again,
// further on, or none.
func (t *produceTopic) superseded() bool { return t.replaced == t.end-t.first }

func (r *produceRequest) topicsAnswered() int {
	n := len(r.topics)
	for i := range r.topics {
		if r.topics[i].superseded() {
			n--
		}
	}
	return n
}

func (p *producePart) append(dst []byte, version int16) []byte {
	flexible := version >= produceFlexible
	dst = kbin.AppendInt32(dst, p.index)
	dst = kbin.AppendInt16(dst, int16(p.Code))
	dst = kbin.AppendInt64(dst, p.BaseOffset)
	if version >= 2 {
		dst = kbin.AppendInt64(dst, p.LogAppendTime)
	}
	if version >= 5 {
		dst = kbin.AppendInt64(dst, p.LogStart)
	}
	if version >= produceErrors {
		dst = p.appendErrors(dst, flexible)
	}
	if !flexible {
		return dst
	}
	if version >= produceHints && p.leader.known {
		return p.leader.append(dst, 0)
	}
	return wire.AppendNoTags(dst, true)
}

// appendErrors appends the record errors and the error message.
func (p *producePart) appendErrors(dst []byte, flexible bool) []byte {
	detail := &p.Detail
	if p.Code == wire.None || p.Detail == "" {
		detail = nil
	}
	dst = wire.AppendArrayLen(dst, flexible, len(p.RecordErrors))
	for i := range p.RecordErrors {
		e := &p.RecordErrors[i]
		dst = kbin.AppendInt32(dst, e.Index)
		dst = wire.AppendNullableString(dst, flexible, &e.Detail)
		dst = wire.AppendNoTags(dst, flexible)
	}
	return wire.AppendNullableString(dst, flexible, detail)
}

// leaderHint is KIP-951's CurrentLeader.
type leaderHint struct {
	known bool
	id    metadata.BrokerID
	epoch int32
}

// append writes a tag section with the hint alone.
func (l leaderHint) append(dst []byte, tag byte) []byte {
	dst = append(dst, 1, tag, 4+4+1)
	dst = kbin.AppendInt32(dst, int32(l.id))
	dst = kbin.AppendInt32(dst, l.epoch)
	return append(dst, 0)
}

// nodeEndpoint is KIP-951's NodeEndpoint.
type nodeEndpoint struct {
	id   metadata.BrokerID
	host string
	port int32
	rack string // empty: null
}

// appendNodeEndpoints appends a tag section with the endpoints under tag 0.
func appendNodeEndpoints(dst []byte, nodes []nodeEndpoint) []byte {
	body := wire.AppendArrayLen(nil, true, len(nodes))
	for _, n := range nodes {
		body = kbin.AppendInt32(body, int32(n.id))
		body = kbin.AppendCompactString(body, n.host)
		body = kbin.AppendInt32(body, n.port)
		var rack *string
		if n.rack != "" {
			rack = &n.rack
		}
		body = kbin.AppendCompactNullableString(body, rack)
		body = append(body, 0)
	}
	dst = append(dst, 1, 0)
	dst = kbin.AppendUvarint(dst, uint32(len(body)))
	return append(dst, body...)
}
