package stream

// Bytes is the size of the log: committed parts, recovered tails, and what is not committed yet.
func (s *Stream) Bytes() int64 { return s.committedBytes() + s.tailBytes() + s.uncommittedBytes() }

// committedBytes is counted anew only once the image has changed.
func (s *Stream) committedBytes() int64 {
	if s.counted {
		return s.partBytes
	}
	s.counted, s.partBytes = true, 0
	if image, ok := s.engine.base.Image.Stream(s.id); ok {
		for i := range image.Parts {
			if image.Parts[i].End > s.logStart {
				s.partBytes += image.Parts[i].Bytes
			}
		}
	}
	return s.partBytes
}

func (s *Stream) tailBytes() int64 {
	total := int64(0)
	for t := range s.engine.recovered.of(s.id) {
		if t.tail.glance {
			continue // another has it, or will
		}
		total += t.entries.bytes(t.entries.search(s.logStart), t.entries.len())
	}
	return total
}

func (s *Stream) uncommittedBytes() int64 {
	if s.logStart <= s.pinnedFrom {
		return s.pinned
	}
	return s.entries.bytes(s.entries.search(s.logStart), s.entries.len()) // trimmed before it was uploaded
}

// RetentionPoint returns the log start that retention asks for: parts wholly older than minTimestamp
// (or -1) or beyond the newest maxBytes (or -1) go. A part goes whole or not at all, in order, and
// nothing that is not committed yet goes; so the point is never above what the store has.
func (s *Stream) RetentionPoint(minTimestamp, maxBytes int64) int64 {
	point := s.logStart
	image, ok := s.engine.base.Image.Stream(s.id)
	if !ok {
		return point
	}
	left := int64(0)
	if maxBytes >= 0 {
		left = s.Bytes()
	}
	for i := range image.Parts {
		p := &image.Parts[i]
		if p.End <= point {
			continue
		}
		old := minTimestamp >= 0 && p.OlderThan(minTimestamp)
		over := maxBytes >= 0 && left-p.Bytes >= maxBytes
		if p.Start > point || (!old && !over) {
			break
		}
		point, left = p.End, left-p.Bytes
	}
	return point
}
