package client

import (
	"fmt"
	"time"

	"weir/core/wire"
	"weir/sim/checker"
	"weir/sim/event"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OperatorOptions configure an operator.
type OperatorOptions struct {
	// Topic is its own: no other client changes it, or writes to it while the operator works.
	Topic *Topic
	// BatchBytes is the largest batch that the topic accepts by default, RoomBytes the
	// largest that the broker can store.
	BatchBytes, RoomBytes int
	// Pause is the mean time between two operations; each is drawn from 0 to twice that.
	Pause time.Duration
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
	// Voters says whether it removes voters of the metadata's quorum, too.
	Voters bool
}

// Operator changes the configuration and the partitions of a topic and of the
// cluster, one change at a time. It checks that each change is in force once it is
// acknowledged: by what is described, which batches are accepted, and who sets timestamps.
type Operator struct {
	session
	options OperatorOptions
	set     map[string]string // the topic's own values, as acknowledged
	cluster string            // message.max.bytes of all brokers; empty: as configured
	next    func()            // a change without an answer, to be given again
	ending  bool
	checked bool       // since End or Verify
	absent  event.Time // since when DescribeLogDirs lacks an acknowledged partition; 0: it does not
}

// NewOperator makes an operator; Start starts it.
func NewOperator(c *Cluster, client int, options OperatorOptions) *Operator {
	o := &Operator{options: options, set: map[string]string{}}
	o.init(c, client, o)
	o.lag = options.Lag
	options.Topic.byBroker = true
	return o
}

// Start connects and begins.
func (o *Operator) Start() { o.connect() }

// End stops new changes; what is in force is checked once more.
func (o *Operator) End() { o.ending, o.checked = true, o.checked && !o.whole() }

// Verify checks once more what is in force, after [Operator.End].
func (o *Operator) Verify() {
	o.checked = o.checked && !o.whole()
	if o.up {
		o.step()
	}
}

// Idle reports whether what is in force was checked.
func (o *Operator) Idle() bool { return o.checked }

// Stop ends the client.
func (o *Operator) Stop() { o.stop() }

// lateMax is how long a request of a lost connection may still be under way.
const lateMax = 8 * time.Second

func (o *Operator) sessionUp() {
	if !o.whole() {
		o.checked = true // a stand-in has no configuration
		return
	}
	o.learn([]*Topic{o.options.Topic}, func(known bool) {
		switch {
		case !known:
			o.after(100*time.Millisecond, o.sessionUp)
		case o.next != nil:
			o.after(lateMax, o.next) // not before the lost one, if that still arrives
		default:
			o.step()
		}
	})
}

func (o *Operator) pause() { o.after(o.draws.Duration(0, 2*o.options.Pause), o.step) }

func (o *Operator) step() {
	switch {
	case o.ending && o.checked:
	case o.ending:
		o.describe(func() { o.checked = true; o.step() })
	default:
		o.act()
	}
}

func (o *Operator) act() {
	switch o.draws.Below(13) {
	case 0, 1, 2:
		o.alterTopic()
	case 3:
		o.alterCluster()
	case 4:
		o.grow()
	case 5:
		o.describe(o.pause)
	case 6:
		o.survey()
	case 7:
		o.page(nil, 0)
	case 8:
		o.producerID()
	case 9, 10:
		o.askTools()
	default:
		o.write()
	}
}

// alterTopic sets or deletes one of the topic's keys.
func (o *Operator) alterTopic() {
	wanted := map[string]string{}
	for key, value := range o.set {
		wanted[key] = value
	}
	var key string
	switch o.draws.Below(4) {
	case 0:
		key = "max.message.bytes"
		wanted[key] = fmt.Sprint(o.draws.Between(500, int64(o.options.BatchBytes)))
	case 1:
		key = "message.timestamp.type"
		wanted[key] = "LogAppendTime"
	case 2:
		key = "retention.ms"
		wanted[key] = "-1"
	default:
		key = [...]string{"max.message.bytes", "message.timestamp.type", "retention.ms"}[o.draws.Below(3)]
		delete(wanted, key)
	}
	if o.draws.PerMille(300) {
		o.change(func(done func(code int16)) { o.replaceConfigs(wanted, done) }, func() { o.set = wanted })
		return
	}
	value, set := wanted[key]
	o.change(func(done func(code int16)) {
		o.alter(kmsg.ConfigResourceTypeTopic, o.options.Topic.Name, key, value, set, done)
	}, func() { o.set = wanted })
}

// alterCluster changes the default of max.message.bytes, which topics without a value of
// their own follow: other producers still send what was allowed before.
func (o *Operator) alterCluster() {
	value := ""
	if o.draws.PerMille(600) {
		value = fmt.Sprint(o.options.BatchBytes + int(o.draws.Between(1, 5000)))
	}
	o.change(func(done func(code int16)) {
		o.alter(kmsg.ConfigResourceTypeBroker, "", "message.max.bytes", value, value != "", done)
	}, func() { o.cluster = value })
}

// change gives a change until it is acknowledged, and then notes it.
func (o *Operator) change(give func(done func(code int16)), note func()) {
	o.next = func() {
		give(func(code int16) {
			switch {
			case code != 0 && o.ending && o.leaves(code):
				return
			case code != 0:
				o.after(50*time.Millisecond, o.next)
				return
			}
			o.next = nil
			note()
			o.write()
		})
	}
	o.next()
}

// alter is IncrementalAlterConfigs of one key.
func (o *Operator) alter(kind kmsg.ConfigResourceType, name, key, value string, set bool, done func(code int16)) {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Op = key, kmsg.IncrementalAlterConfigOpDelete
	if set {
		config.Op, config.Value = kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(value)
	}
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kind, name
	resource.Configs = append(resource.Configs, config)
	r.Resources = append(r.Resources, resource)
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		if v := response.(*kmsg.IncrementalAlterConfigsResponse); len(v.Resources) == 1 {
			o.acceptable("IncrementalAlterConfigs of "+key, v.Resources[0].ErrorCode)
			done(v.Resources[0].ErrorCode)
		}
	})
}

