package client

import (
	"bytes"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// routes are what a client of a cluster knows of who has what. Everything in it may be out of date.
type routes struct {
	brokers      map[int32]string // addresses
	leaders      map[partitionKey]int32
	coordinators map[coordinatorKey]int32
}

type partitionKey struct {
	topic string
	index int32
}

// coordinatorKey is a group, or a transactional id (KIP-98's kinds).
type coordinatorKey struct {
	name string
	kind int8
}

const (
	groupCoordinator = 0
	txnCoordinator   = 1
)

func newRoutes() *routes {
	return &routes{brokers: map[int32]string{}, leaders: map[partitionKey]int32{}, coordinators: map[coordinatorKey]int32{}}
}

// forgetCoordinators has each be asked for anew.
func (s *session) forgetCoordinators() {
	if s.routes != nil {
		clear(s.routes.coordinators)
	}
}

func (s *session) learnBrokers(brokers []kmsg.MetadataResponseBroker) {
	if s.routes == nil {
		return
	}
	for i := range brokers {
		b := &brokers[i]
		s.routes.brokers[b.NodeID] = hostPort(b.Host, b.Port)
	}
}

func hostPort(host string, port int32) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }

// learnLeader takes what metadata say of a partition, unless more recent ones are known (KIP-320).
func (s *session) learnLeader(p *Partition, got *kmsg.MetadataResponseTopicPartition) {
	if s.routes != nil {
		if epoch, known := s.epochs[p]; known && got.LeaderEpoch < epoch {
			return
		}
		s.routes.leaders[partitionKey{p.Topic.Name, p.Index}] = got.Leader
	}
	s.epochs[p] = got.LeaderEpoch
}

// learnCoordinator takes the answer to FindCoordinator.
func (s *session) learnCoordinator(key coordinatorKey, v *kmsg.FindCoordinatorResponse) {
	if s.routes == nil {
		return
	}
	code, node, host, port := v.ErrorCode, v.NodeID, v.Host, v.Port
	if v.Version >= 4 {
		c := &v.Coordinators[0]
		code, node, host, port = c.ErrorCode, c.NodeID, c.Host, c.Port
	}
	if code == 0 {
		s.routes.brokers[node], s.routes.coordinators[key] = hostPort(host, port), node
	}
}

// outdated reports whether the id is one that an earlier topic of the same name had: the broker's image lags behind.
func (s *session) outdated(t *Topic, id [16]byte) bool {
	if s.routes == nil || id == [16]byte{} {
		return false
	}
	return slices.ContainsFunc(s.Topics, func(o *Topic) bool { return o != t && o.Name == t.Name && o.Deleting && o.ID == id })
}

// leader is the broker that is known to lead a partition, or anyBroker.
func (s *session) leader(p *Partition) int32 { return s.leaderOf(p.Topic.Name, p.Index) }

func (s *session) leaderOf(topic string, index int32) int32 {
	if s.routes == nil {
		return anyBroker
	}
	if node, known := s.routes.leaders[partitionKey{topic, index}]; known {
		return node
	}
	return anyBroker
}

// lineTo is the connection to a broker, made if there is none; to one that is not known, it is the first.
func (s *session) lineTo(node int32) *line {
	if s.routes == nil || node == anyBroker || s.routes.brokers[node] == "" {
		return &s.main
	}
	for _, l := range s.lines {
		if l.node == node {
			return l
		}
	}
	s.sessions++
	l := &line{session: s, node: node, number: s.sessions}
	s.lines = append(s.lines, l)
	l.dial(s.routes.brokers[node])
	return l
}

// lostLine ends what was sent to one broker.
func (s *session) lostLine(l *line) {
	s.lines = slices.DeleteFunc(s.lines, func(o *line) bool { return o == l })
	open := l.end()
	if len(open) > 0 {
		s.losses++
	}
	for _, p := range open {
		p.done(errLost)
	}
	s.refresh()
}

