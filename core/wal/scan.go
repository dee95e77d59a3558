package wal

import (
	"fmt"
	"hash/crc32"
)

// scanner reads a log front to back.
type scanner struct {
	source  source
	name    string
	head    head
	visit   func(Entry)
	summary func(Position, []byte)
	sealed  *Sealed
	vouched Position // the highest mark of the groups read: everything below it was durable
}

func (s *scanner) scan() error {
	s.sealed.head = s.head
	if s.head.blank {
		return nil
	}
	end, reason, err := s.groups()
	if err != nil {
		return err
	}
	mark, err := s.highestMark(end)
	if err != nil {
		return err
	}
	if mark > end {
		return &CorruptError{File: s.name, At: end, Durable: mark, Reason: reason}
	}
	if err := s.source.secure(max(s.head.trim, s.head.durable, s.vouched), end); err != nil {
		return err
	}
	s.sealed.BrokerEpoch, s.sealed.Trimmed, s.sealed.End = s.head.epoch, s.head.trim, end
	return nil
}

// groups visits valid groups from the trim point on and returns where the first invalid one is,
// with what is wrong with it.
func (s *scanner) groups() (end Position, reason string, err error) {
	at, sequence := s.head.trim, uint64(0)
	for {
		h, data, err := s.source.group(at)
		if err != nil {
			return 0, "", err
		}
		if h.bytes == 0 {
			return at, "no valid group header", nil
		}
		if h.at != at {
			return at, "", s.misplaced(at, h)
		}
		if at > s.head.trim && h.sequence != sequence {
			return at, "a group header out of sequence", nil
		}
		if data == nil || !s.valid(h, data) {
			s.sealed.Torn = true
			return at, "a group fails its checksum", nil
		}
		s.visitRecords(h, data)
		s.vouched = max(s.vouched, h.durable)
		at, sequence = at+Position(h.bytes), h.sequence+1
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

// valid sums every record of a group.
func (s *scanner) valid(h groupHeader, data []byte) bool {
	var scratch [16]byte
	at, sum := groupHeaderBytes, uint32(0)
	for range h.records {
		if at > len(data) {
			return false
		}
		r, ok := checkRecord(data[at:], &scratch, s.head.nonce, h.at+Position(at))
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
