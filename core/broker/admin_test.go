package broker

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTrap01ApiVersionsTooNew(t *testing.T) {
	r := newRig(t, "")
	for _, version := range []int16{6, 99, math.MaxInt16} {
		id := r.connect()
		request := kmsg.NewPtrApiVersionsRequest()
		request.Version = 4
		frame := frameOf(request, 7)
		frame[2], frame[3] = byte(version>>8), byte(version)
		r.deliver(id, frame)
		request.Version = 0 // the answer's body and header are those of version 0
		out := answerOf[*kmsg.ApiVersionsResponse](r, id, 7, request)
		if out.ErrorCode != wire.UnsupportedVersion || len(out.ApiKeys) != 1 ||
			out.ApiKeys[0].ApiKey != 18 || out.ApiKeys[0].MinVersion != 0 || out.ApiKeys[0].MaxVersion != 5 {
			t.Errorf("version %d: %+v", version, out)
		}
		if len(r.net.closed) != 0 {
			t.Errorf("version %d: the connection was closed", version)
		}
	}
}

func TestTrap01ClientSoftwarePattern(t *testing.T) {
	for name, ok := range map[string]bool{"apache-kafka-java": true, "a": true, "4.3.0": true, "": false, "-x": false, "x-": false, "a b": false, "a_b": false, "ü": false, ".": false} {
		r := newRig(t, "")
		request := kmsg.NewPtrApiVersionsRequest()
		request.ClientSoftwareName, request.ClientSoftwareVersion = name, "1.0"
		out := ask[*kmsg.ApiVersionsResponse](r, 3, request)
		if (out.ErrorCode == 0) != ok || (out.ErrorCode != 0 && out.ErrorCode != wire.InvalidRequest) {
			t.Errorf("%q: error %d", name, out.ErrorCode)
		}
	}
}

func TestApiVersionsIsKafka44sColumn(t *testing.T) {
	want := "0:0-13 1:4-18 2:1-11 3:0-13 8:2-10 9:1-10 10:0-6 11:0-9 12:0-4 13:0-5 14:0-5 15:0-6 16:0-5 18:0-5 19:2-7 20:1-6 21:0-2 22:0-5 23:2-4 24:0-5 25:0-4 26:0-5 27:1-2 28:0-6 32:1-4 33:0-2 35:1-5 37:0-3 42:0-3 43:0-2 44:0-1 45:0-1 46:0-0 47:0-0 48:0-1 50:0-0 55:0-2 57:0-2 60:0-2 61:0-0 64:0-0 65:0-0 66:0-2 68:0-1 69:0-1 74:0-1 75:0-0 80:0-1 81:0-0"
	for version := int16(0); version <= 5; version++ {
		r := newRig(t, "")
		request := kmsg.NewPtrApiVersionsRequest()
		request.ClientSoftwareName, request.ClientSoftwareVersion = "x", "1"
		out := ask[*kmsg.ApiVersionsResponse](r, version, request)
		var rows []string
		for _, k := range out.ApiKeys {
			rows = append(rows, fmt.Sprintf("%d:%d-%d", k.ApiKey, k.MinVersion, k.MaxVersion))
		}
		if got := strings.Join(rows, " "); got != want {
			t.Errorf("version %d says\n%s, want\n%s", version, got, want)
		}
		if version >= 3 {
			require.Len(t, out.FinalizedFeatures, 2)
			require.Equal(t, controller.GroupFeature, out.FinalizedFeatures[0].Name)
			supported := map[string]int16{}
			for _, f := range out.SupportedFeatures {
				supported[f.Name] = f.MaxVersion
			}
			want := map[string]int16{controller.MetadataFeature: 1}
			for _, f := range controller.Features {
				if f.Min > 0 || version >= 4 { // KAFKA-17011
					want[f.Name] = f.Max
				}
			}
			require.Equal(t, want, supported)
		}
	}
}

func TestTrap02ProduceIsAdvertisedFromZero(t *testing.T) {
	if k := advertised(wire.FindAPI(produceKey)); k.MinVersion != 0 || k.MaxVersion != 13 {
		t.Fatalf("Produce is said to be %d-%d", k.MinVersion, k.MaxVersion)
	}
	// That versions 0 to 2 are refused: TestUnsupportedVersionClosesTheConnection.
}

func TestFeaturesOfLevelZeroAreLeftOutForOldClients(t *testing.T) { // KAFKA-17011
	all := []controller.Feature{{Name: "transaction.version", Max: 2}, {Name: "metadata.version", Min: 7, Max: 30}}
	for version, want := range map[int16]int{3: 1, 4: 2} {
		out := kmsg.NewPtrApiVersionsResponse()
		out.Version = version
		addFeatures(out, all)
		if len(out.SupportedFeatures) != want {
			t.Errorf("version %d: %v", version, out.SupportedFeatures)
		}
	}
}

func describeMetadata(r *rig, version int16, request *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	r.t.Helper()
	return ask[*kmsg.MetadataResponse](r, version, request)
}