// carrierOf is the connection of a request that has no answer.
func (s *session) carrierOf(r kmsg.Request) *line {
	if p, ok := r.(*kmsg.ProduceRequest); ok && s.routes != nil {
		return s.lineTo(s.leaderOf(p.Topics[0].Topic, p.Topics[0].Partitions[0].Partition))
	}
	return &s.main
}

// carrier tells the connection that a request to a partition's leader would travel on from others.
func (s *session) carrier(p *Partition) uint64 { return s.lineTo(s.leader(p)).number }

// route sends a request to who has what it asks for, as far as the client knows.
func (s *session) route(limit time.Duration, r kmsg.Request, done func(kmsg.Response, error)) {
	if key, ok := coordinatorOf(r); ok {
		s.toCoordinator(key, limit, r, done)
		return
	}
	switch r := r.(type) {
	case *kmsg.ProduceRequest:
		s.produceAt(limit, r, done)
	case *kmsg.FetchRequest:
		s.fetchAt(limit, r, done)
	case *kmsg.ListOffsetsRequest:
		t := &r.Topics[0]
		s.requestAt(s.leaderOf(t.Topic, t.Partitions[0].Partition), limit, r, done)
	case *kmsg.DeleteRecordsRequest:
		t := &r.Topics[0]
		s.requestAt(s.leaderOf(t.Topic, t.Partitions[0].Partition), limit, r, done)
	case *kmsg.OffsetForLeaderEpochRequest:
		t := &r.Topics[0]
		s.requestAt(s.leaderOf(t.Topic, t.Partitions[0].Partition), limit, r, done)
	case *kmsg.IncrementalAlterConfigsRequest:
		s.askNode(brokerNamed(r), limit, r, done)
	case *kmsg.FindCoordinatorRequest:
		s.askNode(s.nextBroker(), limit, r, done)
	default:
		s.main.send(limit, r, done)
	}
}

// brokerNamed is the broker whose own configuration a request changes: only that one can.
func brokerNamed(r *kmsg.IncrementalAlterConfigsRequest) int32 {
	for i := range r.Resources {
		if id, err := strconv.ParseInt(r.Resources[i].ResourceName, 10, 32); err == nil && r.Resources[i].ResourceType == kmsg.ConfigResourceTypeBroker {
			return int32(id)
		}
	}
	return anyBroker
}

// requestAt sends a request about partitions to a broker. If the connection to that one breaks, each is
// answered with NETWORK_EXCEPTION: what became of it is not known. An answer that says that the leader is
// another is followed if it names that one, and has the metadata asked for again.
func (s *session) requestAt(node int32, limit time.Duration, r kmsg.Request, done func(kmsg.Response, error)) {
	s.lineTo(node).send(limit, r, func(response kmsg.Response, err error) {
		if err != nil && s.up { // else everything is lost, and begins anew
			unanswered(r, response)
			err = nil
		}
		if err == nil && s.routes != nil && slices.ContainsFunc(codesOfPartitions(response), moved) {
			s.followHints(response)
			s.refresh()
		}
		done(response, err)
	})
}

// moved reports whether a code says that the client's metadata are out of date.
func moved(code int16) bool {
	switch code {
	case wire.NotLeaderOrFollower, wire.LeaderNotAvailable, wire.FencedLeaderEpoch, wire.UnknownLeaderEpoch, wire.UnknownTopicOrPartition, wire.UnknownTopicID, wire.NetworkException:
		return true
	}
	return false
}

