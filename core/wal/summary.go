package wal

import "log/slog"

const summaryMin = 64 << 10 // that appends leave for a summary, unless the log is small

// summaryState is the summary record: one at a time, its buffer reused.
type summaryState struct {
	source  Summarizer
	append  Append
	flying  bool
	next    Position // no summary before the log reaches this
	payload []byte
}

// reserve is the space that appends leave for the next summary.
func (s *summaryState) reserve(region int64) int64 {
	if s.source == nil {
		return 0
	}
	return min(region/8, summaryMin+2*int64(len(s.payload)))
}

// summarize appends a summary if one is due.
func (l *Log) summarize() {
	s := &l.summary
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
	if !l.hasSpace(room, 0) {
		s.next = l.End() + 1 // not again before something else found space
		return
	}
	s.flying = true
	s.append = Append{Payload: s.payload, LogAppendTime: -1, Owner: (*summaryOwner)(l), kind: kindSummary}
	l.place(&s.append, room)
	s.next = l.End() + Position(l.config.SummaryEveryBytes)
}

// summaryOwner is the Log as the owner of its summary record.
type summaryOwner Log

func (o *summaryOwner) Durable(a *Append) {
	o.summary.flying = false
	o.super.summary = a.At
}