func TestMetadataDescribesBrokersAndPartitions(t *testing.T) {
	for version := int16(0); version <= 13; version++ {
		r := newRig(t, "")
		r.topics[0].Partitions[2].Leader = 3 // fenced
		out := describeMetadata(r, version, metadataOf("t"))
		if len(out.Brokers) != 2 || out.Brokers[0].Host != "host1" || out.Brokers[1].Port != 9002 {
			t.Fatalf("version %d: brokers %+v", version, out.Brokers)
		}
		if version >= 1 && (out.Brokers[1].Rack == nil || *out.Brokers[1].Rack != "z2" || out.ControllerID != 1) {
			t.Errorf("version %d: rack %v, controller %d", version, out.Brokers[1].Rack, out.ControllerID)
		}
		if version >= 2 && (out.ClusterID == nil || *out.ClusterID != "the-cluster") {
			t.Errorf("version %d: cluster id %v", version, out.ClusterID)
		}
		topic := out.Topics[0]
		if *topic.Topic != "t" || topic.ErrorCode != 0 || len(topic.Partitions) != 4 {
			t.Fatalf("version %d: topic %+v", version, topic)
		}
		p := topic.Partitions
		if p[0].Leader != 1 || p[0].Replicas[0] != 1 || p[0].ISR[0] != 1 || p[3].Leader != 2 {
			t.Errorf("version %d: partitions %+v", version, p)
		}
		if p[2].Leader != -1 || p[2].ErrorCode != wire.LeaderNotAvailable || len(p[2].ISR) != 0 || (version >= 5 && p[2].OfflineReplicas[0] != 3) {
			t.Errorf("version %d: a fenced leader is shown as %+v", version, p[2])
		}
		if version >= 7 && (p[0].LeaderEpoch != 5 || p[3].LeaderEpoch != 8) { // trap 7
			t.Errorf("version %d: leader epochs %d and %d", version, p[0].LeaderEpoch, p[3].LeaderEpoch)
		}
		if version >= 10 && topic.TopicID != [16]byte{1} {
			t.Errorf("version %d: topic id %x", version, topic.TopicID)
		}
		if version >= 8 && topic.AuthorizedOperations != math.MinInt32 {
			t.Errorf("version %d: operations %d though nobody asked", version, topic.AuthorizedOperations)
		}
	}
}

func TestMetadataOfAllOrNoTopics(t *testing.T) {
	for _, c := range []struct {
		version int16
		topics  []kmsg.MetadataRequestTopic
		want    int
	}{{0, []kmsg.MetadataRequestTopic{}, 1}, {1, nil, 1}, {1, []kmsg.MetadataRequestTopic{}, 0}, {12, nil, 1}, {12, []kmsg.MetadataRequestTopic{}, 0}} {
		r := newRig(t, "")
		request := metadataOf()
		request.Topics = c.topics
		if out := describeMetadata(r, c.version, request); len(out.Topics) != c.want || len(out.Brokers) != 2 {
			t.Errorf("version %d, topics %v: %d topics", c.version, c.topics == nil, len(out.Topics))
		}
	}
}

func TestMetadataMakesTopics(t *testing.T) {
	r := newRig(t, "")
	r.controller.deferring = true
	request := metadataOf("new", "t", "new")
	request.AllowAutoTopicCreation = true
	id := r.connect()
	request.Version = 12
	correlation := r.send(id, request)
	if len(r.answered(id)) != 0 {
		t.Fatal("answered before the topic is there")
	}
	r.controller.run()
	r.turn()
	out := answerOf[*kmsg.MetadataResponse](r, id, correlation, request)
	if len(out.Topics) != 2 || *out.Topics[0].Topic != "new" || out.Topics[0].ErrorCode != 0 || len(out.Topics[0].Partitions) != 1 || isZero(out.Topics[0].TopicID) {
		t.Fatalf("topics are %+v", out.Topics)
	}
	if !slices.Equal(r.controller.asked, []string{"create new"}) {
		t.Fatalf("the controller was asked %v", r.controller.asked)
	}
}

func TestMetadataThatMakesATopicDoesNotWaitForEver(t *testing.T) {
	r := newRig(t, "")
	r.controller.deferring = true
	request := metadataOf("new")
	request.Version, request.AllowAutoTopicCreation = 12, true
	id := r.connect()
	correlation := r.send(id, request)
	r.pass(autoCreateWaitMax)
	if out := answerOf[*kmsg.MetadataResponse](r, id, correlation, request); out.Topics[0].ErrorCode != wire.UnknownTopicOrPartition {
		t.Fatalf("error is %d", out.Topics[0].ErrorCode)
	}
	r.controller.run() // too late, and harmless
	r.turn()
}

func TestMetadataMakesNothingWhereItMayNot(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		allow bool
		topic string
		code  int16
	}{
		"the client says no":   {"", false, "new", wire.UnknownTopicOrPartition},
		"the broker says no":   {"auto.create.topics.enable=false", true, "new", wire.UnknownTopicOrPartition},
		"an internal topic":    {"", true, "__consumer_offsets", wire.UnknownTopicOrPartition},
		"trap 21: a bad name":  {"", true, "no such/topic", wire.InvalidTopic},
		"a bad name, not made": {"", false, "", wire.InvalidTopic},
		"too long a name":      {"", true, strings.Repeat("x", 250), wire.InvalidTopic},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.file)
			request := metadataOf(c.topic)
			request.AllowAutoTopicCreation = c.allow
			out := describeMetadata(r, 12, request)
			if out.Topics[0].ErrorCode != c.code || *out.Topics[0].Topic != c.topic || len(r.controller.asked) != 0 {
				t.Fatalf("topics %+v, asked %v", out.Topics, r.controller.asked)
			}
		})
	}
}