// unanswered writes the answer that a client gives itself.
func unanswered(request kmsg.Request, response kmsg.Response) {
	switch r := request.(type) {
	case *kmsg.ProduceRequest:
		v := response.(*kmsg.ProduceResponse)
		for i := range r.Topics {
			t := kmsg.NewProduceResponseTopic()
			t.Topic, t.TopicID = r.Topics[i].Topic, r.Topics[i].TopicID
			for j := range r.Topics[i].Partitions {
				p := kmsg.NewProduceResponseTopicPartition()
				p.Partition, p.ErrorCode, p.BaseOffset = r.Topics[i].Partitions[j].Partition, wire.NetworkException, -1
				t.Partitions = append(t.Partitions, p)
			}
			v.Topics = append(v.Topics, t)
		}
	case *kmsg.FetchRequest:
		v := response.(*kmsg.FetchResponse)
		if r.SessionEpoch >= 0 {
			v.ErrorCode = wire.NetworkException
			return
		}
		for i := range r.Topics {
			t := kmsg.NewFetchResponseTopic()
			t.Topic, t.TopicID = r.Topics[i].Topic, r.Topics[i].TopicID
			for j := range r.Topics[i].Partitions {
				p := kmsg.NewFetchResponseTopicPartition()
				p.Partition, p.ErrorCode = r.Topics[i].Partitions[j].Partition, wire.NetworkException
				t.Partitions = append(t.Partitions, p)
			}
			v.Topics = append(v.Topics, t)
		}
	default:
		unansweredLookup(request, response)
	}
}

// unansweredLookup is unanswered of what asks for offsets, of one partition.
func unansweredLookup(request kmsg.Request, response kmsg.Response) {
	switch r := request.(type) {
	case *kmsg.ListOffsetsRequest:
		t, p := kmsg.NewListOffsetsResponseTopic(), kmsg.NewListOffsetsResponseTopicPartition()
		p.Partition, p.ErrorCode = r.Topics[0].Partitions[0].Partition, wire.NetworkException
		t.Topic, t.Partitions = r.Topics[0].Topic, append(t.Partitions, p)
		v := response.(*kmsg.ListOffsetsResponse)
		v.Topics = append(v.Topics, t)
	case *kmsg.DeleteRecordsRequest:
		t, p := kmsg.NewDeleteRecordsResponseTopic(), kmsg.NewDeleteRecordsResponseTopicPartition()
		p.Partition, p.ErrorCode = r.Topics[0].Partitions[0].Partition, wire.NetworkException
		t.Topic, t.Partitions = r.Topics[0].Topic, append(t.Partitions, p)
		v := response.(*kmsg.DeleteRecordsResponse)
		v.Topics = append(v.Topics, t)
	case *kmsg.OffsetForLeaderEpochRequest:
		t, p := kmsg.NewOffsetForLeaderEpochResponseTopic(), kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		p.Partition, p.ErrorCode = r.Topics[0].Partitions[0].Partition, wire.NetworkException
		t.Topic, t.Partitions = r.Topics[0].Topic, append(t.Partitions, p)
		v := response.(*kmsg.OffsetForLeaderEpochResponse)
		v.Topics = append(v.Topics, t)
	}
}

// produceAt sends a Produce to the leaders of its partitions; done gets all answers as one.
func (s *session) produceAt(limit time.Duration, r *kmsg.ProduceRequest, done func(kmsg.Response, error)) {
	var nodes []int32
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			nodes = appendNew(nodes, s.leaderOf(r.Topics[i].Topic, r.Topics[i].Partitions[j].Partition))
		}
	}
	if len(nodes) <= 1 {
		s.requestAt(append(nodes, anyBroker)[0], limit, r, done)
		return
	}
	whole, left := r.ResponseKind().(*kmsg.ProduceResponse), len(nodes)
	whole.SetVersion(r.GetVersion())
	for i, share := range s.produceShares(r, nodes) {
		s.requestAt(nodes[i], limit, share, func(response kmsg.Response, err error) {
			if err == nil {
				for _, t := range response.(*kmsg.ProduceResponse).Topics { // the response is lent
					t.Topic = strings.Clone(t.Topic)
					whole.Topics = append(whole.Topics, t)
				}
			}
			if left--; left == 0 {
				done(whole, err)
			}
		})
	}
}