// replaceConfigs is AlterConfigs: what is not named goes back to its default.
func (o *Operator) replaceConfigs(values map[string]string, done func(code int16)) {
	r := kmsg.NewPtrAlterConfigsRequest()
	resource := kmsg.NewAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, o.options.Topic.Name
	for _, key := range operatorKeys {
		if value, set := values[key]; set {
			config := kmsg.NewAlterConfigsRequestResourceConfig()
			config.Name, config.Value = key, kmsg.StringPtr(value)
			resource.Configs = append(resource.Configs, config)
		}
	}
	r.Resources = append(r.Resources, resource)
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		if v := response.(*kmsg.AlterConfigsResponse); len(v.Resources) == 1 {
			o.acceptable("AlterConfigs", v.Resources[0].ErrorCode)
			done(v.Resources[0].ErrorCode)
		}
	})
}

// operatorKeys are the topic's keys that an operator changes, and their order.
var operatorKeys = []string{"max.message.bytes", "message.timestamp.type", "retention.ms"}

func (o *Operator) acceptable(what string, code int16) {
	if code == wire.InvalidConfig || code == wire.UnsupportedVersion || code == wire.UnknownTopicOrPartition {
		o.fail("config", "%s of client %d was answered %s", what, o.client, checker.CodeName(code))
	}
}

// describe checks that what was acknowledged is described.
func (o *Operator) describe(done func()) {
	r := kmsg.NewPtrDescribeConfigsRequest()
	topic := kmsg.NewDescribeConfigsRequestResource()
	topic.ResourceType, topic.ResourceName = kmsg.ConfigResourceTypeTopic, o.options.Topic.Name
	cluster := kmsg.NewDescribeConfigsRequestResource()
	cluster.ResourceType = kmsg.ConfigResourceTypeBroker
	r.Resources = append(r.Resources, topic, cluster)
	r.IncludeSynonyms, r.IncludeDocumentation = o.draws.PerMille(300), o.draws.PerMille(300)
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DescribeConfigsResponse)
		if len(v.Resources) != 2 || v.Resources[0].ErrorCode != 0 || v.Resources[1].ErrorCode != 0 {
			o.after(100*time.Millisecond, o.step)
			return
		}
		inForce := o.described(&v.Resources[1], "message.max.bytes", o.cluster)
		for _, key := range operatorKeys {
			inForce = o.described(&v.Resources[0], key, o.set[key]) && inForce
		}
		switch {
		case !inForce && o.ending && o.routes != nil:
			o.drop() // who is asked may hear nobody any more: the next connection is to another broker
			return
		case !inForce:
			o.after(100*time.Millisecond, o.step)
			return
		}
		done()
	})
}