func TestMetadataTellsWhyATopicWasNotMade(t *testing.T) { // trap 21: names that collide
	r := newRig(t, "")
	r.controller.refuse["a.b"] = &controller.Error{Code: wire.InvalidTopic, Message: "collides with a_b"}
	request := metadataOf("a.b")
	request.AllowAutoTopicCreation = true
	if out := describeMetadata(r, 12, request); out.Topics[0].ErrorCode != wire.InvalidTopic {
		t.Fatalf("error is %d", out.Topics[0].ErrorCode)
	}
}

func TestTrap03MetadataByTopicID(t *testing.T) {
	r := newRig(t, "")
	request := metadataOf()
	known, unknown := kmsg.NewMetadataRequestTopic(), kmsg.NewMetadataRequestTopic()
	known.TopicID, unknown.TopicID = [16]byte{1}, [16]byte{9}
	request.Topics = []kmsg.MetadataRequestTopic{known, unknown}
	out := describeMetadata(r, 12, request)
	if *out.Topics[0].Topic != "t" || out.Topics[1].ErrorCode != wire.UnknownTopicID || out.Topics[1].Topic != nil || out.Topics[1].TopicID != [16]byte{9} {
		t.Fatalf("topics are %+v", out.Topics)
	}
	out = describeMetadata(r, 10, request)
	if out.Topics[0].ErrorCode != wire.InvalidRequest {
		t.Fatalf("version 10 takes ids: %+v", out.Topics)
	}
	// Versions with ids are served together: Produce 13, Fetch 13 and Metadata 10.
	if wire.FindAPI(0).Max < 13 || wire.FindAPI(1).Max < 13 || wire.FindAPI(3).Max < 12 {
		t.Fatal("topic ids are advertised in part")
	}
}

func TestTrap09RackIsVisible(t *testing.T) {
	r := newRig(t, "broker.rack=z1")
	out := describeMetadata(r, 9, metadataOf())
	if *out.Brokers[0].Rack != "z1" {
		t.Errorf("Metadata shows rack %v", out.Brokers[0].Rack)
	}
	if e := configOf(t, describeConfig(r, kmsg.ConfigResourceTypeBroker, "1"), "broker.rack"); e.Value == nil || *e.Value != "z1" || !e.ReadOnly {
		t.Errorf("DescribeConfigs shows %+v", e)
	}
}

func newTopicOf(name string, partitions int32, configs ...string) kmsg.CreateTopicsRequestTopic {
	q := kmsg.NewCreateTopicsRequestTopic()
	q.Topic, q.NumPartitions, q.ReplicationFactor = name, partitions, -1
	for i := 0; i < len(configs); i += 2 {
		q.Configs = append(q.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	return q
}

func createOf(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	c := kmsg.NewPtrCreateTopicsRequest()
	c.Topics, c.TimeoutMillis = topics, 1000
	return c
}

func TestTrap20CreateTopicsReturnsWhatWasMade(t *testing.T) {
	for version := int16(4); version <= 7; version++ {
		r := newRig(t, "num.partitions=1")
		out := ask[*kmsg.CreateTopicsResponse](r, version, createOf(newTopicOf("a", 3, "retention.ms", "604800000"), newTopicOf("b", -1)))
		a, b := out.Topics[0], out.Topics[1]
		if a.ErrorCode != 0 || b.ErrorCode != 0 || a.Topic != "a" {
			t.Fatalf("version %d: %+v", version, out.Topics)
		}
		if version < 5 {
			continue
		}
		if a.NumPartitions != 3 || a.ReplicationFactor != 1 || b.NumPartitions != 1 || len(a.Configs) < 30 {
			t.Errorf("version %d: %d and %d partitions, factor %d, %d configs", version, a.NumPartitions, b.NumPartitions, a.ReplicationFactor, len(a.Configs))
		}
		for _, c := range a.Configs {
			// Set to its default, a key is still the topic's.
			if want := map[bool]int8{true: 1, false: 5}[c.Name == "retention.ms"]; c.Source != want {
				t.Errorf("version %d: %s has source %d", version, c.Name, c.Source)
			}
		}
		if version >= 7 && isZero(a.TopicID) {
			t.Error("no topic id")
		}
	}
}

func TestCreateTopicsRefusals(t *testing.T) {
	assigned := newTopicOf("x", -1)
	assigned.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1}}, {Partition: 2, Replicas: []int32{1}}}
	both := newTopicOf("x", 2)
	both.ReplicaAssignment = assigned.ReplicaAssignment[:1]
	null := newTopicOf("x", 1)
	null.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
	for name, c := range map[string]struct {
		topic kmsg.CreateTopicsRequestTopic
		code  int16
	}{
		"bad name":              {newTopicOf("a/b", 1), wire.InvalidTopic},
		"dots":                  {newTopicOf("..", 1), wire.InvalidTopic},
		"unknown config":        {newTopicOf("x", 1, "no.such", "1"), wire.InvalidConfig},
		"bad config":            {newTopicOf("x", 1, "retention.ms", "x"), wire.InvalidConfig},
		"null config":           {null, wire.InvalidConfig},
		"gap in assignment":     {assigned, wire.InvalidReplicaAssignment},
		"both":                  {both, wire.InvalidRequest},
		"far too many":          {newTopicOf("x", 1<<30), wire.PolicyViolation},
		"refused by controller": {newTopicOf("taken", 1), wire.TopicAlreadyExists},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "")
			r.controller.refuse["taken"] = &controller.Error{Code: wire.TopicAlreadyExists, Message: "it exists"}
			out := ask[*kmsg.CreateTopicsResponse](r, 7, createOf(newTopicOf("good", 1), c.topic))
			if len(out.Topics) != 2 || out.Topics[0].ErrorCode != 0 || out.Topics[1].ErrorCode != c.code || out.Topics[1].ErrorMessage == nil {
				t.Fatalf("answer is %+v", out.Topics)
			}
		})
	}
}

