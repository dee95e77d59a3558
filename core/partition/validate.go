package partition

import (
	"errors"
	"fmt"
	"strings"

	"weir/core/compress"
	"weir/core/record"
	"weir/core/wire"
)

// Origin says who appends a batch, as Kafka's AppendOrigin does: what a producer sends is
// validated in full, what this broker or the partition's leader made is trusted further.
type Origin uint8

const (
	// OriginClient is a producer.
	OriginClient Origin = iota
	// OriginCoordinator is a group or transaction coordinator of this cluster: it may write
	// control records, and its producer epochs are checked but not its sequences.
	OriginCoordinator
	// OriginReplica is a batch that the partition's leader has validated: producer state
	// follows it, whatever its epoch and sequence.
	OriginReplica
)

// RecordError names one record of a refused batch (KIP-467).
type RecordError struct {
	Index  int32
	Detail string
}

// validate checks what depends on the partition and its topic's configuration, in Kafka's order.
// That the batch is whole and its checksum right was checked when the request was decoded.
func (p *Partition) validate(a *Append) (wire.Code, string) {
	h, c := &a.Header, &p.topic.config
	client := a.Origin == OriginClient
	switch {
	case client && h.BaseOffset != 0:
		return wire.InvalidRecord, fmt.Sprintf("base offset of an appended batch must be 0, it is %d", h.BaseOffset)
	case h.Bytes > int(c.MaxMessageBytes) && a.Origin != OriginReplica && (client || !h.Control()): // a marker ends what is open
		return wire.MessageTooLarge, fmt.Sprintf("batch of %d bytes, max.message.bytes is %d", h.Bytes, c.MaxMessageBytes)
	case h.Bytes > p.manager.options.Engine.AppendBytesMax():
		return wire.MessageTooLarge, fmt.Sprintf("batch of %d bytes, this broker's log takes %d at most", h.Bytes, p.manager.options.Engine.AppendBytesMax())
	case client && h.Control():
		return wire.InvalidRecord, "clients may not write control records"
	case h.Transactional() && !h.Idempotent():
		return wire.InvalidTxnState, "a transactional batch has to name its producer"
	case errors.Is(a.Invalid, record.ErrTooLarge):
		return wire.MessageTooLarge, a.Invalid.Error()
	case a.Invalid != nil:
		return wire.InvalidRecord, a.Invalid.Error()
	case h.Codec() != compress.None && a.Facts.RecordBytesMax > int(c.RecordBytesMax):
		return wire.InvalidRecord, fmt.Sprintf("a record of %d bytes, max.decompressed.message.bytes is %d", a.Facts.RecordBytesMax, c.RecordBytesMax)
	}
	return wire.None, ""
}

// BatchBytesMax is how large a batch may be that is appended: as its topic's configuration says, and as this broker's log takes it.
func (p *Partition) BatchBytesMax() int {
	return min(int(p.topic.config.MaxMessageBytes), p.manager.options.Engine.AppendBytesMax())
}

// recordsRefused reports whether the configuration of the topic refuses a record of the batch: one
// without a key, or with a timestamp or a timestamp type that a producer may not set.
func (p *Partition) recordsRefused(a *Append) bool {
	if a.Origin != OriginClient {
		return false
	}
	facts, limits := &a.Facts, p.recordLimits()
	switch {
	case limits.keyed && facts.Keyless >= 0:
		return true
	case a.Header.LogAppendTime():
		return limits.timestamp(a.Header.MaxTimestamp, true) != timestampTaken
	}
	return limits.timestamp(facts.MinTimestamp, false) != timestampTaken || limits.timestamp(facts.MaxTimestamp, false) != timestampTaken
}

// recordLimits are what a topic's configuration asks of each record.
type recordLimits struct {
	keyed         bool // as compacted topics are
	logAppendTime bool
	now           int64 // wall clock, milliseconds
	before, after int64 // milliseconds
}

