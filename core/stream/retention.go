package stream

// Bytes is the size of the log: committed parts, recovered tails, and what is not committed yet.
func (s *Stream) Bytes() int64 {
	total := int64(0)
	if image, ok := s.engine.image.Stream(s.id); ok {
		for i := range image.Parts {
			if image.Parts[i].End > s.logStart {
				total += image.Parts[i].Bytes
			}
		}
	}
	return total + s.tailBytes() + s.uncommittedBytes()
}

func (s *Stream) tailBytes() int64 {
	total := int64(0)
	for t := range s.engine.tailsOf(s.id) {
		for i := range t.entries {
			if t.entries[i].end() > s.logStart {
				total += int64(t.entries[i].bytes)
			}
		}
	}
	return total
}

func (s *Stream) uncommittedBytes() int64 {
	total := int64(0)
	for i := s.entries.search(max(s.committed, s.logStart)); i < s.entries.len(); i++ {
		total += int64(s.entries.at(i).bytes)
	}
	return total
}

// RetentionPoint returns the log start that retention asks for: parts wholly older than minTimestamp
// (or -1) or beyond the newest maxBytes (or -1) go. A part goes whole or not at all, in order, and
// nothing that is not committed yet goes; so the point is never above what the store has.
func (s *Stream) RetentionPoint(minTimestamp, maxBytes int64) int64 {
	point := s.logStart
	image, ok := s.engine.image.Stream(s.id)
	if !ok {
		return point
	}
	left := s.Bytes()
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