func TestCreateTopicsRefusesDuplicatesOnce(t *testing.T) {
	r := newRig(t, "")
	out := ask[*kmsg.CreateTopicsResponse](r, 7, createOf(newTopicOf("a", 1), newTopicOf("b", 1), newTopicOf("a", 2)))
	if len(out.Topics) != 2 || out.Topics[0].ErrorCode != wire.InvalidRequest || out.Topics[1].ErrorCode != 0 || !slices.Equal(r.controller.asked, []string{"create b"}) {
		t.Fatalf("answer is %+v", out.Topics)
	}
}

func TestCreateTopicsHonoursItsTimeout(t *testing.T) {
	r := newRig(t, "")
	r.controller.deferring = true
	request := createOf(newTopicOf("slow", 1), newTopicOf("a/b", 1))
	request.Version = 7
	id := r.connect()
	correlation := r.send(id, request)
	r.pass(999 * time.Millisecond)
	if len(r.answered(id)) != 0 {
		t.Fatal("answered before the time was over")
	}
	r.pass(time.Millisecond)
	out := answerOf[*kmsg.CreateTopicsResponse](r, id, correlation, request)
	if out.Topics[0].ErrorCode != wire.RequestTimedOut || out.Topics[1].ErrorCode != wire.InvalidTopic {
		t.Fatalf("answer is %+v", out.Topics)
	}
	r.controller.run()
	r.turn()
	if len(r.answered(id)) != 1 {
		t.Fatal("answered twice")
	}
}

func TestCreateTopicsValidateOnly(t *testing.T) {
	r := newRig(t, "")
	request := createOf(newTopicOf("a", 2))
	request.ValidateOnly = true
	out := ask[*kmsg.CreateTopicsResponse](r, 7, request)
	if _, there := r.Topic("a"); there || out.Topics[0].ErrorCode != 0 || out.Topics[0].NumPartitions != 2 || !isZero(out.Topics[0].TopicID) {
		t.Fatalf("answer is %+v, topic made: %v", out.Topics[0], there)
	}
}

// kafkajs and sarama create topics with -1 at versions 2 and 3.
func TestDefaultPartitionsAtEveryVersion(t *testing.T) {
	for version := int16(2); version <= 7; version++ {
		r := newRig(t, "")
		if out := ask[*kmsg.CreateTopicsResponse](r, version, createOf(newTopicOf("a", -1))); out.Topics[0].ErrorCode != 0 {
			t.Errorf("version %d: error is %d", version, out.Topics[0].ErrorCode)
		}
	}
}

func TestTheNameOfTheMetadataLogIsRefused(t *testing.T) {
	r := newRig(t, "")
	if out := ask[*kmsg.CreateTopicsResponse](r, 7, createOf(newTopicOf("__cluster_metadata", 1))); out.Topics[0].ErrorCode != wire.InvalidRequest {
		t.Fatalf("error is %d", out.Topics[0].ErrorCode)
	}
}

func TestDeleteTopicsAnswersARepeatedNameOnce(t *testing.T) {
	for version := int16(1); version <= 5; version++ {
		r := newRig(t, "")
		request := kmsg.NewPtrDeleteTopicsRequest()
		request.TopicNames, request.TimeoutMillis = []string{"t", "t", "nothing", "nothing"}, 1000
		out := ask[*kmsg.DeleteTopicsResponse](r, version, request)
		if len(out.Topics) != 2 || out.Topics[0].ErrorCode != wire.InvalidRequest || out.Topics[1].ErrorCode != wire.InvalidRequest || len(r.topics) != 1 {
			t.Errorf("version %d: answer is %+v", version, out.Topics)
		}
	}
}

func TestSpecialTimestampsThatKafkaDoesNotKnow(t *testing.T) {
	for _, timestamp := range []int64{-7, -100, -1 << 63} {
		if specialSince(timestamp) <= 11 {
			t.Errorf("timestamp %d is taken for a time", timestamp)
		}
	}
}

