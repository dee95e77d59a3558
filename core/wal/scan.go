package wal

import (
	"fmt"
	"hash/crc32"
)

// scanner reads a log front to back.
type scanner struct {
	source   source
	name     string
	head     head
	visit    func(Entry)
	summary  func(Position, []byte)
	opened   func(*Sealed)
	durable  bool // as far as the log counts, it was made so before
	back     int  // begin so near the end, see source.openLatest; 0: begin at the trim point
	sealed   *Sealed
	at       Position // of the next group
	sequence uint64   // its number, once a group was read
	vouched  Position // the highest mark of the groups read: everything below it was durable
}

// begin says what the head says of the log, of which nothing was visited.
func (s *scanner) begin() {
	s.sealed.head = s.head
	if !s.head.blank {
		s.sealed.BrokerEpoch, s.sealed.Trimmed, s.sealed.End = s.head.epoch, s.head.trim, s.head.trim
	}
}

func (s *scanner) scan() error {
	if s.head.blank {
		return nil
	}
	s.at = s.head.trim
	for more := true; more; {
		reason, err := s.groups()
		if err != nil {
			return err
		}
		mark, err := s.highestMark(s.at)
		if err != nil {
			return err
		}
		if mark > s.at {
			return &CorruptError{File: s.name, At: s.at, Durable: mark, Reason: reason}
		}
		if s.durable {
			return nil
		}
		if more, err = s.source.secure(max(s.head.trim, s.head.durable, s.vouched), s.at); err != nil {
			return err
		}
		s.sealed.Raced = s.sealed.Raced || more
	}
	return nil
}

// groups visits valid groups up to the first invalid one, and returns what is wrong with that.
func (s *scanner) groups() (reason string, err error) {
	for {
		h, data, err := s.source.group(s.at)
		if err != nil {
			return "", err
		}
		if h.bytes == 0 {
			return "no valid group header", nil
		}
		if h.at != s.at {
			return "", s.misplaced(s.at, h)
		}
		if s.at > s.head.trim && h.sequence != s.sequence {
			return "a group header out of sequence", nil
		}
		if data == nil || !h.holds(data) {
			s.sealed.Torn = true
			return "a group fails its checksum", nil
		}
		s.visitRecords(h, data)
		s.vouched = max(s.vouched, h.durable)
		s.at, s.sequence = s.at+Position(h.bytes), h.sequence+1
		s.sealed.End = s.at // what was visited may be read
	}
}

// misplaced classifies a whole header of this log that belongs elsewhere. An earlier one is what
// the end of the log looks like; a later one means that the trim point was moved and is lost.
func (s *scanner) misplaced(at Position, h groupHeader) error {
	if h.at < at {
		return nil
	}
	return &CorruptError{
		File: s.name, At: at, Durable: max(h.durable, s.head.durable),
		Reason: fmt.Sprintf("it holds the group of position %d, so a newer trim point was lost or the group is misplaced", h.at),
	}
}

// holds sums every record of a group, and reports whether all are whole.
func (h *groupHeader) holds(data []byte) bool {
	var scratch [16]byte
	at, sum := groupHeaderBytes, uint32(0)
	for range h.records {
		if at > len(data) {
			return false
		}
		r, ok := checkRecord(data[at:], &scratch, h.nonce, h.at+Position(at))
		if !ok {
			return false
		}
		sum = crc32.Update(sum, castagnoli, data[at:at+4])
		at += recordBytes(int(r.bytes))
	}
	return sum == h.sum
}

// visitRecords hands the entries of a valid group out.
func (s *scanner) visitRecords(h groupHeader, data []byte) {
	at := groupHeaderBytes
	for range h.records {
		r, _ := decodeRecordHeader(data[at:])
		payload := r.payload(data[at:])
		if r.kind == kindSummary {
			s.summary(h.at+Position(at), payload)
		} else {
			s.visit(Entry{
				Stream: r.stream, LeaderEpoch: r.leaderEpoch, BaseOffset: r.baseOffset, Offsets: r.offsets,
				Bytes: int32(r.bytes), At: h.at + Position(at), Batch: payload[:len(payload):len(payload)],
			})
		}
		at += recordBytes(int(r.bytes))
	}
}

// highestMark looks beyond a lost group for later ones of this log, as far as writes in flight can
// have reached, and returns the highest mark up to which one of them found everything durable.
func (s *scanner) highestMark(lost Position) (Position, error) {
	mark := s.head.durable
	if mark > lost {
		return mark, nil
	}
	err := s.source.beyond(lost, func(h groupHeader) bool {
		s.sealed.Torn = true
		mark = max(mark, h.durable)
		return mark <= lost
	})
	return mark, err
}
