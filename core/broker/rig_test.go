package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/telemetry"
)

// sentFrame is a response as it went out, without its length.
type sentFrame struct {
	conn env.ConnID
	body []byte
}

// fakeNetwork keeps what the broker does. Sends complete at once unless held.
type fakeNetwork struct {
	rig      *rig
	sent     []sentFrame
	held     []*env.Send
	hold     bool
	muted    map[env.ConnID]bool
	closed   []env.ConnID
	aborted  int
	released map[*env.Frame]int
	deaf     bool // StopListening was called
}

func (n *fakeNetwork) Listen(*env.Listen)             {}
func (n *fakeNetwork) Dial(*env.Dial)                 {}
func (n *fakeNetwork) Release(f *env.Frame)           { n.released[f]++ }
func (n *fakeNetwork) SetCodec(env.ConnID, env.Codec) {}

func (n *fakeNetwork) Mute(id env.ConnID)        { n.muted[id] = true }
func (n *fakeNetwork) Unmute(id env.ConnID)      { n.muted[id] = false }
func (n *fakeNetwork) StopListening()            { n.deaf = true }
func (n *fakeNetwork) LimitConnections(int, int) {}
func (n *fakeNetwork) Send(s *env.Send) {
	body := bytes.Join(s.Message.Encode(nil), nil)
	n.sent = append(n.sent, sentFrame{s.Conn, body})
	n.held = append(n.held, s)
	if !n.hold {
		n.deliver()
	}
}

// deliver completes the sends, as events of their own.
func (n *fakeNetwork) deliver() {
	held := n.held
	n.held = nil
	for _, s := range held {
		n.rig.loop.Post(s.Deliver)
	}
}

func (n *fakeNetwork) Close(id env.ConnID, abort bool) {
	n.closed = append(n.closed, id)
	if abort {
		n.aborted++
	}
	n.rig.loop.Post(func() { n.rig.broker.Closed(id, nil) })
}

// fakeController keeps what it is asked; topics it makes appear in the rig's image.
type fakeController struct {
	rig       *rig
	deferring bool // answers wait for run
	pending   []func()
	asked     []string
	refuse    map[string]error // by topic
	alters    []controller.ConfigOp
	replace   bool
}

func (c *fakeController) later(f func()) {
	if c.deferring {
		c.pending = append(c.pending, f)
		return
	}
	f()
}

func (c *fakeController) run() {
	pending := c.pending
	c.pending = nil
	for _, f := range pending {
		f()
	}
}

func (c *fakeController) CreateTopics(topics []controller.NewTopic, validateOnly bool, done func([]controller.TopicResult)) {
	for _, n := range topics {
		c.asked = append(c.asked, "create "+n.Name)
	}
	c.later(func() {
		results := make([]controller.TopicResult, len(topics))
		for i, n := range topics {
			results[i] = controller.TopicResult{Name: n.Name, Err: c.refuse[n.Name]}
			if results[i].Err != nil {
				continue
			}
			count := max(n.Partitions, int32(len(n.Assignment)), 1)
			results[i].Topic = c.rig.newTopic(n.Name, int(count), n.Configs)
			if !validateOnly {
				c.rig.topics = append(c.rig.topics, results[i].Topic)
				slices.SortStableFunc(c.rig.topics, func(a, b *metadata.Topic) int { return strings.Compare(a.Name, b.Name) })
			}
		}
		done(results)
	})
}

func (c *fakeController) Settle(done func(error)) { done(nil) }

func (c *fakeController) DeleteTopics(ids []metadata.TopicID, done func([]controller.TopicResult)) {
	c.later(func() {
		results := make([]controller.TopicResult, len(ids))
		for i, id := range ids {
			c.rig.topics = slices.DeleteFunc(c.rig.topics, func(t *metadata.Topic) bool {
				if t.ID == id {
					results[i].Name, results[i].Err = t.Name, c.refuse[t.Name]
				}
				return t.ID == id
			})
		}
		done(results)
	})
}