func TestDeleteTopics(t *testing.T) {
	for version := int16(1); version <= 5; version++ {
		r := newRig(t, "")
		request := kmsg.NewPtrDeleteTopicsRequest()
		request.TopicNames, request.TimeoutMillis = []string{"t", "nothing"}, 1000
		out := ask[*kmsg.DeleteTopicsResponse](r, version, request)
		if out.Topics[0].ErrorCode != 0 || *out.Topics[0].Topic != "t" || out.Topics[1].ErrorCode != wire.UnknownTopicOrPartition || len(r.topics) != 0 {
			t.Errorf("version %d: %+v", version, out.Topics)
		}
	}
	r := newRig(t, "")
	name := "t"
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TimeoutMillis = 1000
	request.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: [16]byte{1}}, {TopicID: [16]byte{8}}, {}, {Topic: &name, TopicID: [16]byte{1}}}
	out := ask[*kmsg.DeleteTopicsResponse](r, 6, request)
	if t0 := out.Topics[0]; t0.ErrorCode != 0 || t0.Topic == nil || *t0.Topic != "t" || t0.TopicID != [16]byte{1} {
		t.Errorf("by id: %+v", t0)
	}
	for i, want := range []int16{0, wire.UnknownTopicID, wire.InvalidRequest, wire.InvalidRequest} {
		if out.Topics[i].ErrorCode != want {
			t.Errorf("topic %d: error %d, want %d", i, out.Topics[i].ErrorCode, want)
		}
	}
}

func TestDeleteTopicsRefusals(t *testing.T) {
	name := "t"
	twice := kmsg.NewPtrDeleteTopicsRequest()
	twice.TimeoutMillis = 1000
	twice.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}, {TopicID: [16]byte{1}}}
	r := newRig(t, "")
	for i, topic := range ask[*kmsg.DeleteTopicsResponse](r, 6, twice).Topics {
		if topic.ErrorCode != wire.InvalidRequest {
			t.Errorf("duplicate %d: error %d", i, topic.ErrorCode)
		}
	}
	off := newRig(t, "delete.topic.enable=false")
	one := kmsg.NewPtrDeleteTopicsRequest()
	one.TopicNames = []string{"t"}
	for version, want := range map[int16]int16{1: wire.InvalidRequest, 5: wire.TopicDeletionDisabled} {
		if out := ask[*kmsg.DeleteTopicsResponse](off, version, one); out.Topics[0].ErrorCode != want {
			t.Errorf("version %d: error %d", version, out.Topics[0].ErrorCode)
		}
	}
}

func TestTrap21CreatePartitionsEchoesTopics(t *testing.T) {
	for version := int16(0); version <= 3; version++ {
		r := newRig(t, "")
		r.controller.refuse["t"] = nil
		r.topics = append(r.topics, r.newTopic("u", 1, nil))
		r.controller.refuse["u"] = &controller.Error{Code: 37, Message: "fewer than there are"}
		request := kmsg.NewPtrCreatePartitionsRequest()
		request.TimeoutMillis = 1000
		for _, name := range []string{"t", "u", "nothing", "twice", "twice"} {
			request.Topics = append(request.Topics, kmsg.CreatePartitionsRequestTopic{Topic: name, Count: 9})
		}
		out := ask[*kmsg.CreatePartitionsResponse](r, version, request)
		want := []string{"t 0", "u 37", "nothing 3", "twice 42"}
		var got []string
		for _, topic := range out.Topics {
			got = append(got, fmt.Sprint(topic.Topic, " ", topic.ErrorCode))
		}
		if !slices.Equal(got, want) {
			t.Errorf("version %d: %v", version, got)
		}
	}
}

func TestCreatePartitionsHonoursItsTimeout(t *testing.T) {
	r := newRig(t, "")
	r.controller.deferring = true
	request := kmsg.NewPtrCreatePartitionsRequest()
	request.Version, request.TimeoutMillis = 3, 10
	request.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 9}}
	id := r.connect()
	correlation := r.send(id, request)
	r.pass(10 * time.Millisecond)
	if out := answerOf[*kmsg.CreatePartitionsResponse](r, id, correlation, request); out.Topics[0].ErrorCode != wire.RequestTimedOut {
		t.Fatalf("error is %d", out.Topics[0].ErrorCode)
	}
	r.controller.run()
}

func describeConfig(r *rig, kind kmsg.ConfigResourceType, name string, keys ...string) kmsg.DescribeConfigsResponseResource {
	r.t.Helper()
	request := kmsg.NewPtrDescribeConfigsRequest()
	request.IncludeSynonyms, request.IncludeDocumentation = true, true
	request.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: keys}}
	return ask[*kmsg.DescribeConfigsResponse](r, 4, request).Resources[0]
}

func configOf(t *testing.T, r kmsg.DescribeConfigsResponseResource, key string) kmsg.DescribeConfigsResponseResourceConfig {
	t.Helper()
	for _, c := range r.Configs {
		if c.Name == key {
			return c
		}
	}
	t.Fatalf("%s is not among %d configs (error %d)", key, len(r.Configs), r.ErrorCode)
	panic("unreachable")
}

