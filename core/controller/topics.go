package controller

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"weir/core/config"
	"weir/core/metadata"
	"weir/core/wire"
)

// CreateTopics creates topics, each independently. validateOnly validates against the image as
// it is, and draws no id.
func (c *Controller) CreateTopics(topics []NewTopic, validateOnly bool, done func([]TopicResult)) {
	results := make([]TopicResult, len(topics))
	work := gather(func() { done(results) })
	for i := range topics {
		result := &results[i]
		result.Name = topics[i].Name
		r, err := c.validateNew(&topics[i])
		switch {
		case err != nil:
			work.begin()
			c.settle(err, func(err error) {
				result.Err = err
				work.finish()
			})
		case validateOnly:
			result.Topic = wouldBe(r)
		default:
			work.begin()
			c.createTopic(r, func(t *metadata.Topic, err error) {
				result.Topic, result.Err = t, err
				work.finish()
			})
		}
	}
	work.finish()
}

// gathering calls done when each of several pieces of work is finished, and so is
// the handing out of them.
type gathering struct {
	open int
	done func()
}

func gather(done func()) *gathering { return &gathering{open: 1, done: done} }

func (g *gathering) begin() { g.open++ }

func (g *gathering) finish() {
	if g.open--; g.open == 0 {
		g.done()
	}
}

func (c *Controller) createTopic(r *metadata.CreateTopic, done func(*metadata.Topic, error)) {
	r.ID = c.topicID()
	c.propose(r, func(err error) {
		if err != nil {
			// Lost to another: Kafka answers as it does at validation.
			if again := c.validateName(r.Name); again != nil {
				err = again
			}
			done(nil, kafka(err))
			return
		}
		t, ok := c.image.TopicByID(r.ID)
		if !ok { // deleted since
			done(nil, unknownTopic())
			return
		}
		done(t, nil)
	})
}

// topicID draws an id that Kafka would: not a reserved one, and none whose text
// form starts with '-', which command lines take for an option.
func (c *Controller) topicID() metadata.TopicID {
	const dash = 62 // in base64url
	for {
		id := c.randomID()
		if id[0]>>2 != dash {
			return id
		}
	}
}

// validateNew validates what can be known before the record applies, in Kafka's order.
func (c *Controller) validateNew(n *NewTopic) (*metadata.CreateTopic, error) {
	if err := validateTopicName(n.Name); err != nil {
		return nil, err
	}
	if err := c.validateName(n.Name); err != nil {
		return nil, err
	}
	configs, err := c.options.Settings.NewTopic(config.Overrides(n.Configs))
	if err != nil {
		return nil, kafka(err)
	}
	leaders, err := c.validatePlacement(n)
	if err != nil {
		return nil, err
	}
	return &metadata.CreateTopic{Name: n.Name, Configs: overrides(configs), Leaders: leaders, ReplicationFactor: c.keptFactor(n)}, nil
}

// keptFactor is the replication factor of a new topic that was validated; 0: one.
func (c *Controller) keptFactor(n *NewTopic) int16 {
	factor := n.ReplicationFactor
	switch {
	case len(n.Assignment) > 0:
		factor = int16(len(n.Assignment[0]))
	case factor == -1:
		factor = c.options.Config.DefaultReplicationFactor
	}
	if factor == 1 {
		return 0
	}
	return factor
}

func overrides(in []config.Override) []metadata.Config {
	out := make([]metadata.Config, len(in))
	for i, o := range in {
		out[i] = metadata.Config(o)
	}
	return out
}

