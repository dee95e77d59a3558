package diff

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const topicPrefix = "diff-"

// Case is a sequence of requests on one connection to each endpoint.
type Case struct {
	// Name is API/vN/what.
	Name string
	// topics are made before the case, each with its partitions, and deleted afterwards.
	topics map[string]int32
	// fill writes this many one-record batches into partition 0 of every topic first.
	fill  int
	steps []step
}

// step is one request and what is kept of its answer.
type step struct {
	name    string
	request func(e *endpoint) kmsg.Request
	raw     func([]byte) []byte
	shows   bool // it only shows an effect, and may be asked again until that is there
	keep    func(e *endpoint, r kmsg.Response)
}

// run sends the case to one endpoint and returns what it answered, flattened. An error means that the case could not be
// prepared.
func (c *Case) run(e *endpoint) (lines []string, err error) {
	e.reset()
	if err := c.prepare(e); err != nil {
		return nil, err
	}
	topics := map[string]bool{}
	for name := range c.topics {
		topics[name] = true
	}
	for i := range c.steps {
		s := &c.steps[i]
		r := s.request(e)
		answer, err := e.call(r, s.raw)
		prefix := fmt.Sprintf("%d %s: ", i, s.name)
		switch {
		case err != nil:
			lines = append(lines, prefix+err.Error())
		case answer == nil:
			lines = append(lines, prefix+"no answer")
		default:
			for _, line := range e.flatten(answer, topics) {
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
	topics := map[string]bool{}
	for name := range c.topics {
		topics[name] = true
	}
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
		for _, line := range e.flatten(answer, topics) {
			lines = append(lines, prefix+line)
		}
	}
	return lines
}

func (c *Case) prepare(e *endpoint) error {
	if len(c.topics) == 0 {
		return nil
	}
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version, r.TimeoutMillis = 7, 10_000
	for name, partitions := range c.topics {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
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
	return c.write(e)
}

// write fills the topics; a leader that has not begun yet is asked again.
func (c *Case) write(e *endpoint) error {
	for name, partitions := range c.topics {
		for index := range partitions {
			n := c.fill
			if index > 0 || n == 0 {
				n = 1
			}
			for i := 0; i < n; i++ {
				if c.fill == 0 || index > 0 {
					if err := ready(e, name, index); err != nil {
						return err
					}
					continue
				}
				if err := appendUntilTaken(e, name, index, int64(i)); err != nil {
					return err
				}
			}
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

func (c *Case) clean(e *endpoint) {
	if len(c.topics) == 0 {
		return
	}
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.Version, r.TimeoutMillis = 5, 5000
	for name := range c.topics {
		r.TopicNames = append(r.TopicNames, name)
	}
	e.call(r, nil)
}
