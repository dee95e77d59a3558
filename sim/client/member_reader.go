package client

import (
	"time"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// memberReader is the connection on which a member reads: the coordinator's answers may take long.
type memberReader struct {
	session
	member  *Member
	scratch []checker.Batch
}

func newMemberReader(m *Member) *memberReader {
	r := &memberReader{member: m}
	r.initAs(m.Cluster, m.client, "member reader", r)
	r.lag, r.committed = m.options.Lag, m.options.Committed
	return r
}

func (r *memberReader) sessionUp() {
	r.learn(r.member.options.Topics, func(bool) { r.step() })
}

// next reads again after a pause; without one when the faults have ended, since it must reach the end of the log.
func (r *memberReader) next() {
	if r.member.ending {
		r.after(time.Millisecond, r.step)
		return
	}
	r.after(r.draws.Duration(time.Millisecond, 2*r.member.options.Pause+time.Millisecond), r.step)
}

// step reads from what the member owns, or asks where a partition starts.
func (r *memberReader) step() {
	f := kmsg.NewPtrFetchRequest()
	f.MaxWaitMillis, f.MinBytes, f.MaxBytes, f.SessionEpoch, f.IsolationLevel = 100, 1, 64<<10, -1, r.isolation()
	type asked struct {
		p         *memberPart
		ownership int
		from      int64
	}
	var all []asked
	for _, p := range r.member.parts {
		switch {
		case !p.owned:
		case p.reset:
			r.start(p)
			return
		case p.position >= 0:
			addFetch(f, p.Partition, p.position, 16<<10)
			all = append(all, asked{p, p.ownership, p.position})
		}
	}
	if len(all) == 0 {
		r.next()
		return
	}
	call := r.Stamp()
	r.request(f, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.FetchResponse)
		for i := range v.Topics {
			t := &v.Topics[i]
			for j := range t.Partitions {
				p := r.member.find(t.Topic, t.TopicID, t.Partitions[j].Partition)
				for _, a := range all {
					if a.p == p && p != nil {
						r.take(p, a.ownership, a.from, call, &t.Partitions[j])
					}
				}
			}
		}
		r.next()
	})
}

// take moves the member's position, if it still owns the partition.
func (r *memberReader) take(p *memberPart, ownership int, from, call int64, got *kmsg.FetchResponseTopicPartition) {
	end, _ := r.record(p.Partition, got, from, call, r.Stamp(), 0, &r.scratch)
	if !p.owned || p.ownership != ownership || p.position != from {
		return
	}
	if got.ErrorCode == wire.OffsetOutOfRange {
		p.reset = true
		return
	}
	if end <= from {
		return
	}
	p.position = end
	for _, b := range r.scratch {
		if b.Kind == checker.Data {
			p.records += int64(b.Records)
		}
	}
}

// start begins at the log start: there is no committed offset, or it is out of range.
func (r *memberReader) start(p *memberPart) {
	ownership := p.ownership
	r.listOffset(p.Partition, -2, func(offset, _ int64, code int16) {
		if code == 0 && p.owned && p.ownership == ownership {
			p.position, p.reset, p.records = max(offset, p.position), false, 0
			if p.done < 0 {
				p.done = offset
			}
		}
		r.next()
	})
}