// produceShares are the parts of a Produce for each of some brokers.
func (s *session) produceShares(r *kmsg.ProduceRequest, nodes []int32) (shares []*kmsg.ProduceRequest) {
	for _, node := range nodes {
		share := *r
		share.Topics = nil
		for _, t := range r.Topics {
			all := t.Partitions
			t.Partitions = nil
			for _, p := range all {
				if s.leaderOf(t.Topic, p.Partition) == node {
					t.Partitions = append(t.Partitions, p)
				}
			}
			if len(t.Partitions) > 0 {
				share.Topics = append(share.Topics, t)
			}
		}
		shares = append(shares, &share)
	}
	return shares
}

// fetchAt sends a Fetch to the leaders of its partitions; done gets all answers as one.
func (s *session) fetchAt(limit time.Duration, r *kmsg.FetchRequest, done func(kmsg.Response, error)) {
	var nodes []int32
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			nodes = appendNew(nodes, s.leaderOf(r.Topics[i].Topic, r.Topics[i].Partitions[j].Partition))
		}
	}
	if len(nodes) <= 1 {
		s.requestAt(append(nodes, anyBroker)[0], limit, r, done)
		return
	}
	whole, left := r.ResponseKind().(*kmsg.FetchResponse), len(nodes)
	whole.SetVersion(r.GetVersion())
	for i, share := range s.fetchShares(r, nodes) {
		s.requestAt(nodes[i], limit, share, func(response kmsg.Response, err error) {
			if err == nil {
				whole.Topics = append(whole.Topics, cloneFetched(response.(*kmsg.FetchResponse))...)
			}
			if left--; left == 0 {
				done(whole, err)
			}
		})
	}
}

// fetchShares are the parts of a Fetch for each of some brokers.
func (s *session) fetchShares(r *kmsg.FetchRequest, nodes []int32) (shares []*kmsg.FetchRequest) {
	for _, node := range nodes {
		share := *r
		share.Topics = nil
		for _, t := range r.Topics {
			all := t.Partitions
			t.Partitions = nil
			for _, p := range all {
				if s.leaderOf(t.Topic, p.Partition) == node {
					t.Partitions = append(t.Partitions, p)
				}
			}
			if len(t.Partitions) > 0 {
				share.Topics = append(share.Topics, t)
			}
		}
		shares = append(shares, &share)
	}
	return shares
}

// appendNew adds a broker that is not among others.
func appendNew(nodes []int32, node int32) []int32 {
	if slices.Contains(nodes, node) {
		return nodes
	}
	return append(nodes, node)
}

// cloneFetched copies what a response lends.
func cloneFetched(v *kmsg.FetchResponse) []kmsg.FetchResponseTopic {
	for i := range v.Topics {
		t := &v.Topics[i]
		t.Topic = strings.Clone(t.Topic)
		for j := range t.Partitions {
			t.Partitions[j].RecordBatches = bytes.Clone(t.Partitions[j].RecordBatches)
		}
	}
	return v.Topics
}