func (c *fakeController) CreatePartitions(topic string, count int32, _ [][]int32, _ bool, done func(error)) {
	c.asked = append(c.asked, "grow "+topic)
	c.later(func() { done(c.refuse[topic]) })
}

func (c *fakeController) AlterTopicConfigs(topic string, ops []controller.ConfigOp, replace, validateOnly bool, done func(error)) {
	c.asked, c.alters, c.replace = append(c.asked, "alter "+topic), ops, replace
	c.later(func() {
		t, _ := c.rig.Topic(topic)
		next, err := c.rig.broker.settings.AlterTopic(config.Overrides(t.Configs), opsOf(ops), replace)
		if err == nil && !validateOnly {
			t.Configs = nil
			for _, o := range next {
				t.Configs = append(t.Configs, metadata.Config(o))
			}
		}
		done(err)
	})
}

func (c *fakeController) AlterBrokerConfigs(id metadata.BrokerID, ops []controller.ConfigOp, replace, validateOnly bool, done func(error)) {
	next, err := c.rig.broker.settings.AlterBroker(config.Overrides(c.rig.BrokerConfigs(id)), opsOf(ops), replace)
	if err == nil && !validateOnly {
		c.rig.brokerConfigs[id] = nil
		for _, o := range next {
			c.rig.brokerConfigs[id] = append(c.rig.brokerConfigs[id], metadata.Config(o))
		}
		c.rig.broker.settings.SetDynamic(config.Overrides(c.rig.BrokerConfigs(1)), config.Overrides(c.rig.BrokerConfigs(-1)))
	}
	done(err)
}

func (c *fakeController) AlterGroupConfigs(group string, ops []controller.ConfigOp, replace, validateOnly bool, done func(error)) {
	next, err := c.rig.broker.settings.AlterGroup(config.Overrides(c.rig.groupConfigs[group]), opsOf(ops), replace)
	if err == nil && !validateOnly {
		c.rig.groupConfigs[group] = nil
		for _, o := range next {
			c.rig.groupConfigs[group] = append(c.rig.groupConfigs[group], metadata.Config(o))
		}
	}
	done(err)
}

func (c *fakeController) UpdateFeatures(updates []controller.FeatureUpdate, validateOnly bool, done func(error)) {
	for _, u := range updates {
		c.asked = append(c.asked, fmt.Sprint("feature ", u.Name, " ", u.Level, " ", u.Type, " ", validateOnly))
	}
	c.later(func() { done(c.refuse["feature"]) })
}

func (c *fakeController) AllocateProducerIDs(done func(first, count int64, err error)) {
	c.later(func() { done(1000, 10, nil) })
}

func (c *fakeController) TrimStream(_ metadata.StreamID, _ int64, done func(error)) {
	c.later(func() { done(nil) })
}

// rig is a whole broker over fakes: frames in, frames out.
type rig struct {
	*dataRig
	net           *fakeNetwork
	controller    *fakeController
	cluster       *fakeCluster
	broker        *Broker
	codec         *Codec
	brokers       []*metadata.Broker
	brokerConfigs map[metadata.BrokerID][]metadata.Config
	groupConfigs  map[string][]metadata.Config
	features      []metadata.Feature // beside weir's own
	ids           byte
	conns         env.ConnID
	correlation   int32
	computing     bool // what was computed waits in work
}

func (r *rig) Brokers() []*metadata.Broker { return r.brokers }
func (r *rig) ClusterID() string           { return "the-cluster" }
func (r *rig) Features() []metadata.Feature {
	return append(r.features, metadata.Feature{Name: controller.MetadataFeature, Level: 1})
}
func (r *rig) AppliedIndex() uint64 { return 9 }
func (r *rig) Replicas(dst []int32, t *metadata.Topic, p *metadata.Partition) ([]int32, int) {
	if b, ok := r.Broker(p.Leader); !ok || b.Fenced {
		return append(dst, int32(p.Leader)), 0
	}
	return append(dst, int32(p.Leader)), 1
}

