package client

import (
	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file has what an administrator's tools ask of groups, transactions and the cluster. Answers follow from the
// state at one instant, so they are checked against themselves.

// askTools asks one of the tools' questions.
func (o *Operator) askTools() {
	if o.Several && o.draws.PerMille(700) {
		o.steerCluster()
		return
	}
	switch o.draws.Below(8) {
	case 0, 1:
		o.listGroups()
	case 2, 3:
		o.listTransactions()
	case 4:
		o.describeProducers()
	case 5:
		o.describeQuorum()
	case 6:
		o.updateFeatures()
	default:
		o.electLeaders()
	}
}

// among fails unless the code is one of those that the answer may have.
func (o *Operator) among(what string, code int16, others ...int16) {
	for _, c := range append(others, wire.None) {
		if code == c {
			return
		}
	}
	o.fail("protocol", "client %d: %s was answered %s", o.client, what, checker.CodeName(code))
}

// awayCodes are a coordinator's that does not serve now.
var awayCodes = []int16{wire.CoordinatorNotAvailable, wire.CoordinatorLoadInProgress, wire.NotCoordinator}

// listGroups lists the groups, and describes them.
func (o *Operator) listGroups() {
	r := kmsg.NewPtrListGroupsRequest()
	if o.draws.PerMille(300) {
		r.StatesFilter = []string{"Stable"}
	}
	if o.draws.PerMille(300) {
		r.TypesFilter = []string{"consumer"}
	}
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.ListGroupsResponse)
		o.among("ListGroups", v.ErrorCode, awayCodes...)
		var ids []string
		for i := range v.Groups {
			ids = append(ids, v.Groups[i].Group)
			if len(r.StatesFilter) > 0 && v.Version >= 4 && v.Groups[i].GroupState != "Stable" {
				o.fail("protocol", "client %d: a list of stable groups has one that is %s", o.client, v.Groups[i].GroupState)
			}
		}
		if len(ids) == 0 {
			ids = []string{"no-such-group"}
		}
		o.describeGroups(ids)
	})
}

func (o *Operator) describeGroups(ids []string) {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Groups = ids
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DescribeGroupsResponse)
		if len(v.Groups) != len(ids) {
			o.fail("protocol", "client %d: %d groups of %d are described", o.client, len(v.Groups), len(ids))
		}
		for i := range v.Groups {
			o.among("DescribeGroups", v.Groups[i].ErrorCode, append(awayCodes, wire.GroupIDNotFound)...)
		}
		o.describeConsumerGroups(ids)
	})
}

// describeConsumerGroups checks that no partition has two owners (I13).
func (o *Operator) describeConsumerGroups(ids []string) {
	r := kmsg.NewPtrConsumerGroupDescribeRequest()
	r.Groups = ids
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		for _, g := range response.(*kmsg.ConsumerGroupDescribeResponse).Groups {
			o.among("ConsumerGroupDescribe", g.ErrorCode, append(awayCodes, wire.GroupIDNotFound)...)
			o.checkOwners(&g)
		}
		o.pause()
	})
}

func (o *Operator) checkOwners(g *kmsg.ConsumerGroupDescribeResponseGroup) {
	type partition struct {
		topic string
		index int32
	}
	owners := map[partition]string{}
	for i := range g.Members {
		m := &g.Members[i]
		for _, t := range m.Assignment.TopicPartitions {
			for _, index := range t.Partitions {
				p := partition{t.Topic, index}
				if other, owned := owners[p]; owned {
					o.fail("I13", "client %d: partition %d of %s is described as owned by %s and %s of group %s", o.client, index, t.Topic, other, m.MemberID, g.Group)
				}
				owners[p] = m.MemberID
			}
		}
	}
}

// listTransactions lists the transactional ids, and describes them.
func (o *Operator) listTransactions() {
	r := kmsg.NewPtrListTransactionsRequest()
	r.DurationFilterMillis = -1
	if o.draws.PerMille(300) {
		r.StateFilters = []string{"Ongoing"}
	}
	if o.draws.PerMille(300) {
		r.TransactionalIDPattern = kmsg.StringPtr("txn-.*")
	}
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.ListTransactionsResponse)
		o.among("ListTransactions", v.ErrorCode, awayCodes...)
		ids := []string{"no-such-id"}
		for i := range v.TransactionStates {
			ids = append(ids, v.TransactionStates[i].TransactionalID)
			if state := v.TransactionStates[i].TransactionState; len(r.StateFilters) > 0 && state != "Ongoing" {
				o.fail("protocol", "client %d: a list of open transactions has one that is %s", o.client, state)
			}
		}
		o.describeTransactions(ids)
	})
}