func TestTrap20DescribeConfigsOfATopic(t *testing.T) {
	r := newRig(t, "log.retention.minutes=5")
	r.topics[0].Configs = []metadata.Config{{Key: "cleanup.policy", Value: "delete"}}
	out := describeConfig(r, kmsg.ConfigResourceTypeTopic, "t")
	if out.ErrorCode != 0 || out.ResourceName != "t" || len(out.Configs) < 30 {
		t.Fatalf("error %d, %d configs", out.ErrorCode, len(out.Configs))
	}
	for _, c := range out.Configs {
		if c.ConfigType == 0 || c.Documentation == nil || c.ReadOnly || c.IsSensitive || c.Source < 1 || c.Value == nil {
			t.Errorf("%+v", c)
		}
	}
	if c := configOf(t, out, "cleanup.policy"); c.Source != 1 || *c.Value != "delete" || c.ConfigType != 7 || c.ConfigSynonyms[1].Name != "log.cleanup.policy" || c.ConfigSynonyms[1].Source != 5 {
		t.Errorf("a key set to its default is %+v", c)
	}
	c := configOf(t, out, "retention.ms")
	if c.Source != 4 || *c.Value != "300000" || c.ConfigType != 5 || c.ConfigSynonyms[0].Name != "log.retention.minutes" || *c.ConfigSynonyms[0].Value != "5" {
		t.Errorf("retention.ms is %+v", c)
	}
	if c := configOf(t, out, "segment.bytes"); c.Source != 5 {
		t.Errorf("a key that is not set has source %d", c.Source)
	}
	if some := describeConfig(r, kmsg.ConfigResourceTypeTopic, "t", "flush.ms", "no.such"); len(some.Configs) != 1 {
		t.Errorf("asked for one key, got %d", len(some.Configs))
	}
	if none := describeConfig(r, kmsg.ConfigResourceTypeTopic, "nothing"); none.ErrorCode != wire.UnknownTopicOrPartition {
		t.Errorf("unknown topic: error %d", none.ErrorCode)
	}
}

func TestTrap20DescribeConfigsOfBrokers(t *testing.T) {
	r := newRig(t, "num.partitions=6")
	out := describeConfig(r, kmsg.ConfigResourceTypeBroker, "1")
	for key, want := range map[string]string{"num.partitions": "6", "connections.max.reauth.ms": "0", "auto.create.topics.enable": "true"} {
		if c := configOf(t, out, key); c.Value == nil || *c.Value != want {
			t.Errorf("%s is %v", key, c.Value)
		}
	}
	if c := configOf(t, out, "advertised.listeners"); c.Value != nil || c.Source != 5 {
		t.Errorf("advertised.listeners is %+v", c)
	}
	if c := configOf(t, out, "num.partitions"); c.Source != 4 || !c.ReadOnly {
		t.Errorf("num.partitions is %+v", c)
	}
	for name, code := range map[string]int16{"2": wire.InvalidRequest, "x": wire.InvalidRequest, "": 0} {
		if got := describeConfig(r, kmsg.ConfigResourceTypeBroker, name); got.ErrorCode != code {
			t.Errorf("broker %q: error %d", name, got.ErrorCode)
		}
	}
	if got := describeConfig(r, kmsg.ConfigResourceTypeBrokerLogger, "1"); got.ErrorCode != wire.InvalidRequest {
		t.Errorf("loggers: error %d", got.ErrorCode)
	}
}

func incremental(r *rig, kind kmsg.ConfigResourceType, name string, changes ...kmsg.IncrementalAlterConfigsRequestResourceConfig) int16 {
	r.t.Helper()
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: changes}}
	return ask[*kmsg.IncrementalAlterConfigsResponse](r, 1, request).Resources[0].ErrorCode
}

func change(key string, op kmsg.IncrementalAlterConfigOp, value string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	return kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Op: op, Value: &value}
}

func TestTrap20IncrementalAlterConfigs(t *testing.T) {
	r := newRig(t, "")
	topic := kmsg.ConfigResourceTypeTopic
	for _, c := range []struct {
		name    string
		changes []kmsg.IncrementalAlterConfigsRequestResourceConfig
		code    int16
		want    string
	}{
		{"set", []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("retention.ms", 0, "9"), change("flush.ms", 0, "3")}, 0, "[{flush.ms 3} {retention.ms 9}]"},
		{"append", []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("cleanup.policy", 2, "compact")}, 0, "[{cleanup.policy delete,compact} {flush.ms 3} {retention.ms 9}]"},
		{"subtract", []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("cleanup.policy", 3, "delete")}, 0, "[{cleanup.policy compact} {flush.ms 3} {retention.ms 9}]"},
		{"append to a number", []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("flush.ms", 2, "3")}, wire.InvalidConfig, "[{cleanup.policy compact} {flush.ms 3} {retention.ms 9}]"},
		{"unknown operation", []kmsg.IncrementalAlterConfigsRequestResourceConfig{change("flush.ms", 7, "3")}, wire.InvalidRequest, "[{cleanup.policy compact} {flush.ms 3} {retention.ms 9}]"},
		{"null value", []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "flush.ms"}}, wire.InvalidRequest, "[{cleanup.policy compact} {flush.ms 3} {retention.ms 9}]"},
		{"delete", []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "flush.ms", Op: 1}}, 0, "[{cleanup.policy compact} {retention.ms 9}]"},
	} {
		if code := incremental(r, topic, "t", c.changes...); code != c.code {
			t.Errorf("%s: error %d, want %d", c.name, code, c.code)
		}
		if got := fmt.Sprint(r.topics[0].Configs); got != c.want {
			t.Errorf("%s: set is %s, want %s", c.name, got, c.want)
		}
	}
	if code := incremental(r, topic, "nothing", change("flush.ms", 0, "1")); code != wire.UnknownTopicOrPartition {
		t.Errorf("unknown topic: error %d", code)
	}
}