// validateTopicName applies Kafka's rule for names, in its words.
func validateTopicName(name string) error {
	switch {
	case name == "":
		return refuse(wire.InvalidTopic, "Topic name is invalid: the empty string is not allowed")
	case name == ".":
		return refuse(wire.InvalidTopic, "Topic name is invalid: '.' is not allowed")
	case name == "..":
		return refuse(wire.InvalidTopic, "Topic name is invalid: '..' is not allowed")
	case len(name) > metadata.TopicNameBytesMax:
		return refuse(wire.InvalidTopic, "Topic name is invalid: the length of '%s' is longer than the max allowed length %d", name, metadata.TopicNameBytesMax)
	case !legal(name):
		return refuse(wire.InvalidTopic, "Topic name is invalid: '%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
	}
	return nil
}

func legal(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// validateName says whether a name is taken, or collides.
func (c *Controller) validateName(name string) error {
	if _, ok := c.image.Topic(name); ok {
		return refuse(wire.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if other, ok := c.image.Colliding(name); ok {
		return refuse(wire.InvalidTopic, "Topic '%s' collides with existing topic: %s", name, other.Name)
	}
	return nil
}

// validatePlacement decides who leads the partitions of a new topic.
func (c *Controller) validatePlacement(n *NewTopic) ([]metadata.Leader, error) {
	if len(n.Assignment) > 0 {
		if n.ReplicationFactor != -1 {
			return nil, refuse(wire.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
		}
		if n.Partitions != -1 {
			return nil, refuse(wire.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
		}
		return c.validateAssignment(n.Assignment, len(n.Assignment[0]))
	}
	factor, count := int(n.ReplicationFactor), n.Partitions
	if factor == -1 {
		factor = int(c.options.Config.DefaultReplicationFactor)
	}
	if count == -1 {
		count = c.options.Config.NumPartitions
	}
	switch {
	case factor <= 0:
		return nil, refuse(wire.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case count <= 0:
		return nil, refuse(wire.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	if err := c.validateFactor(factor); err != nil {
		return nil, err
	}
	return c.placed(int(count)), nil
}

// validateFactor accepts no larger replication factor than there are brokers. The object store keeps the copies: the factor is
// kept to be shown.
func (c *Controller) validateFactor(factor int) error {
	brokers := len(c.alive())
	switch {
	case brokers == 0:
		return refuse(wire.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): All brokers are currently fenced.", factor)
	case factor > brokers:
		return refuse(wire.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because only %d broker(s) are registered.", factor, factor, brokers)
	}
	return nil
}

// alive are the brokers that may lead, by id.
func (c *Controller) alive() []*metadata.Broker {
	return slices.DeleteFunc(slices.Clone(c.image.Brokers()), func(b *metadata.Broker) bool { return !b.Ready() })
}

// placed spreads count new partitions over the brokers and their zones, by turns.
func (c *Controller) placed(count int) []metadata.Leader {
	brokers, first := inTurns(Takers(c.image, c.alive())), int(uint64(c.image.NextStream()))
	leaders := make([]metadata.Leader, count)
	for i := range leaders {
		b := brokers[(first+i)%len(brokers)]
		leaders[i] = metadata.Leader{Broker: b.ID, Epoch: b.Epoch}
	}
	return leaders
}

// inTurns orders brokers so that zones take turns, as far as they have as many brokers.
func inTurns(brokers []*metadata.Broker) []*metadata.Broker {
	before := func(b *metadata.Broker) (n int) {
		for _, other := range brokers {
			if other.Rack == b.Rack && other.ID < b.ID {
				n++
			}
		}
		return n
	}
	out := slices.Clone(brokers)
	slices.SortStableFunc(out, func(a, b *metadata.Broker) int {
		return cmp.Or(cmp.Compare(before(a), before(b)), strings.Compare(a.Rack, b.Rack))
	})
	return out
}

// validateAssignment validates a manual assignment, each partition's replicas being of
// that number.
func (c *Controller) validateAssignment(assignment [][]int32, factor int) ([]metadata.Leader, error) {
	leaders := make([]metadata.Leader, len(assignment))
	for i, replicas := range assignment {
		if err := c.validateReplicas(replicas, factor); err != nil {
			return nil, err
		}
		b, _ := c.image.Broker(metadata.BrokerID(replicas[0]))
		if !b.Ready() {
			return nil, refuse(wire.InvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", i)
		}
		leaders[i] = metadata.Leader{Broker: b.ID, Epoch: b.Epoch}
	}
	return leaders, nil
}

func (c *Controller) validateReplicas(replicas []int32, factor int) error {
	if err := ValidateReplicas(c.image, replicas); err != nil {
		return err
	}
	if len(replicas) != factor {
		return refuse(wire.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).", len(replicas), factor)
	}
	return nil
}

// Brokers finds registered brokers: a *metadata.Image.
type Brokers interface {
	Broker(id metadata.BrokerID) (*metadata.Broker, bool)
}

// ValidateReplicas refuses an assignment of a partition that is empty, or names a broker twice or one that is not registered. It
// looks at them by id, as Kafka does.
func ValidateReplicas(brokers Brokers, replicas []int32) error {
	if len(replicas) == 0 {
		return refuse(wire.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if _, ok := brokers.Broker(metadata.BrokerID(id)); !ok {
			return refuse(wire.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && id == sorted[i-1] {
			return refuse(wire.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	return nil
}

// FactorChanged refuses a reassignment that must not change how many replicas a partition has.
func FactorChanged(from, to int) error {
	return refuse(wire.InvalidReplicationFactor, "The replication factor is changed from %d to %d", from, to)
}

// wouldBe is the topic that a record would make, without ids.
func wouldBe(r *metadata.CreateTopic) *metadata.Topic {
	t := &metadata.Topic{Name: r.Name, Configs: r.Configs, ReplicationFactor: r.ReplicationFactor, Partitions: make([]metadata.Partition, len(r.Leaders))}
	for i := range t.Partitions {
		t.Partitions[i] = metadata.Partition{Index: int32(i), Leader: r.Leaders[i].Broker}
	}
	return t
}

// DeleteTopics deletes topics with all that they hold.
func (c *Controller) DeleteTopics(ids []metadata.TopicID, done func([]TopicResult)) {
	results := make([]TopicResult, len(ids))
	work := gather(func() { done(results) })
	for i, id := range ids {
		result := &results[i]
		if t, ok := c.image.TopicByID(id); ok {
			result.Name = t.Name
		}
		work.begin()
		c.propose(&metadata.DeleteTopic{ID: id}, func(err error) {
			result.Err = kafka(err)
			work.finish()
		})
	}
	work.finish()
}

// CreatePartitions raises a topic's partitions to count; the assignment, if any, is
// of the added ones. If the image has changed meanwhile, the request is validated again.
func (c *Controller) CreatePartitions(topic string, count int32, assignment [][]int32, validateOnly bool, done func(error)) {
	r, err := c.validateGrowth(topic, count, assignment)
	if err != nil || validateOnly {
		c.settle(err, done)
		return
	}
	c.propose(r, func(err error) {
		if errors.Is(err, metadata.ErrStale) || errors.Is(err, metadata.ErrUnknownTopic) {
			c.retried.Hit()
			c.options.Loop.Post(func() { c.CreatePartitions(topic, count, assignment, validateOnly, done) })
			return
		}
		done(kafka(err))
	})
}

func (c *Controller) validateGrowth(topic string, count int32, assignment [][]int32) (*metadata.AddPartitions, error) {
	t, ok := c.image.Topic(topic)
	if !ok {
		return nil, unknownTopic()
	}
	have := int32(len(t.Partitions))
	switch {
	case count == have:
		return nil, refuse(wire.InvalidPartitions, "Topic already has %d partition(s).", have)
	case count < have:
		return nil, refuse(wire.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", topic, have, count)
	case assignment != nil && len(assignment) != int(count-have):
		return nil, refuse(wire.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", count-have, len(assignment))
	}
	if err := c.validateFactor(1); err != nil {
		return nil, err
	}
	r := &metadata.AddPartitions{ID: t.ID, From: have, Leaders: c.placed(int(count - have))}
	if len(assignment) > 0 {
		var err error
		if r.Leaders, err = c.validateAssignment(assignment, 1); err != nil {
			return nil, err
		}
	}
	return r, nil
}