func (p *Partition) recordLimits() recordLimits {
	c := &p.topic.config
	return recordLimits{
		keyed: strings.Contains(c.CleanupPolicy, "compact"), logAppendTime: c.LogAppendTime,
		now:    p.manager.env.Clock.WallMillis(),
		before: c.TimestampBeforeMaxMillis, after: c.TimestampAfterMaxMillis,
	}
}

// timestampVerdict is what limits say of a record's timestamp.
type timestampVerdict uint8

const (
	timestampTaken timestampVerdict = iota
	timestampOutOfRange
	timestampOfBroker // of the type LogAppendTime
)

// timestamp validates one timestamp as Kafka does, ofBroker if the batch is of the type
// LogAppendTime. On a CreateTime topic such a batch is taken, as one of CreateTime, if it has a
// timestamp that is in range.
func (l *recordLimits) timestamp(millis int64, ofBroker bool) timestampVerdict {
	behind := l.now - millis
	switch {
	case !l.logAppendTime && millis != record.NoTimestamp && (behind > l.before || -behind > l.after):
		return timestampOutOfRange
	case ofBroker && (l.logAppendTime || millis == record.NoTimestamp):
		return timestampOfBroker
	}
	return timestampTaken
}

// refuseRecords refuses a batch for some of its records. They are listed off the loop, for which
// the batch is read once more.
func (p *Partition) refuseRecords(a *Append) {
	listing := recordListing{limits: p.recordLimits(), max: a.RecordErrorsMax, topic: p.Name, index: p.Index, ofBroker: a.Header.LogAppendTime()}
	a.Code = wire.InvalidRecord // for who cannot wait; the listing decides between this and InvalidTimestamp
	p.manager.compute(func() { listing.list(a.Data, a.Facts.Bytes) }, func() {
		a.RecordErrors = listing.errors
		a.refuse(listing.answer())
	})
}

// recordListing collects the records of a batch that limits refuse.
type recordListing struct {
	limits     recordLimits
	topic      string
	index      int32
	ofBroker   bool
	max        int
	errors     []RecordError
	count      int
	timestamps bool // a timestamp was at fault
}

func (l *recordListing) list(batch []byte, limit int) {
	// The batch was read to its end before, so there is no error.
	_ = record.Scan(batch, limit, func(e record.Entry) bool {
		if detail := l.fault(&e); detail != "" {
			l.add(e.Index, detail)
		}
		return true
	})
}

// fault says what is wrong with a record; empty: nothing.
func (l *recordListing) fault(e *record.Entry) string {
	if l.limits.keyed && e.Keyless {
		return fmt.Sprintf("Compacted topic cannot accept message without key in topic partition %s-%d", l.topic, l.index)
	}
	switch l.limits.timestamp(e.Timestamp, l.ofBroker) {
	case timestampOutOfRange:
		l.timestamps = true
		return fmt.Sprintf("Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
			e.Timestamp, e.Offset, l.limits.now-l.limits.before, l.limits.now+l.limits.after)
	case timestampOfBroker:
		l.timestamps = true
		return fmt.Sprintf("Invalid timestamp type in message with offset %d. Producer should not set timestamp type to LogAppendTime.", e.Offset)
	}
	return ""
}

func (l *recordListing) add(index int32, detail string) {
	l.count++
	if len(l.errors) < l.max {
		l.errors = append(l.errors, RecordError{Index: index, Detail: detail})
	}
}

func (l *recordListing) answer() (wire.Code, string) {
	if l.timestamps {
		return wire.InvalidTimestamp, "One or more records have been rejected due to invalid timestamp"
	}
	return wire.InvalidRecord, fmt.Sprintf("One or more records have been rejected due to %d record errors in total", l.count)
}

// setCreateTime makes the header of a batch that is taken say CreateTime, and the largest timestamp
// of its records: some clients get either wrong, and Kafka puts both right.
func (a *Append) setCreateTime() {
	h := &a.Header
	if h.MaxTimestamp == a.Facts.MaxTimestamp && !h.LogAppendTime() {
		return
	}
	record.SetCreateTime(a.Data, a.Facts.MaxTimestamp)
	*h, _ = record.ReadHeader(a.Data)
}
