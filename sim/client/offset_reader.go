package client

import (
	"slices"
	"time"

	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetReader fetches all committed offsets of each group once, without being a member.
type OffsetReader struct {
	session
	members []*Member // one of each group
}

// NewOffsetReader makes a reader for the groups of members; Start starts it.
func NewOffsetReader(c *Cluster, client int, members []*Member) *OffsetReader {
	r := &OffsetReader{}
	r.init(c, client, r)
	for _, m := range members {
		if !m.standIn && !slices.ContainsFunc(r.members, func(o *Member) bool { return o.history == m.history }) {
			r.members = append(r.members, m)
		}
	}
	return r
}

// Start connects and begins.
func (r *OffsetReader) Start() { r.connect() }

// Stop ends the client.
func (r *OffsetReader) Stop() { r.stop() }

// Done reports whether all are fetched.
func (r *OffsetReader) Done() bool { return len(r.members) == 0 }

func (r *OffsetReader) sessionUp() { r.step() }

func (r *OffsetReader) step() {
	if r.Done() {
		return
	}
	m := r.members[0]
	r.findCoordinator(m.options.Group, 0, func() { r.fetch(m) })
}

func (r *OffsetReader) fetch(m *Member) {
	request, call := offsetFetch(m.options.Group, m.parts, true), r.Stamp()
	r.request(request, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.OffsetFetchResponse)
		var found []checker.OffsetFetch
		worst := eachOffset(v, func(p fetchedOffset) {
			if part := m.find(p.topic, p.id, p.Partition); part != nil {
				found = append(found, offsetFetched(r.client, part, &p.OffsetFetchResponseGroupTopicPartition, call, r.Cluster, v.Version >= stableFrom))
			}
		})
		if worst != 0 {
			r.after(50*time.Millisecond, r.step)
			return
		}
		m.history.Fetches = append(m.history.Fetches, found...)
		r.members = r.members[1:]
		r.step()
	})
}