func (o *Operator) describeTransactions(ids []string) {
	r := kmsg.NewPtrDescribeTransactionsRequest()
	r.TransactionalIDs = ids
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DescribeTransactionsResponse)
		if len(v.TransactionStates) != len(ids) {
			o.fail("protocol", "client %d: %d transactional ids of %d are described", o.client, len(v.TransactionStates), len(ids))
		}
		for i := range v.TransactionStates {
			s := &v.TransactionStates[i]
			o.among("DescribeTransactions", s.ErrorCode, append(awayCodes, wire.TransactionalIDNotFound)...)
			if s.State == "Empty" && len(s.Topics) > 0 {
				o.fail("protocol", "client %d: transactional id %s is empty and has partitions", o.client, s.TransactionalID)
			}
		}
		o.pause()
	})
}

// describeProducers asks for the producers of every partition of a topic, and of one more.
func (o *Operator) describeProducers() {
	t := o.Topics[o.draws.Below(int64(len(o.Topics)))]
	r := kmsg.NewPtrDescribeProducersRequest()
	topic := kmsg.NewDescribeProducersRequestTopic()
	topic.Topic = t.Name
	for i := range int32(len(t.Partitions)) + 1 {
		topic.Partitions = append(topic.Partitions, i)
	}
	r.Topics = append(r.Topics, topic)
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		for _, topic := range response.(*kmsg.DescribeProducersResponse).Topics {
			for i := range topic.Partitions {
				o.among("DescribeProducers", topic.Partitions[i].ErrorCode, wire.UnknownTopicOrPartition, wire.NotLeaderOrFollower)
			}
		}
		o.pause()
	})
}

func (o *Operator) describeQuorum() {
	r := kmsg.NewPtrDescribeQuorumRequest()
	topic, part := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	topic.Topic = "__cluster_metadata"
	if o.draws.PerMille(200) {
		topic.Topic = o.options.Topic.Name
	}
	topic.Partitions = append(topic.Partitions, part)
	r.Topics = append(r.Topics, topic)
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DescribeQuorumResponse)
		o.among("DescribeQuorum", v.ErrorCode)
		if got := &v.Topics[0].Partitions[0]; got.ErrorCode == 0 && got.LeaderID < 0 && !o.Several {
			o.fail("protocol", "client %d: the quorum has no leader", o.client)
		}
		o.pause()
	})
}

// updateFeatures sets features to the levels that they have, or asks whether they could be lowered.
func (o *Operator) updateFeatures() {
	r := kmsg.NewPtrUpdateFeaturesRequest()
	r.TimeoutMillis = 3000
	r.ValidateOnly = o.draws.PerMille(500)
	update := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	update.Feature, update.MaxVersionLevel, update.UpgradeType = "transaction.version", 2, 1
	refused := []int16{wire.NotController} // nothing was decided
	if r.ValidateOnly && o.draws.PerMille(500) {
		update.MaxVersionLevel = 1 // a downgrade must be asked for as one
		refused = append(refused, wire.InvalidUpdateVersion)
	}
	r.FeatureUpdates = append(r.FeatureUpdates, update)
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		o.among("UpdateFeatures", response.(*kmsg.UpdateFeaturesResponse).ErrorCode, refused...)
		o.pause()
	})
}

// electLeaders asks for elections that are not needed.
func (o *Operator) electLeaders() {
	r := kmsg.NewPtrElectLeadersRequest()
	r.TimeoutMillis = 3000
	if o.draws.PerMille(500) {
		topic := kmsg.NewElectLeadersRequestTopic()
		topic.Topic, topic.Partitions = o.options.Topic.Name, []int32{0, 1000}
		r.Topics = append(r.Topics, topic)
	} else {
		r.Topics = nil // all that need one
	}
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.ElectLeadersResponse)
		o.among("ElectLeaders", v.ErrorCode, wire.NotController)
		for _, t := range v.Topics {
			for i := range t.Partitions {
				if t.Partitions[i].ErrorCode == 0 {
					o.fail("protocol", "client %d: partition %d of %s had an election", o.client, t.Partitions[i].Partition, t.Topic)
				}
			}
		}
		o.listConfigResources()
	})
}

// listConfigResources asks what has a configuration, and what is set for clients and users, which is nothing.
func (o *Operator) listConfigResources() {
	o.request(kmsg.NewPtrListConfigResourcesRequest(), func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		o.among("ListConfigResources", response.(*kmsg.ListConfigResourcesResponse).ErrorCode)
		o.request(kmsg.NewPtrDescribeClientQuotasRequest(), func(response kmsg.Response, err error) {
			if err != nil {
				return
			}
			if v := response.(*kmsg.DescribeClientQuotasResponse); v.ErrorCode != 0 || len(v.Entries) > 0 {
				o.fail("protocol", "client %d: DescribeClientQuotas was answered %s, with %d entries", o.client, checker.CodeName(v.ErrorCode), len(v.Entries))
			}
			o.pause()
		})
	})
}