func (r *rig) BrokerConfigs(id metadata.BrokerID) []metadata.Config {
	return r.brokerConfigs[id]
}

func (r *rig) GroupConfigs(group string) ([]metadata.Config, uint64) { return r.groupConfigs[group], 0 }

func (r *rig) ConfiguredGroups(visit func(group string)) {
	for _, group := range slices.Sorted(maps.Keys(r.groupConfigs)) {
		if len(r.groupConfigs[group]) > 0 {
			visit(group)
		}
	}
}

func (r *rig) Broker(id metadata.BrokerID) (*metadata.Broker, bool) {
	for _, b := range r.brokers {
		if b.ID == id {
			return b, true
		}
	}
	return nil, false
}

// newTopic makes a topic led by broker 1.
func (r *rig) newTopic(name string, partitions int, configs []metadata.Config) *metadata.Topic {
	r.ids++
	t := &metadata.Topic{ID: metadata.TopicID{100, r.ids}, Name: name, Configs: configs}
	for i := range partitions {
		t.Partitions = append(t.Partitions, metadata.Partition{Index: int32(i), Stream: metadata.StreamID(1000*int(r.ids) + i), Leader: 1, LeaderEpoch: 3})
	}
	return t
}

// newRig has the data rig's topic t (partitions 0 to 2 led by broker 1, 3 by broker
// 2), brokers 1 in z1 and 2 in z2, both on listener CLIENTS, and 3, which is fenced.
func newRig(t *testing.T, file string) *rig {
	t.Helper()
	settings, err := config.Load([]byte(file), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{dataRig: newDataRig(t), brokerConfigs: map[metadata.BrokerID][]metadata.Config{}, groupConfigs: map[string][]metadata.Config{}, features: []metadata.Feature{{Name: controller.GroupFeature, Level: 1}}}
	r.net = &fakeNetwork{rig: r, muted: map[env.ConnID]bool{}, released: map[*env.Frame]int{}}
	r.controller = &fakeController{rig: r, refuse: map[string]error{}}
	r.cluster = newFakeCluster(r)
	for i, rack := range []string{"z1", "z2", ""} {
		id := metadata.BrokerID(i + 1)
		r.brokers = append(r.brokers, &metadata.Broker{
			ID: id, Rack: rack, Fenced: id == 3,
			Listeners: []metadata.Endpoint{{Listener: "CLIENTS", Host: "host" + string(rune('0'+id)), Port: 9000 + int32(id)}},
		})
	}
	r.broker = New(Options{
		Loop: r.loop, Env: env.Env{Clock: r, Rand: r, Compute: computer{r}, Network: r.net, WAL: fakeDisk{rig: r}}, Telemetry: telemetry.New(nil, nil),
		Config: settings.Broker(), Settings: settings, Image: r, Cluster: r.cluster, Controller: r.controller, Partitions: r.plane.partitions,
	})
	r.codec = r.broker.Codec()
	return r
}

// computer computes at once, and delivers in the next turn unless the rig holds that back.
type computer struct{ rig *rig }

func (c computer) Submit(w *env.Compute) {
	w.Work()
	if c.rig.computing {
		c.rig.work = append(c.rig.work, w)
		return
	}
	c.rig.loop.Post(w.Deliver)
}

// fakeDisk only has room.
type fakeDisk struct {
	env.Disk
	rig *rig
}

func (d fakeDisk) Space(o *env.DiskSpace) {
	o.TotalBytes, o.UsableBytes = 1000, 400
	d.rig.loop.Post(o.Deliver)
}

// connect opens a connection.
func (r *rig) connect() env.ConnID { return r.connectFrom("10.0.0.1:1") }

func (r *rig) connectFrom(remote string) env.ConnID {
	r.conns++
	r.broker.Opened(r.conns, env.ConnInfo{Listener: "CLIENTS", Remote: remote})
	r.turn()
	return r.conns
}

// frameOf encodes a request as a client does, without the length.
func frameOf(request kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("tester")).AppendRequest(nil, request, correlation)[4:]
}