// coordinatorOf is whose coordinator a request is for.
func coordinatorOf(request kmsg.Request) (coordinatorKey, bool) {
	group := func(name string) (coordinatorKey, bool) { return coordinatorKey{name, groupCoordinator}, true }
	txn := func(id string) (coordinatorKey, bool) { return coordinatorKey{id, txnCoordinator}, true }
	switch r := request.(type) {
	case *kmsg.OffsetCommitRequest:
		return group(r.Group)
	case *kmsg.OffsetFetchRequest:
		return group(r.Group)
	case *kmsg.JoinGroupRequest:
		return group(r.Group)
	case *kmsg.HeartbeatRequest:
		return group(r.Group)
	case *kmsg.LeaveGroupRequest:
		return group(r.Group)
	case *kmsg.SyncGroupRequest:
		return group(r.Group)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		return group(r.Group)
	case *kmsg.OffsetDeleteRequest:
		return group(r.Group)
	case *kmsg.DeleteGroupsRequest:
		return group(r.Groups[0])
	case *kmsg.DescribeGroupsRequest:
		return group(r.Groups[0])
	case *kmsg.ConsumerGroupDescribeRequest:
		return group(r.Groups[0])
	case *kmsg.TxnOffsetCommitRequest:
		return group(r.Group)
	case *kmsg.AddPartitionsToTxnRequest:
		return txn(r.TransactionalID)
	case *kmsg.AddOffsetsToTxnRequest:
		return txn(r.TransactionalID)
	case *kmsg.EndTxnRequest:
		return txn(r.TransactionalID)
	case *kmsg.DescribeTransactionsRequest:
		return txn(r.TransactionalIDs[len(r.TransactionalIDs)-1])
	case *kmsg.InitProducerIDRequest:
		if r.TransactionalID != nil && *r.TransactionalID != "" {
			return txn(*r.TransactionalID)
		}
	}
	return coordinatorKey{}, false
}

// toCoordinator sends a request to a coordinator, for which it asks first if need be; where that is not told, any broker
// may say that it is none.
func (s *session) toCoordinator(key coordinatorKey, limit time.Duration, r kmsg.Request, done func(kmsg.Response, error)) {
	if node, known := s.routes.coordinators[key]; known {
		s.askNode(node, limit, r, done)
		return
	}
	f := kmsg.NewPtrFindCoordinatorRequest()
	f.CoordinatorKey, f.CoordinatorType, f.CoordinatorKeys = key.name, key.kind, []string{key.name}
	if !s.choose(f) {
		return
	}
	// Each time another broker is asked: one that hears nothing of the others answers what it knew once.
	s.askNode(s.nextBroker(), requestTimeout, f, func(response kmsg.Response, err error) {
		if err != nil {
			done(r.ResponseKind(), err)
			return
		}
		node := int32(anyBroker)
		if v := response.(*kmsg.FindCoordinatorResponse); v.Version < 4 || len(v.Coordinators) == 1 {
			s.learnCoordinator(key, v)
			if found, ok := s.routes.coordinators[key]; ok {
				node = found
			}
		}
		s.askNode(node, limit, r, done)
	})
}

// askNode sends a request to a coordinator, or to another broker that alone can answer. If the connection breaks, the client begins anew.
func (s *session) askNode(node int32, limit time.Duration, r kmsg.Request, done func(kmsg.Response, error)) {
	s.lineTo(node).send(limit, r, func(response kmsg.Response, err error) {
		if err != nil && s.up {
			s.drop()
		}
		done(response, err)
	})
}

const (
	refreshPauseMin = 20 * time.Millisecond
	refreshPauseMax = 100 * time.Millisecond
)

// refresh asks for the leaders again, after a pause: each time another broker, since one may be cut off.
func (s *session) refresh() {
	if s.routes == nil || s.refreshing || !s.up || s.stopped || len(s.topics) == 0 {
		return
	}
	s.refreshing = true
	s.after(s.draws.Duration(refreshPauseMin, refreshPauseMax), func() {
		r := metadataOf(s.topics)
		if !s.choose(r) {
			return
		}
		topics, node := s.topics, s.nextBroker()
		s.lineTo(node).send(requestTimeout, r, func(response kmsg.Response, err error) {
			s.refreshing = false
			if err != nil {
				return // the loss of the connection asks again
			}
			s.learned(topics, response.(*kmsg.MetadataResponse))
		})
	})
}

// nextBroker is one broker after the other.
func (s *session) nextBroker() int32 {
	nodes := slices.Sorted(maps.Keys(s.routes.brokers))
	if len(nodes) == 0 {
		return anyBroker
	}
	s.asked++
	return nodes[(s.client+s.asked)%len(nodes)]
}
