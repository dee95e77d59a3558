package suite

import (
	"context"
	"fmt"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	groupsTopic       = "__consumer_offsets"
	transactionsTopic = "__transaction_state"
	placeLimit        = 20 * time.Second
	prefixesMax       = 1_000_000
)

// The names that most cases give to what has a coordinator.
var (
	groupNames       = []string{"g", "none"}
	transactionNames = []string{"x"}
)

// coordinators says which partitions of the coordinators' topics the broker leads.
type coordinators struct{ groups, transactions []bool }

// await waits until a cluster has all its brokers, and until each of them knows that.
func (b *Broker) await(ctx context.Context, brokers int) (all []kmsg.MetadataResponseBroker, err error) {
	for deadline := time.Now().Add(warmLimit); ; time.Sleep(pollPause) {
		all, err = b.brokers(ctx)
		if err == nil && len(all) >= brokers {
			return all, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s knows %d brokers of %d: %w", b.Address, len(all), brokers, err)
		}
	}
}

func (b *Broker) brokers(ctx context.Context) ([]kmsg.MetadataResponseBroker, error) {
	q, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, q)
	if err != nil {
		return nil, err
	}
	return metadata.Brokers, nil
}

// homes are the brokers of the endpoint's cluster, each with what it says of itself. A case talks to one of them.
func (b *Broker) homes(ctx context.Context, brokers int) (all []*Broker, err error) {
	known, err := b.await(ctx, brokers)
	if err != nil {
		return nil, err
	}
	if len(known) == 1 {
		b.NodeID = known[0].NodeID
		return []*Broker{b}, nil // at the address that was given, whatever it says of itself
	}
	for _, one := range known {
		o := b.Options
		o.Address = net.JoinHostPort(one.Host, strconv.Itoa(int(one.Port)))
		home, err := ask(ctx, o)
		if err != nil {
			return nil, err
		}
		if _, err := home.await(ctx, len(known)); err != nil {
			return nil, err
		}
		home.NodeID, home.Brokers = one.NodeID, len(known)
		all = append(all, home)
	}
	return all, nil
}

// coordinates learns what the broker coordinates, once the coordinators' topics are there.
func (b *Broker) coordinates(ctx context.Context) (err error) {
	if b.coordinators.groups, err = b.leads(ctx, groupsTopic); err != nil {
		return err
	}
	b.coordinators.transactions, err = b.leads(ctx, transactionsTopic)
	return err
}

// leads says for each partition of a topic whether the broker leads it, once all have leaders.
func (b *Broker) leads(ctx context.Context, name string) ([]bool, error) {
	q, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	for deadline := time.Now().Add(warmLimit); ; time.Sleep(pollPause) {
		t, err := topicOf(ctx, q, name)
		if err != nil {
			return nil, err
		}
		all, complete := make([]bool, len(t.Partitions)), len(t.Partitions) > 0
		for _, p := range t.Partitions {
			complete = complete && p.Leader >= 0
			all[p.Partition] = p.Leader == b.NodeID
		}
		if complete {
			return all, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s has partitions without a leader", name)
		}
	}
}

func topicOf(ctx context.Context, q kmsg.Requestor, name string) (*kmsg.MetadataResponseTopic, error) {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = 9
	in := kmsg.NewMetadataRequestTopic()
	in.Topic = &name
	r.Topics = append(r.Topics, in)
	answer, err := r.RequestWith(ctx, q)
	if err != nil {
		return nil, err
	}
	return &answer.Topics[0], nil
}

// prefix is the beginning of a case's names: the first from one on whose names are coordinated by the broker.
func (b *Broker) prefix(base string) string {
	if b.Brokers == 1 {
		return base
	}
	for k := range prefixesMax {
		prefix := fmt.Sprintf("%s%d-", base, k)
		if covers(b.coordinators.groups, prefix, groupNames) && covers(b.coordinators.transactions, prefix, transactionNames) {
			return prefix
		}
	}
	return base // another broker coordinates some of them; the case will say so
}

func covers(led []bool, prefix string, names []string) bool {
	for _, name := range names {
		if !covered(led, prefix+name) {
			return false
		}
	}
	return true
}

// covered reports whether a name is of a partition that is led here; of a single broker nothing is known and all is.
func covered(led []bool, name string) bool {
	return len(led) == 0 || led[coordinatorOf(name, len(led))]
}

// coordinated appends to a name until it is covered.
func coordinated(led []bool, base string) string {
	name := base
	for k := 0; !covered(led, name) && k < prefixesMax; k++ {
		name = fmt.Sprintf("%s-%d", base, k)
	}
	return name
}

// Coordinates reports whether the broker is the coordinator of a group.
func (b *Broker) Coordinates(group string) bool { return covered(b.coordinators.groups, group) }

// coordinatorOf is the partition of a group or transactional id: Java's hash of the string, here of ASCII.
func coordinatorOf(name string, partitions int) int {
	var hash int32
	for _, char := range []byte(name) {
		hash = 31*hash + int32(char)
	}
	absolute := int64(hash)
	return int(max(absolute, -absolute)&math.MaxInt32) % partitions // of the lowest number the absolute value is 0, as in Kafka
}

// settle moves what a request made to the broker that the case talks to, as soon as it is answered.
func (c *C) settle(request kmsg.Request, answer any) {
	if c.Broker.Brokers == 1 {
		return
	}
	switch answer := answer.(type) {
	case *kmsg.CreateTopicsResponse:
		if request.(*kmsg.CreateTopicsRequest).ValidateOnly {
			return
		}
		for i := range answer.Topics {
			c.place(answer.Topics[i].ErrorCode, answer.Topics[i].Topic)
		}
	case *kmsg.CreatePartitionsResponse:
		if request.(*kmsg.CreatePartitionsRequest).ValidateOnly {
			return
		}
		for i := range answer.Topics {
			c.place(answer.Topics[i].ErrorCode, answer.Topics[i].Topic)
		}
	}
}

// place moves the partitions of a topic to the broker that the case talks to.
func (c *C) place(code int16, name string) {
	if code != 0 {
		return
	}
	q, err := c.Broker.connect(c.ctx)
	c.NoError(err)
	defer q.Close()
	for deadline := time.Now().Add(placeLimit); ; time.Sleep(pollPause) {
		t, err := topicOf(c.ctx, q, name)
		c.NoError(err)
		away := c.away(t)
		if len(away) == 0 && t.ErrorCode == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.Fail("the partitions %v of %s do not move to broker %d", away, name, c.Broker.NodeID)
		}
		if len(away) > 0 {
			c.moveHere(q, name, away)
		}
	}
}

func (c *C) away(t *kmsg.MetadataResponseTopic) (all []int32) {
	for _, p := range t.Partitions {
		if p.Leader != c.Broker.NodeID {
			all = append(all, p.Partition)
		}
	}
	return all
}

func (c *C) moveHere(q prober, name string, partitions []int32) {
	r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	in := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	in.Topic = name
	for _, p := range partitions {
		one := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		one.Partition, one.Replicas = p, []int32{c.Broker.NodeID}
		in.Partitions = append(in.Partitions, one)
	}
	r.TimeoutMillis, r.Topics = 10_000, append(r.Topics, in)
	answer, err := r.RequestWith(c.ctx, q)
	c.NoError(err)
	if answer.ErrorCode != 0 {
		c.NoError(kerr.ErrorForCode(answer.ErrorCode))
	}
}
