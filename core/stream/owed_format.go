package stream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
)

// What brokers say to each other about records that are owed. All integers are little-endian; both begin with a version.
//
//	request  u8 version, u8 flags (1: batches are wanted, 2: aborted transactions are), u16 zero, i32 leader epoch of the range, u64 stream,
//	         i64 offset, u32 most bytes of batches, then the search, if flag 2 is set (object.AbortedSearch)
//	answer   u8 version, u8 flags of the request, u16 zero, u32 bytes of batches, i64 end of the range, then the batches as they were appended, one
//	         behind the other, the first with the offset in it, then the search as far as the end, if flag 2 is set
//
// A search begins with the batches that are asked for, or goes on behind those that were read elsewhere: then no batches are
// asked for. A version that is not known is refused like a method that is not; whoever asked waits for the upload.
const (
	owedVersion          = 1
	owedRequestHeadBytes = 28
	owedAnswerHeadBytes  = 16

	owedWantsBatches      = 1
	owedWantsTransactions = 2

	// OwedAnswerBytesMax is the largest answer: one that would be larger is not given.
	OwedAnswerBytesMax = 3 << 20

	// owedReadBytesMax is how many bytes of batches are asked for at once. The first batch comes whatever its size.
	owedReadBytesMax = 1 << 20
	// owedRequestBytesMax is the largest request: a search with more transactions waits for the upload.
	owedRequestBytesMax = 256 << 10
)

var order = binary.LittleEndian

var errOwedFormat = errors.New("stream: a message about records that are owed is malformed")

// owedRequest asks for what a WAL holds of a sealed range, from an offset on.
type owedRequest struct {
	stream      metadata.StreamID
	leaderEpoch int32 // of the range
	offset      int64
	maxBytes    int
	batches     bool // are wanted
	searches    bool
	search      object.AbortedSearch
}

func (q *owedRequest) flags() (f uint8) {
	if q.batches {
		f |= owedWantsBatches
	}
	if q.searches {
		f |= owedWantsTransactions
	}
	return f
}

// fits reports whether the request may be sent.
func (q *owedRequest) fits() bool {
	return owedRequestHeadBytes+q.search.EncodedBytes() <= owedRequestBytesMax
}

func (q *owedRequest) append(b []byte) []byte {
	b = append(b, owedVersion, q.flags(), 0, 0)
	b = order.AppendUint32(b, uint32(q.leaderEpoch))
	b = order.AppendUint64(b, uint64(q.stream))
	b = order.AppendUint64(b, uint64(q.offset))
	b = order.AppendUint32(b, uint32(q.maxBytes))
	if q.searches {
		b = q.search.AppendTo(b)
	}
	return b
}

func parseOwedRequest(b []byte) (q owedRequest, err error) {
	if len(b) < owedRequestHeadBytes || len(b) > owedRequestBytesMax || b[0] != owedVersion || order.Uint16(b[2:]) != 0 {
		return q, fmt.Errorf("%w: a request of %d bytes", errOwedFormat, len(b))
	}
	flags := b[1]
	q = owedRequest{
		stream: metadata.StreamID(order.Uint64(b[8:])), leaderEpoch: int32(order.Uint32(b[4:])), offset: int64(order.Uint64(b[16:])),
		maxBytes: int(order.Uint32(b[24:])), batches: flags&owedWantsBatches != 0, searches: flags&owedWantsTransactions != 0,
	}
	if flags != q.flags() || flags == 0 || q.offset < 0 || q.maxBytes > owedReadBytesMax || q.batches == (q.maxBytes == 0) {
		return q, fmt.Errorf("%w: a request with flags %d, offset %d, %d bytes", errOwedFormat, flags, q.offset, q.maxBytes)
	}
	if !q.searches {
		return q, emptyRest(b[owedRequestHeadBytes:])
	}
	q.search, err = object.ParseAbortedSearch(b[owedRequestHeadBytes:])
	switch s := &q.search; {
	case err != nil:
	case q.batches && (s.From != q.offset || s.To <= q.offset || s.Undecided() > 0), s.From > q.offset, len(s.Found()) > 0:
		err = fmt.Errorf("%w: a request at offset %d with a search of [%d, %d)", errOwedFormat, q.offset, s.From, s.To)
	}
	return q, err
}

