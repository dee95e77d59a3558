package diff

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topicPrefix = "diff-"
	createTries = 3
)

// Case is a sequence of requests on one connection to each endpoint.
type Case struct {
	// Name is API/vN/what.
	Name string
	// own is the prefix of all topics that belong to the case alone.
	own string
	// topics are made before the case and deleted afterwards.
	topics []topicSpec
	// reads are topics that the case shares with others, which do not change them either.
	reads []topicSpec
	steps []step
}

// topicSpec is a topic with its partitions, and how many one-record batches are written into its partition 0.
type topicSpec struct {
	name       string
	partitions int32
	fill       int
}

// runPrefix begins the names of all topics of this run.
func runPrefix() string { return fmt.Sprintf("%s%d-", topicPrefix, baseTimestamp%1_000_000_000) }

// mine reports whether a topic belongs to the case, or is one that it reads.
func (c *Case) mine(topic string) bool {
	return strings.HasPrefix(topic, c.own) || slices.ContainsFunc(c.reads, func(t topicSpec) bool { return t.name == topic })
}

// step is one request and what is kept of its answer.
type step struct {
	name    string
	request func(e *endpoint) kmsg.Request
	raw     func([]byte) []byte
	shows   bool                     // it only shows an effect, and may be asked again until that is there
	until   func(kmsg.Response) bool // asked again until this holds
	keep    func(e *endpoint, r kmsg.Response)
}

// run sends the case to one endpoint and returns what it answered, flattened. An error means that the case could not be
// prepared.
func (c *Case) run(e *endpoint) (lines []string, err error) {
	e.reset()
	if err := e.create(c.topics); err != nil {
		return nil, err
	}
	for i := range c.steps {
		s := &c.steps[i]
		r := s.request(e)
		answer, err := e.call(r, s.raw)
		for deadline := time.Now().Add(answerLimit); s.until != nil && err == nil && !s.until(answer) && time.Now().Before(deadline); {
			answer, err = e.call(r, s.raw)
		}
		prefix := fmt.Sprintf("%d %s: ", i, s.name)
		switch {
		case err != nil:
			lines = append(lines, prefix+err.Error())
		case answer == nil:
			lines = append(lines, prefix+"no answer")
		default:
			for _, line := range e.flatten(answer, c.mine) {
				lines = append(lines, prefix+line)
			}
			if s.keep != nil {
				s.keep(e, answer)
			}
		}
	}
	return lines, nil
}

// settle asks again what shows the effect of the case, for brokers whose answers follow it late.
func (c *Case) settle(e *endpoint, lines []string) []string {
	for i := range c.steps {
		s := &c.steps[i]
		if !s.shows {
			continue
		}
		prefix := fmt.Sprintf("%d %s: ", i, s.name)
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, prefix) })
		answer, err := e.call(s.request(e), nil)
		if err != nil {
			lines = append(lines, prefix+err.Error())
			continue
		}
		for _, line := range e.flatten(answer, c.mine) {
			lines = append(lines, prefix+line)
		}
	}
	return lines
}

// create makes topics, waits for their leaders, and fills them. It tries again, since Kafka's controller stands down after
// some requests of other cases and then answers nobody for a while.
func (e *endpoint) create(topics []topicSpec) (err error) {
	if len(topics) == 0 {
		return nil
	}
	for range createTries {
		if err = e.tryCreate(topics); err == nil {
			return nil
		}
		e.deleteTopics(topics)
	}
	return err
}

func (e *endpoint) deleteTopics(topics []topicSpec) {
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.Version, r.TimeoutMillis = 5, 5000
	for _, t := range topics {
		r.TopicNames = append(r.TopicNames, t.name)
	}
	e.call(r, nil)
}

func (e *endpoint) tryCreate(topics []topicSpec) error {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version, r.TimeoutMillis = 7, 10_000
	for _, spec := range topics {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = spec.name, spec.partitions, 1
		if e.home != single { // made there, not moved there, so that leader epochs are as on one broker
			t.NumPartitions, t.ReplicationFactor, t.ReplicaAssignment = -1, -1, e.allHere(spec.partitions)
		}
		r.Topics = append(r.Topics, t)
	}
	answer, err := e.call(r, nil)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, t := range answer.(*kmsg.CreateTopicsResponse).Topics {
		if t.ErrorCode != 0 {
			return fmt.Errorf("create %s: code %d", t.Topic, t.ErrorCode)
		}
		e.ids[t.Topic], e.names[t.TopicID] = t.TopicID, t.Topic
	}
	for _, spec := range topics {
		if err := e.write(spec); err != nil {
			return err
		}
	}
	return nil
}

// write fills a topic; a leader that has not begun yet is asked again.
func (e *endpoint) write(t topicSpec) error {
	for i := range t.fill {
		if err := appendUntilTaken(e, t.name, 0, int64(i)); err != nil {
			return err
		}
	}
	for index := range t.partitions {
		if err := ready(e, t.name, index); err != nil {
			return err
		}
	}
	return nil
}

func appendUntilTaken(e *endpoint, topic string, partition int32, n int64) error {
	for deadline := time.Now().Add(answerLimit); ; {
		answer, err := e.call(produce(9, topic, [16]byte{}, partition, batch(baseTimestamp+n*1000, 1)), nil)
		if err != nil {
			return fmt.Errorf("fill: %w", err)
		}
		code := answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
		if code == 0 {
			return nil
		}
		if (code != 3 && code != 6) || time.Now().After(deadline) {
			return fmt.Errorf("fill %s: code %d", topic, code)
		}
	}
}

// ready waits until a partition's leader answers.
func ready(e *endpoint, topic string, partition int32) error {
	for deadline := time.Now().Add(answerLimit); ; {
		r := kmsg.NewPtrListOffsetsRequest()
		r.Version, r.ReplicaID = 6, -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, -1, -1
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
		answer, err := e.call(r, nil)
		if err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		code := answer.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode
		if code == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has no leader: code %d", topic, code)
		}
	}
}

// clean deletes what the case has made, and what the brokers may have made for it.
func (c *Case) clean(e *endpoint) {
	topics := slices.Clone(c.topics)
	if c.makes() {
		topics = append(topics, topicSpec{name: c.own + "topic"}, topicSpec{name: absentName(c.own)}, topicSpec{name: longName(c.own)})
	}
	if len(topics) > 0 {
		e.deleteTopics(topics)
	}
}

// makes reports whether a request of the case may make topics.
func (c *Case) makes() bool {
	return strings.HasPrefix(c.Name, "Metadata/") || strings.HasPrefix(c.Name, "CreateTopics/")
}