// described checks one key: set to a value, or left to its default. In a cluster the broker may lag behind, for a while.
func (o *Operator) described(resource *kmsg.DescribeConfigsResponseResource, key, want string) bool {
	got := ""
	for i := range resource.Configs {
		c := &resource.Configs[i]
		own := c.Source == kmsg.ConfigSourceDynamicTopicConfig || c.Source == kmsg.ConfigSourceDynamicDefaultBrokerConfig && resource.ResourceName == ""
		if c.Name == key && c.Value != nil && own {
			got = *c.Value
		}
	}
	if got != want && !o.Several {
		o.fail("config", "client %d: %s of %q is described as %q, and was set to %q", o.client, key, resource.ResourceName, got, want)
	}
	return got == want
}

// batchBytesMax is what the topic takes now.
func (o *Operator) batchBytesMax() int {
	limit, text := o.options.BatchBytes, o.set["max.message.bytes"]
	if text == "" {
		text = o.cluster
	}
	if text != "" {
		fmt.Sscan(text, &limit)
	}
	return limit
}

// write sends a batch about as large as the topic takes, or a little larger, and checks
// what becomes of it.
func (o *Operator) write() {
	limit := o.batchBytesMax()
	p := o.options.Topic.Partitions[0]
	spec := batchSpec{
		tag: p.tag, id: int32(len(p.History.Appends)), records: 1, valueSize: int(o.draws.Between(20, 100)),
		producer: -1, epoch: -1, sequence: -1, timestamp: o.wallMillis() - 1_000_000,
	}
	if o.draws.PerMille(400) && limit+100 < o.options.RoomBytes {
		spec.valueSize = limit + int(o.draws.Between(-headerBytes-recordOverhead-50, 50))
	}
	records := appendBatch(nil, &spec)
	p.History.Appends = append(p.History.Appends, spec.append(o.client, o.Stamp()))
	p.History.Appends[spec.id].Bytes = int64(len(records))
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 3000
	addProduce(r, p, records)
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		o.wrote(p, spec.id, response.(*kmsg.ProduceResponse), len(records) > limit)
		o.pause()
	})
}

func (o *Operator) wrote(p *Partition, id int32, v *kmsg.ProduceResponse, excess bool) {
	code, base, ok := findProduced(v, p)
	a := &p.History.Appends[id]
	switch {
	case !ok:
		o.fail("protocol", "no answer for %s in a produce response", p.History.Name)
		return
	case (code == 0 && excess || code == wire.MessageTooLarge && !excess) && !o.Several: // the leader may not have applied it yet
		o.fail("config", "%s: a batch of %d bytes was answered %s, where max.message.bytes is %d (the topic's is %q, the cluster's %q)",
			p.History.Name, a.Bytes, checker.CodeName(code), o.batchBytesMax(), o.set["max.message.bytes"], o.cluster)
	case code == 0:
		a.Outcome, a.Return, a.Base = checker.Done, o.Stamp(), base
		o.Acked++
		byBroker, wanted := v.Topics[0].Partitions[0].LogAppendTime >= 0, o.set["message.timestamp.type"] == "LogAppendTime"
		if byBroker != wanted && !o.Several {
			o.fail("config", "%s: a batch was stored with LogAppendTime %v, where message.timestamp.type is %q", p.History.Name, byBroker, o.set["message.timestamp.type"])
		}
	}
	a.Code = code
	if definite(code) {
		a.Outcome, a.Return = checker.Failed, o.Stamp()
	}
}

// partitionsMax bounds the partitions of an operator's topic.
const partitionsMax = 5