func emptyRest(b []byte) error {
	if len(b) > 0 {
		return fmt.Errorf("%w: %d bytes too many", errOwedFormat, len(b))
	}
	return nil
}

// bytes is the size of the answer, encoded.
func (a *owedAnswer) bytes() int {
	return owedAnswerHeadBytes + a.fetched.Bytes + a.search.EncodedBytes()
}

func (a *owedAnswer) append(b []byte, q *owedRequest) []byte {
	if b == nil {
		b = make([]byte, 0, a.bytes())
	}
	b = append(b, owedVersion, q.flags(), 0, 0)
	b = order.AppendUint32(b, uint32(a.fetched.Bytes))
	b = order.AppendUint64(b, uint64(a.end))
	for _, batch := range a.fetched.Batches {
		b = append(b, batch...)
	}
	if q.searches {
		b = a.search.AppendTo(b)
	}
	return b
}

// parseOwedAnswer reads the answer to a request for a range that ends at end, and checks every batch against its sum. What it returns points into b.
func parseOwedAnswer(b []byte, q *owedRequest, end int64) (a owedAnswer, err error) {
	if len(b) < owedAnswerHeadBytes || len(b) > OwedAnswerBytesMax || b[0] != owedVersion || b[1] != q.flags() || order.Uint16(b[2:]) != 0 {
		return a, fmt.Errorf("%w: an answer of %d bytes", errOwedFormat, len(b))
	}
	size, rest := int(order.Uint32(b[4:])), b[owedAnswerHeadBytes:]
	a.end = int64(order.Uint64(b[8:]))
	if a.end != end || size > len(rest) || q.batches == (size == 0) {
		return owedAnswer{}, fmt.Errorf("%w: an answer with %d bytes of batches of a range that ends at %d, not %d", errOwedFormat, size, a.end, end)
	}
	read, err := a.takeBatches(rest[:size], q, end)
	if err != nil {
		return owedAnswer{}, err
	}
	if !q.searches {
		return a, emptyRest(rest[size:])
	}
	if a.search, err = object.ParseAbortedSearch(rest[size:]); err != nil {
		return owedAnswer{}, err
	}
	to := q.search.To
	if q.batches {
		to = min(to, read)
	}
	if a.search.From != q.search.From || a.search.To != to {
		return owedAnswer{}, fmt.Errorf("%w: an answer for offsets [%d, %d), not [%d, %d)", errOwedFormat, a.search.From, a.search.To, q.search.From, to)
	}
	return a, nil
}

// takeBatches takes the batches of an answer apart. It returns the offset behind them.
func (a *owedAnswer) takeBatches(b []byte, q *owedRequest, end int64) (next int64, err error) {
	for next = q.offset; len(b) > 0; {
		h, err := record.ReadHeader(b)
		if err != nil {
			return 0, err
		}
		first := len(a.fetched.Batches) == 0
		inside := h.BaseOffset == next || first && h.BaseOffset < next
		if !inside || h.LastOffsetDelta < 0 || h.NextOffset() <= next || h.NextOffset() > end || h.LeaderEpoch != q.leaderEpoch || !record.SumHolds(b[:h.Bytes]) {
			return 0, fmt.Errorf("%w: a batch at offset %d of leader epoch %d, wanted offset %d of [.., %d), leader epoch %d",
				errOwedFormat, h.BaseOffset, h.LeaderEpoch, next, end, q.leaderEpoch)
		}
		next = h.NextOffset()
		a.fetched.Batches = append(a.fetched.Batches, b[:h.Bytes:h.Bytes])
		a.fetched.Bytes += h.Bytes
		b = b[h.Bytes:]
	}
	return next, nil
}