// deliver hands a frame to the broker as the world does.
func (r *rig) deliver(id env.ConnID, data []byte) *env.Frame {
	r.t.Helper()
	if err := r.codec.Admit(len(data), data[:min(8, len(data))]); err != nil {
		r.t.Fatalf("the frame is not admitted: %v", err)
	}
	message, err := r.codec.Decode(data)
	if err != nil {
		r.t.Fatalf("the frame is not decoded: %v", err)
	}
	frame := &env.Frame{Data: data}
	r.broker.Received(id, message, frame)
	r.turn()
	return frame
}

// send sends a request and returns its correlation id.
func (r *rig) send(id env.ConnID, request kmsg.Request) int32 {
	r.t.Helper()
	r.correlation++
	r.deliver(id, frameOf(request, r.correlation))
	return r.correlation
}

// ask sends a request at a version on a connection of its own and returns the
// answer.
func ask[R kmsg.Response](r *rig, version int16, request kmsg.Request) R {
	r.t.Helper()
	request.SetVersion(version)
	id := r.connect()
	correlation := r.send(id, request)
	return answerOf[R](r, id, correlation, request)
}

// answerOf decodes the answer to a request.
func answerOf[R kmsg.Response](r *rig, id env.ConnID, correlation int32, request kmsg.Request) R {
	r.t.Helper()
	for _, s := range r.net.sent {
		if s.conn != id || int32(binary.BigEndian.Uint32(s.body)) != correlation {
			continue
		}
		body := s.body[4:]
		if request.IsFlexible() && request.Key() != apiVersionsKey {
			if body[0] != 0 {
				r.t.Fatalf("the response header has tags: %x", body[0])
			}
			body = body[1:]
		}
		response := request.ResponseKind()
		if err := response.ReadFrom(body); err != nil {
			r.t.Fatalf("the answer does not decode: %v", err)
		}
		return response.(R)
	}
	r.t.Fatalf("request %d of connection %d has no answer; closed: %v", correlation, id, r.net.closed)
	panic("unreachable")
}

// answered lists the correlation ids answered on a connection, in order.
func (r *rig) answered(id env.ConnID) (ids []int32) {
	for _, s := range r.net.sent {
		if s.conn == id {
			ids = append(ids, int32(binary.BigEndian.Uint32(s.body)))
		}
	}
	return ids
}

// wantFramesReleased checks that every frame given was released once.
func (r *rig) wantFramesReleased(frames ...*env.Frame) {
	r.t.Helper()
	for i, f := range frames {
		if r.net.released[f] != 1 {
			r.t.Errorf("frame %d was released %d times", i, r.net.released[f])
		}
	}
}

func produceOf(topic string, acks int16, partitions ...int32) *kmsg.ProduceRequest {
	p := kmsg.NewPtrProduceRequest()
	p.Version, p.Acks, p.TimeoutMillis = 9, acks, 1000
	pt := kmsg.NewProduceRequestTopic()
	pt.Topic = topic
	for _, index := range partitions {
		pp := kmsg.NewProduceRequestTopicPartition()
		pp.Partition, pp.Records = index, batchOf(0, 1)
		pt.Partitions = append(pt.Partitions, pp)
	}
	p.Topics = append(p.Topics, pt)
	return p
}

func fetchOf(wait time.Duration) *kmsg.FetchRequest {
	f := kmsg.NewPtrFetchRequest()
	f.Version, f.MaxWaitMillis, f.MinBytes, f.MaxBytes = 11, int32(wait.Milliseconds()), 1, 1<<20
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic = "t"
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.PartitionMaxBytes, fp.CurrentLeaderEpoch = 1<<20, -1
	ft.Partitions = append(ft.Partitions, fp)
	f.Topics = append(f.Topics, ft)
	f.SessionEpoch = -1
	return f
}