func TestTrap20AlterConfigsReplacesTheWholeSet(t *testing.T) {
	r := newRig(t, "")
	r.topics[0].Configs = []metadata.Config{{Key: "flush.ms", Value: "3"}, {Key: "retention.ms", Value: "9"}}
	value := "4"
	request := kmsg.NewPtrAlterConfigsRequest()
	request.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: "t", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "flush.ms", Value: &value}}}}
	request.ValidateOnly = true
	if out := ask[*kmsg.AlterConfigsResponse](r, 2, request); out.Resources[0].ErrorCode != 0 || len(r.topics[0].Configs) != 2 {
		t.Fatalf("validate-only: error %d, set %v", out.Resources[0].ErrorCode, r.topics[0].Configs)
	}
	request.ValidateOnly = false
	if out := ask[*kmsg.AlterConfigsResponse](r, 0, request); out.Resources[0].ErrorCode != 0 || fmt.Sprint(r.topics[0].Configs) != "[{flush.ms 4}]" {
		t.Fatalf("error %d, set %v", out.Resources[0].ErrorCode, r.topics[0].Configs)
	}
	request.Resources = append(request.Resources, request.Resources[0])
	for _, p := range ask[*kmsg.AlterConfigsResponse](r, 2, request).Resources {
		if p.ErrorCode != wire.InvalidRequest {
			t.Errorf("a resource named twice: error %d", p.ErrorCode)
		}
	}
}

func TestTrap20BrokerConfigsByIDAndEmptyDefault(t *testing.T) {
	r := newRig(t, "")
	broker := kmsg.ConfigResourceTypeBroker
	if code := incremental(r, broker, "", change("log.retention.ms", 0, "5000")); code != 0 {
		t.Fatalf("for all brokers: error %d", code)
	}
	all := describeConfig(r, broker, "")
	if len(all.Configs) != 1 || *all.Configs[0].Value != "5000" || all.Configs[0].Source != 3 {
		t.Fatalf("the default resource has %+v", all.Configs)
	}
	if c := configOf(t, describeConfig(r, kmsg.ConfigResourceTypeTopic, "t"), "retention.ms"); *c.Value != "5000" || c.Source != 3 {
		t.Errorf("a topic has %+v", c)
	}
	if code := incremental(r, broker, "1", change("log.retention.ms", 0, "7000")); code != 0 {
		t.Fatalf("for broker 1: error %d", code)
	}
	c := configOf(t, describeConfig(r, broker, "1"), "log.retention.ms")
	if *c.Value != "7000" || c.Source != 2 || c.ReadOnly || *c.ConfigSynonyms[1].Value != "5000" {
		t.Errorf("broker 1 has %+v", c)
	}
	if code := incremental(r, broker, "1", change("node.id", 0, "7")); code != wire.InvalidRequest {
		t.Errorf("a read-only key: error %d", code)
	}
	if code := incremental(r, broker, "2", change("log.retention.ms", 0, "7")); code != wire.InvalidRequest {
		t.Errorf("another broker: error %d", code)
	}
}

func TestDescribeCluster(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		r := newRig(t, "")
		request := kmsg.NewPtrDescribeClusterRequest()
		request.EndpointType, request.IncludeFencedBrokers, request.IncludeClusterAuthorizedOperations = 1, true, true
		out := ask[*kmsg.DescribeClusterResponse](r, version, request)
		want := 2
		if version == 2 {
			want = 3
		}
		if out.ErrorCode != 0 || out.ClusterID != "the-cluster" || out.ControllerID != 1 || len(out.Brokers) != want || *out.Brokers[0].Rack != "z1" || out.ClusterAuthorizedOperations != clusterOperations {
			t.Errorf("version %d: %+v", version, out)
		}
		if version == 2 && !out.Brokers[2].IsFenced {
			t.Error("broker 3 is not shown as fenced")
		}
	}
	for kind, code := range map[int8]int16{2: wire.MismatchedEndpointType, 9: wire.UnsupportedEndpointType} {
		request := kmsg.NewPtrDescribeClusterRequest()
		request.EndpointType = kind
		if out := ask[*kmsg.DescribeClusterResponse](newRig(t, ""), 1, request); out.ErrorCode != code {
			t.Errorf("endpoint type %d: error %d", kind, out.ErrorCode)
		}
	}
}

