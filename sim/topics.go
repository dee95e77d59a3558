package sim

import (
	"fmt"
	"slices"
	"time"

	"weir/sim/checker"
	"weir/sim/client"
	"weir/sim/plan"
)

func (w *world) createTopics() []*client.Topic {
	var topics []*client.Topic
	for i := range w.plan.Topics {
		t := &w.plan.Topics[i]
		topic := w.cluster.NewTopic(t.Name, max(1, int(t.Partitions)), w.retention(t), topicConfigs(t)...)
		topic.Untimed = t.Untimed == 1
		topics = append(topics, topic)
	}
	for i := range w.plan.Workloads {
		switch l := &w.plan.Workloads[i]; l.Kind {
		case "operator":
			w.operated = append(w.operated, w.cluster.NewTopic(fmt.Sprintf("operated-%d", l.Client), 1, checker.Retention{}))
		case "pipe":
			if name := pipedTopic(l); !slices.ContainsFunc(w.piped, func(t *client.Topic) bool { return t.Name == name }) {
				w.piped = append(w.piped, w.cluster.NewTopic(name, 2, checker.Retention{}))
			}
		case "transactor":
			if l.Doom != 0 {
				w.doomed = append(w.doomed, w.cluster.NewTopic(doomedTopic(l), 1, checker.Retention{}))
			}
		case "keeper":
			w.kept = append(w.kept, w.cluster.NewTopic(fmt.Sprintf("kept-%d", l.Client), 1, checker.Retention{}, keeperConfigs(l)...))
		case "breaker":
			w.broken = append(w.broken, w.cluster.NewTopic(fmt.Sprintf("broken-%d", l.Client), 1, checker.Retention{}, client.BreakerConfigs...))
		}
	}
	creator := client.NewCreator(w.cluster, creatorClient, slices.Concat(w.with(topics), w.broken, w.doomed, w.kept))
	creator.Start()
	w.await(startLimit, "the topics", creator.Done)
	creator.Stop()
	return topics
}

// with adds the topics of operators and pipes.
func (w *world) with(topics []*client.Topic) []*client.Topic {
	return slices.Concat(topics, w.operated, w.piped)
}

// keeperConfigs are those of a keeper's topic. Tombstones that are to go do so with the next compaction.
func keeperConfigs(l *plan.Workload) []client.Config {
	policy, tombstones := "compact", time.Millisecond
	if l.Expires != 0 {
		policy = "delete,compact"
	}
	if l.Tombstones != 0 {
		tombstones = 10 * 365 * 24 * time.Hour
	}
	return client.KeeperConfigs(policy, [...]string{"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"}[l.Compress%6], tombstones)
}

// pipedTopic is the topic to which the pipes of a group write.
func pipedTopic(l *plan.Workload) string { return fmt.Sprintf("piped-%d", l.Group) }

// doomedTopic is the topic that a transactor deletes.
func doomedTopic(l *plan.Workload) string { return fmt.Sprintf("doomed-%d", l.Client) }

// retention is what the broker may delete of a topic: its clock may differ from the
// clients' by the steps of the plan.
func (w *world) retention(t *plan.Topic) checker.Retention {
	r := checker.Retention{Millis: t.Retention.Milliseconds(), Bytes: t.RetentionBytes}
	for i := range w.strikes {
		if f := &w.strikes[i]; f.Kind == "clock-step" {
			r.Ahead += max(0, f.Amount.Milliseconds())
			r.Behind += max(0, -f.Amount.Milliseconds())
		}
	}
	return r
}

func topicConfigs(t *plan.Topic) []client.Config {
	var configs []client.Config
	if t.Retention > 0 {
		configs = append(configs, client.Config{Key: "retention.ms", Value: fmt.Sprint(t.Retention.Milliseconds())})
	}
	if t.RetentionBytes > 0 {
		configs = append(configs, client.Config{Key: "retention.bytes", Value: fmt.Sprint(t.RetentionBytes)})
	}
	return configs
}
