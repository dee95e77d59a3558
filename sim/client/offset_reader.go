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
	groups []groupView
}

// NewOffsetReader makes a reader for the groups of members and committers; Start starts it.
func NewOffsetReader(c *Cluster, client int, members []*Member, committers []*Committer) *OffsetReader {
	r := &OffsetReader{}
	r.init(c, client, r)
	for _, m := range members {
		if !m.standIn && !slices.ContainsFunc(r.groups, func(o groupView) bool { return o.history == m.history }) {
			r.groups = append(r.groups, m.groupView)
		}
	}
	for _, k := range committers {
		if !k.standIn {
			r.groups = append(r.groups, k.groupView)
		}
	}
	return r
}

// Start connects and begins.
func (r *OffsetReader) Start() { r.connect() }

// Stop ends the client.
func (r *OffsetReader) Stop() { r.stop() }

// Done reports whether all are fetched.
func (r *OffsetReader) Done() bool { return len(r.groups) == 0 }

func (r *OffsetReader) sessionUp() { r.step() }

func (r *OffsetReader) step() {
	if r.Done() {
		return
	}
	g := &r.groups[0]
	r.findCoordinator(g.name, 0, func() { r.fetch(g) })
}

func (r *OffsetReader) fetch(g *groupView) {
	request, call := offsetFetch(g.name, g.parts, true), r.Stamp()
	r.request(request, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.OffsetFetchResponse)
		var found []checker.OffsetFetch
		worst := eachOffset(v, func(p fetchedOffset) {
			if part := g.find(p.topic, p.id, p.Partition); part != nil {
				found = append(found, offsetFetched(r.client, part, &p.OffsetFetchResponseGroupTopicPartition, call, r.Cluster, v.Version >= stableFrom))
			}
		})
		if worst != 0 {
			r.after(50*time.Millisecond, r.step)
			return
		}
		g.history.Fetches = append(g.history.Fetches, found...)
		r.groups = r.groups[1:]
		r.step()
	})
}
