package partition

import (
	"fmt"
	"strings"
)

// validate checks what depends on the topic's configuration. That the batch is
// whole and its checksum right was checked when it was decoded.
func (p *Partition) validate(a *Append) (Code, string) {
	h, c := &a.Header, &p.topic.config
	switch {
	case a.late:
		return RequestTimedOut, "too many batches wait to be opened"
	case a.invalid != nil:
		return InvalidRecord, a.invalid.Error()
	case h.BaseOffset != 0:
		return InvalidRecord, fmt.Sprintf("base offset of an appended batch must be 0, it is %d", h.BaseOffset)
	case h.Bytes > int(c.MaxMessageBytes):
		return MessageTooLarge, fmt.Sprintf("batch of %d bytes, max.message.bytes is %d", h.Bytes, c.MaxMessageBytes)
	case h.Bytes > p.batchBytesMax:
		return MessageTooLarge, fmt.Sprintf("batch of %d bytes, this broker's log takes %d at most", h.Bytes, p.batchBytesMax)
	case h.Control():
		return InvalidRecord, "clients may not write control records"
	case h.Transactional():
		return InvalidTxnState, "transactions are not supported by this broker"
	case a.Keyless >= 0 && p.compacted():
		a.BadRecord = a.Keyless
		return InvalidRecord, "a compacted topic takes no record without a key"
	case c.LogAppendTime:
		return None, ""
	case h.LogAppendTime():
		return InvalidTimestamp, "a producer may not set the timestamp type LogAppendTime"
	}
	return p.validateTimestamps(a)
}

// noTimestamp is a record's timestamp when it has none.
const noTimestamp = -1

func (p *Partition) validateTimestamps(a *Append) (Code, string) {
	now, c := p.manager.env.Clock.WallMillis(), &p.topic.config
	if ahead := a.MaxTimestamp - now; a.MaxTimestamp != noTimestamp && ahead > c.TimestampAfterMax.Milliseconds() {
		return InvalidTimestamp, fmt.Sprintf("timestamp %d is %d ms ahead of the broker, message.timestamp.after.max.ms is %d",
			a.MaxTimestamp, ahead, c.TimestampAfterMax.Milliseconds())
	}
	if behind := now - a.MinTimestamp; a.MinTimestamp != noTimestamp && behind > c.TimestampBeforeMax.Milliseconds() {
		return InvalidTimestamp, fmt.Sprintf("timestamp %d is %d ms behind the broker, message.timestamp.before.max.ms is %d",
			a.MinTimestamp, behind, c.TimestampBeforeMax.Milliseconds())
	}
	return None, ""
}

func (p *Partition) compacted() bool {
	return strings.Contains(p.topic.config.CleanupPolicy, "compact")
}
