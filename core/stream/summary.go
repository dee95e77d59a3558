package stream

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"weir/core/metadata"
)

// A summary is: version, flags, then for each stream that is not wholly committed by records that are shipped, ascending: stream,
// leader epoch, end of what was appended, state as of that end with its length before it. Integers
// are unsigned varints. The WAL sums it.
//
// Of a stream that the summary lacks, a recoverer takes it that the image has all. So what is committed, sealed or deleted by records that
// no shipment has yet (R19) is not left out: the metadata disks may be lost with them, and the image that is rebuilt says that this log holds it still.
const (
	summaryVersion  = 1
	summaryOverflow = 1 // flag: it has not all streams of which others need to know
	summaryBytesMax = 1 << 20
	// summaryStreamBytesMin is the smallest encoding of a stream.
	summaryStreamBytesMin = 4
)

var errSummary = errors.New("wal summary is invalid")

// AppendSummary implements wal.Summarizer.
func (e *Engine) AppendSummary(dst []byte) []byte {
	most := min(summaryBytesMax, e.AppendBytesMax())
	start := len(dst)
	dst = append(dst, summaryVersion, 0)
	if shipping := e.base.Shipping; shipping != nil && e.streams.left > shipping.Shipped() {
		e.base.Telemetry.Hit("stream summary: a stream left that the store may still give to this log")
		dst[start+1] |= summaryOverflow
	}
	unsettled := e.streams.unsettled()
	slices.SortStableFunc(unsettled, func(a, b *Stream) int { return cmp.Compare(a.id, b.id) })
	for _, s := range unsettled {
		if s.gone || s.dead || s.handed || s.settled() {
			continue
		}
		if s.owner == nil { // nobody knows its state any more: a recoverer reads all of the log
			dst[start+1] |= summaryOverflow
			continue
		}
		mark := len(dst)
		dst = s.appendSummary(dst)
		if len(dst)-start > most {
			dst = dst[:mark]
			dst[start+1] |= summaryOverflow
			e.base.Telemetry.Hit("stream summary: overflow")
			break
		}
	}
	return dst
}

func (s *Stream) appendSummary(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.id))
	dst = binary.AppendUvarint(dst, uint64(s.leaderEpoch))
	dst = binary.AppendUvarint(dst, uint64(s.end))
	s.engine.scratch = s.owner.Summary(s.engine.scratch[:0])
	dst = binary.AppendUvarint(dst, uint64(len(s.engine.scratch)))
	return append(dst, s.engine.scratch...)
}

// summary is what a summary record says.
type summary struct {
	overflow bool // streams are missing
	streams  []streamSummary
}

// streamSummary is one stream's end and state, as of everything appended before the summary.
type streamSummary struct {
	stream      metadata.StreamID
	leaderEpoch int32
	end         int64
	state       []byte // part of the decoded bytes; nil if empty
}

func decodeSummary(b []byte) (summary, error) {
	if len(b) < 2 || b[0] != summaryVersion || b[1]&^summaryOverflow != 0 {
		return summary{}, errSummary
	}
	out := summary{overflow: b[1]&summaryOverflow != 0}
	r := summaryReader{b: b[2:]}
	for len(r.b) > 0 {
		s := streamSummary{stream: metadata.StreamID(r.uvarint())}
		epoch, end := r.uvarint(), r.uvarint()
		s.leaderEpoch, s.end = int32(epoch), int64(end)
		s.state = r.take(r.uvarint())
		if r.failed || epoch >= 1<<31 || end >= 1<<63 || (len(out.streams) > 0 && out.streams[len(out.streams)-1].stream >= s.stream) {
			return summary{}, errSummary
		}
		out.streams = append(out.streams, s)
	}
	return out, nil
}

// summaryReader takes values off bytes; after a failure all are zero.
type summaryReader struct {
	b      []byte
	failed bool
}

func (r *summaryReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *summaryReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	if n == 0 {
		return nil
	}
	return taken
}
