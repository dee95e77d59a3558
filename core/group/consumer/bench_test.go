package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/metadata"
)

// indexedTopics finds topics by id in constant time.
type indexedTopics struct {
	*topicTable
	byID map[metadata.TopicID]*metadata.Topic
}

func (t *indexedTopics) TopicByID(id metadata.TopicID) (*metadata.Topic, bool) {
	topic, ok := t.byID[id]
	return topic, ok
}

// A group of 2,000 members over 10,000 partitions converges: all join within seconds, and give heartbeats every five. The
// time is the coordinator's alone, without its log.
func BenchmarkConverge(b *testing.B) {
	for b.Loop() {
		r := newRig(b)
		table := &indexedTopics{r.topics, map[metadata.TopicID]*metadata.Topic{}}
		var all []string
		for i := range 100 {
			name := fmt.Sprintf("topic-%03d", i)
			r.topics.create(name, 100)
			table.byID[r.topics.byName[name].ID] = r.topics.byName[name]
			all = append(all, name)
		}
		r.c.Topics = table
		const members = 2000
		ids := make([]string, members)
		for i := range ids {
			ids[i] = fmt.Sprintf("member-%04d", i)
			r.join(ids[i], func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = all })
			r.later(5 * time.Second / members)
		}
		rounds := r.settleAll(ids)
		for _, id := range ids { // a rolling restart
			r.beat(request(id, -1))
			r.later(5 * time.Millisecond)
			r.join(id, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = all })
		}
		b.ReportMetric(float64(rounds), "rounds-to-start")
		b.ReportMetric(float64(r.settleAll(ids)), "rounds-after-restart")
	}
}

// settleAll lets all members give heartbeats until the group is stable, and returns how many each gave.
func (r *rig) settleAll(ids []string) int {
	for round := 1; ; round++ {
		for _, id := range ids {
			r.later(5 * time.Second / time.Duration(len(ids)))
			r.confirm(id)
		}
		if r.g.State() == StateStable {
			return round
		}
	}
}
