package wal

import "log/slog"

const summaryMin = 64 << 10 // that appends leave for a summary, unless the log is small

// summaries writes the summary records: one at a time, their buffer reused.
type summaries struct {
	log     *Log
	source  Summarizer
	append  Append
	flying  bool
	next    Position // no summary before the log reaches this
	payload []byte
	// each says that a summary goes into each group as it is sealed, as its last record, unless summaries would take
	// more than half of the log. Else there is one every SummaryEveryBytes.
	each bool
	idle []*sealSummary
}

// sealSummary is a summary on its way that was placed as its group was sealed.
type sealSummary struct {
	summaries *summaries
	append    Append
	payload   []byte
}

// spare is the space that appends leave for the next summary.
func (s *summaries) spare() int64 {
	if s.source == nil {
		return 0
	}
	return min(s.log.Size()/8, summaryMin+2*int64(len(s.payload)))
}

// step appends a summary if one is due.
func (s *summaries) step() {
	l := s.log
	if s.source == nil || s.each || s.flying || l.closing != nil || l.End() < s.next {
		return
	}
	s.payload = s.source.AppendSummary(s.payload[:0])
	if s.tooLarge(s.payload) {
		s.next = l.End() + Position(l.config.SummaryEveryBytes)
		return
	}
	room := recordBytes(len(s.payload))
	if !l.medium.reserve(l.gather.endWith(room), 0) {
		s.next = l.End() + 1 // not again before something else found space
		return
	}
	s.flying = true
	s.append = Append{Payload: s.payload, LogAppendTime: -1, Owner: s, kind: kindSummary}
	l.gather.place(&s.append, room)
	s.next = l.End() + Position(l.config.SummaryEveryBytes)
}

// atSeal places a summary into the group that is about to be sealed, if each group gets one: other
// records of the group come before it, whatever their order in the medium.
func (s *summaries) atSeal() {
	l := s.log
	if s.source == nil || !s.each || l.closing != nil || l.End() < s.next {
		return
	}
	f := s.newSealSummary()
	f.payload = s.source.AppendSummary(f.payload[:0])
	room := recordBytes(len(f.payload))
	s.next = l.End() + Position(room)
	if s.tooLarge(f.payload) || !l.medium.reserve(l.gather.endWith(room), 0) {
		s.idle = append(s.idle, f)
		return
	}
	f.append = Append{Payload: f.payload, LogAppendTime: -1, Owner: f, kind: kindSummary}
	l.gather.place(&f.append, room)
	s.next = l.End() + Position(room)
}

func (s *summaries) newSealSummary() *sealSummary {
	if n := len(s.idle); n > 0 {
		f := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return f
	}
	return &sealSummary{summaries: s}
}

// tooLarge reports, loudly, whether the log does not take a summary.
func (s *summaries) tooLarge(payload []byte) bool {
	l := s.log
	if len(payload) <= l.config.AppendBytesMax {
		return false
	}
	l.env.Log.Log(slog.LevelWarn, "wal summary is larger than the log takes; recovery will read batch headers instead",
		slog.String("file", l.name), slog.Int("bytes", len(payload)))
	return true
}

// Durable implements Owner for a summary that was placed as its group was sealed.
func (f *sealSummary) Durable(*Append) {
	s := f.summaries
	s.idle = append(s.idle, f)
}

// Durable implements Owner for the summary record.
func (s *summaries) Durable(a *Append) {
	s.flying = false
	s.log.marks.summary = a.At
}
