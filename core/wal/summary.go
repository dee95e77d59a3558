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
	if s.source == nil || s.flying || l.closing != nil || l.End() < s.next {
		return
	}
	s.payload = s.source.AppendSummary(s.payload[:0])
	if len(s.payload) > l.config.AppendBytesMax {
		l.env.Log.Log(slog.LevelWarn, "wal summary is larger than the log takes; recovery will read batch headers instead",
			slog.String("file", l.name), slog.Int("bytes", len(s.payload)))
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

// Durable implements Owner for the summary record.
func (s *summaries) Durable(a *Append) {
	s.flying = false
	s.log.marks.summary = a.At
}