// grow adds a partition, or asks whether it could.
func (o *Operator) grow() {
	t := o.options.Topic
	if len(t.Partitions) >= partitionsMax {
		o.pause()
		return
	}
	r := kmsg.NewPtrCreatePartitionsRequest()
	r.TimeoutMillis, r.ValidateOnly = 3000, o.draws.PerMille(200)
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = t.Name, int32(len(t.Partitions)+1)
	r.Topics = append(r.Topics, topic)
	if !r.ValidateOnly {
		t.asked = int(topic.Count)
	}
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.CreatePartitionsResponse)
		if len(v.Topics) != 1 {
			o.fail("protocol", "a new partition of one topic answered with %d", len(v.Topics))
			return
		}
		if v.Topics[0].ErrorCode == 0 && !r.ValidateOnly {
			t.acked = int(topic.Count)
			o.extend(t, t.acked)
		}
		// The answer and the metadata agree from here on.
		o.learn([]*Topic{t}, func(bool) { o.pause() })
	})
}

// survey asks what describes the cluster, and checks that it knows the topic.
func (o *Operator) survey() {
	t := o.options.Topic
	dirs := kmsg.NewPtrDescribeLogDirsRequest()
	topic := kmsg.NewDescribeLogDirsRequestTopic()
	topic.Topic = t.Name
	for _, p := range t.Partitions {
		topic.Partitions = append(topic.Partitions, p.Index)
	}
	dirs.Topics = append(dirs.Topics, topic)
	if o.draws.PerMille(500) {
		dirs.Topics = nil // all
	}
	o.request(dirs, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		found := 0
		for _, d := range response.(*kmsg.DescribeLogDirsResponse).Dirs {
			for _, topic := range d.Topics {
				if topic.Topic == t.Name {
					found = len(topic.Partitions)
				}
			}
		}
		o.checkOpen(found)
		o.request(kmsg.NewPtrDescribeClusterRequest(), func(response kmsg.Response, err error) {
			if err != nil {
				return
			}
			// Of several brokers all may be fenced at once: each was silent for longer than its session.
			if v := response.(*kmsg.DescribeClusterResponse); v.ErrorCode != 0 || len(v.Brokers) == 0 && !o.Several {
				o.fail("protocol", "DescribeCluster answered %s, %d brokers", checker.CodeName(v.ErrorCode), len(v.Brokers))
			}
			o.pause()
		})
	})
}

// openLimit is how long a partition that the metadata show may take to open: its range must be shipped (R19), which
// waits for the object store.
const openLimit = 60 * time.Second

// checkOpen fails if acknowledged partitions have been absent from DescribeLogDirs for too long.
func (o *Operator) checkOpen(found int) {
	t, now := o.options.Topic, o.Queue.Now()
	if o.Several {
		return // each broker lists its own
	}
	switch {
	case found >= len(t.Partitions):
		o.absent = 0
	case o.absent == 0:
		o.absent = now
	case now-o.absent > event.Time(openLimit):
		o.fail("I11", "client %d: DescribeLogDirs lists %d partitions of %s, %d were acknowledged %v ago", o.client, found, t.Name, len(t.Partitions),
			time.Duration(now-o.absent))
	}
}

// page lists the topic by DescribeTopicPartitions, one partition a page.
func (o *Operator) page(cursor *kmsg.DescribeTopicPartitionsRequestCursor, seen int) {
	t := o.options.Topic
	r := kmsg.NewPtrDescribeTopicPartitionsRequest()
	topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
	topic.Topic = t.Name
	r.Topics, r.ResponsePartitionLimit, r.Cursor = append(r.Topics, topic), 1, cursor
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DescribeTopicPartitionsResponse)
		for i := range v.Topics {
			for j := range v.Topics[i].Partitions {
				if got := v.Topics[i].Partitions[j].Partition; int(got) != seen {
					o.fail("protocol", "client %d: partition %d of %s is listed behind %d others", o.client, got, t.Name, seen)
				}
				seen++
			}
		}
		if v.NextCursor != nil && seen <= partitionsMax {
			next := kmsg.NewDescribeTopicPartitionsRequestCursor()
			next.Topic, next.Partition = v.NextCursor.Topic, v.NextCursor.Partition
			o.page(&next, seen)
			return
		}
		o.checkCount(t, seen)
		o.pause()
	})
}

// producerID asks for a producer id, as a producer does that starts.
func (o *Operator) producerID() {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.ProducerID, r.ProducerEpoch = -1, -1
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		if v := response.(*kmsg.InitProducerIDResponse); v.ErrorCode == 0 {
			o.noteProducer(o.client, v.ProducerID)
		}
		o.pause()
	})
}