func TestTrap21DescribeTopicPartitionsPages(t *testing.T) {
	r := newRig(t, "")
	r.topics = []*metadata.Topic{r.newTopic("a", 1500, nil), r.newTopic("b", 3000, nil), r.newTopic("c", 1, nil)}
	var cursor *kmsg.DescribeTopicPartitionsRequestCursor
	var pages []string
	seen := map[string]int{}
	for range 10 {
		request := kmsg.NewPtrDescribeTopicPartitionsRequest()
		request.ResponsePartitionLimit, request.Cursor = 5000, cursor
		out := ask[*kmsg.DescribeTopicPartitionsResponse](r, 0, request)
		page := ""
		for _, topic := range out.Topics {
			page += fmt.Sprintf("%s:%d ", *topic.Topic, len(topic.Partitions))
			for _, p := range topic.Partitions {
				if int(p.Partition) != seen[*topic.Topic] {
					t.Fatalf("%s: partition %d after %d", *topic.Topic, p.Partition, seen[*topic.Topic])
				}
				seen[*topic.Topic]++
			}
		}
		pages = append(pages, strings.TrimSpace(page))
		if out.NextCursor == nil {
			break
		}
		cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: out.NextCursor.Topic, Partition: out.NextCursor.Partition}
	}
	if want := []string{"a:1500 b:500", "b:2000", "b:500 c:1"}; !slices.Equal(pages, want) {
		t.Fatalf("pages are %q, want %q", pages, want)
	}
}

func TestDescribeTopicPartitionsOfNames(t *testing.T) {
	r := newRig(t, "")
	request := kmsg.NewPtrDescribeTopicPartitionsRequest()
	request.ResponsePartitionLimit = 4
	request.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}, {Topic: "nothing"}, {Topic: "t"}, {Topic: "u/v"}, {Topic: "z"}}
	out := ask[*kmsg.DescribeTopicPartitionsResponse](r, 0, request)
	if len(out.Topics) != 2 || *out.Topics[0].Topic != "nothing" || out.Topics[0].ErrorCode != wire.UnknownTopicOrPartition || len(out.Topics[1].Partitions) != 4 {
		t.Fatalf("topics are %+v", out.Topics)
	}
	if out.NextCursor == nil || out.NextCursor.Topic != "u/v" || out.NextCursor.Partition != 0 {
		t.Fatalf("the cursor is %+v", out.NextCursor)
	}
	request.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "u/v", Partition: 0}
	if out = ask[*kmsg.DescribeTopicPartitionsResponse](r, 0, request); len(out.Topics) != 2 || out.Topics[0].ErrorCode != wire.InvalidTopic || out.NextCursor != nil {
		t.Fatalf("the second page is %+v", out)
	}
	request.Cursor.Partition = -1
	if out = ask[*kmsg.DescribeTopicPartitionsResponse](r, 0, request); out.Topics[0].ErrorCode != wire.InvalidRequest {
		t.Fatalf("a negative cursor: %+v", out.Topics)
	}
}

func TestTrap21DescribeLogDirs(t *testing.T) {
	for version := int16(1); version <= 5; version++ {
		r := newRig(t, "weir.data.dir=/var/weir")
		request := kmsg.NewPtrDescribeLogDirsRequest()
		out := ask[*kmsg.DescribeLogDirsResponse](r, version, request)
		if len(out.Dirs) != 1 || out.Dirs[0].Dir != "/var/weir" || len(out.Dirs[0].Topics) != 1 || len(out.Dirs[0].Topics[0].Partitions) != 3 {
			t.Errorf("version %d: %+v", version, out.Dirs)
		}
		total, usable := int64(-1), int64(-1)
		if version >= 4 {
			total, usable = 1000, 400
		}
		if got := out.Dirs[0]; got.TotalBytes != total || got.UsableBytes != usable {
			t.Errorf("version %d: %d of %d bytes are usable", version, got.UsableBytes, got.TotalBytes)
		}
		request.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "t", Partitions: []int32{1, 3, 1, 99}}, {Topic: "nothing", Partitions: []int32{0}}}
		out = ask[*kmsg.DescribeLogDirsResponse](r, version, request)
		if got := out.Dirs[0].Topics; len(got) != 1 || len(got[0].Partitions) != 1 || got[0].Partitions[0].Partition != 1 {
			t.Errorf("version %d: %+v", version, got)
		}
	}
}

func TestEveryAdminRequestReleasesItsFrame(t *testing.T) {
	eachServed(func(a *wire.API, version int16, request kmsg.Request) {
		if a.Key == 1 || version != a.Max {
			return
		}
		r := newRig(t, "")
		id := r.connect()
		frame := r.deliver(id, frameOf(request, 1))
		for range 3 {
			r.compute()
			r.pass(time.Hour)
		}
		r.wantFramesReleased(frame)
		if got := r.answered(id); len(got) != 1 {
			t.Errorf("key %d: answered %v, closed %v", a.Key, got, r.net.closed)
		}
	})
}

var (
	_ env.ConnHandler = (*Broker)(nil)
	_ env.Codec       = (*Codec)(nil)
)
