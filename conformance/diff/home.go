package diff

import (
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// single stands for the id of the only broker of a cluster.
const single = -1

// others are the elements of answers that show one broker each, and where they have its id. Of a cluster of several brokers
// only the one that is asked is compared.
var others = map[reflect.Type]string{
	reflect.TypeFor[kmsg.MetadataResponseBroker]():                           "NodeID",
	reflect.TypeFor[kmsg.DescribeClusterResponseBroker]():                    "NodeID",
	reflect.TypeFor[kmsg.DescribeQuorumResponseNode]():                       "NodeID",
	reflect.TypeFor[kmsg.DescribeQuorumResponseTopicPartitionReplicaState](): "ReplicaID",
}

// settle makes a cluster of several brokers look like one: the broker at the endpoint's address gets the coordinators' topics, and
// from now on each topic that a request makes.
func (e *endpoint) settle() error {
	answer, err := e.call(kmsg.NewPtrMetadataRequest(), nil)
	if err != nil {
		return err
	}
	brokers := answer.(*kmsg.MetadataResponse).Brokers
	if len(brokers) == 1 {
		return nil
	}
	for _, b := range brokers {
		if fmt.Sprintf("%s:%d", b.Host, b.Port) == e.address {
			e.home = b.NodeID
		}
	}
	if e.home == single {
		return fmt.Errorf("no broker of the cluster has the address %s", e.address)
	}
	for kind, topic := range []string{"__consumer_offsets", "__transaction_state"} {
		if err := e.makeCoordinators(int8(kind)); err != nil {
			return err
		}
		if err := e.place(topic); err != nil {
			return err
		}
	}
	return nil
}

// makeCoordinators has the cluster make the topic of a kind of coordinators.
func (e *endpoint) makeCoordinators(kind int8) error {
	ask := kmsg.NewPtrFindCoordinatorRequest()
	ask.Version, ask.CoordinatorType, ask.CoordinatorKey = 3, kind, "warm"
	for range warmTries {
		answer, err := e.call(ask, nil)
		if err != nil {
			return err
		}
		if answer.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 {
			return nil
		}
		time.Sleep(settlePause)
	}
	return fmt.Errorf("%s has no coordinator of kind %d", e.address, kind)
}

// placeMade moves what a request made.
func (e *endpoint) placeMade(answer kmsg.Response) error {
	if e.home == single {
		return nil
	}
	var made []string
	switch answer := answer.(type) {
	case *kmsg.CreateTopicsResponse:
		for i := range answer.Topics {
			if answer.Topics[i].ErrorCode == 0 {
				made = append(made, answer.Topics[i].Topic)
			}
		}
	case *kmsg.CreatePartitionsResponse:
		for i := range answer.Topics {
			if answer.Topics[i].ErrorCode == 0 {
				made = append(made, answer.Topics[i].Topic)
			}
		}
	}
	for _, topic := range made {
		if err := e.place(topic); err != nil {
			return err
		}
	}
	return nil
}

// place moves a topic's partitions to the endpoint's broker. A topic that is not there was only to be validated.
func (e *endpoint) place(topic string) error {
	for deadline := time.Now().Add(answerLimit); ; time.Sleep(settlePause / 10) {
		ask := kmsg.NewPtrMetadataRequest()
		ask.Version = 9
		ask.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
		answer, err := e.call(ask, nil)
		if err != nil {
			return err
		}
		t := answer.(*kmsg.MetadataResponse).Topics[0]
		var away []int32
		for _, p := range t.Partitions {
			if p.Leader != e.home {
				away = append(away, p.Partition)
			}
		}
		if len(away) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("partitions %v of %s do not move to broker %d", away, topic, e.home)
		}
		if err := e.move(topic, away); err != nil {
			return err
		}
	}
}

// allHere assigns partitions to the endpoint's broker.
func (e *endpoint) allHere(partitions int32) (all []kmsg.CreateTopicsRequestTopicReplicaAssignment) {
	for p := range partitions {
		one := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		one.Partition, one.Replicas = p, []int32{e.home}
		all = append(all, one)
	}
	return all
}

func (e *endpoint) move(topic string, partitions []int32) error {
	in := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	in.Topic = topic
	for _, p := range partitions {
		one := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		one.Partition, one.Replicas = p, []int32{e.home}
		in.Partitions = append(in.Partitions, one)
	}
	r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	r.TimeoutMillis, r.Topics = 5_000, append(r.Topics, in)
	_, err := e.call(r, nil)
	return err
}

// elsewhere reports whether an element shows another broker of the endpoint's cluster.
func (e *endpoint) elsewhere(v reflect.Value) bool {
	if e.home == single {
		return false
	}
	if v.Type() == reflect.TypeFor[kmsg.ListConfigResourcesResponseConfigResource]() {
		return v.FieldByName("Type").Int() == int64(kmsg.ConfigResourceTypeBroker) && v.FieldByName("Name").String() != strconv.Itoa(int(e.home))
	}
	field := others[v.Type()]
	return field != "" && v.FieldByName(field).Int() != int64(e.home)
}
