package client

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// echo sends a copy of a request later, on another connection. What the first generation cannot tell from a request of its next
// transaction is only sent where the checker excuses it.
func (t *Transactor) echo(r kmsg.Request) {
	var late kmsg.Request
	switch r := r.(type) {
	case *kmsg.EndTxnRequest:
		again := *r
		late, t.echoed = &again, true
	case *kmsg.ProduceRequest:
		again := *r
		again.Topics = cloneProduce(r.Topics)
		late = &again
	case *kmsg.TxnOffsetCommitRequest:
		if again := *r; !t.options.First {
			late = &again
		}
	}
	if late != nil {
		t.ghost.send(late, t.draws.Duration(0, 4*time.Second))
	}
}

func cloneProduce(topics []kmsg.ProduceRequestTopic) []kmsg.ProduceRequestTopic {
	out := append([]kmsg.ProduceRequestTopic(nil), topics...)
	for i := range out {
		out[i].Partitions = append([]kmsg.ProduceRequestTopicPartition(nil), out[i].Partitions...)
		for j := range out[i].Partitions {
			out[i].Partitions[j].Records = append([]byte(nil), out[i].Partitions[j].Records...)
		}
	}
	return out
}

// ghost sends copies of requests late, and does not look at their answers.
type ghost struct {
	session
	queue []kmsg.Request
}

func newGhost(c *Cluster, client int) *ghost {
	g := &ghost{}
	g.initAs(c, client, "ghost", g)
	return g
}

// send sends a request, in the version that is set, after some time.
func (g *ghost) send(r kmsg.Request, d time.Duration) {
	g.connect()
	g.Queue.Call(d, func() {
		g.queue = append(g.queue, r)
		g.sessionUp()
	})
}

func (g *ghost) sessionUp() {
	if !g.up || g.stopped {
		return
	}
	for _, r := range g.queue {
		g.Queue.Hit(fmt.Sprintf("client: a late %s", kmsg.NameForKey(r.Key())))
		g.dispatch(requestTimeout, r, func(kmsg.Response, error) {})
	}
	g.queue = nil
}
