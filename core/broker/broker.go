package broker

import (
	"strings"
	"time"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/group"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/txn"
	"weir/core/wire"
)

// Image is what the broker needs of the cluster's metadata: a *metadata.Image.
// Nothing of what it returns is kept across events.
type Image interface {
	Topics() []*metadata.Topic
	Topic(name string) (*metadata.Topic, bool)
	TopicByID(id metadata.TopicID) (*metadata.Topic, bool)
	Brokers() []*metadata.Broker
	Broker(id metadata.BrokerID) (*metadata.Broker, bool)
	BrokerConfigs(id metadata.BrokerID) []metadata.Config
	GroupConfigs(group string) ([]metadata.Config, uint64)
	ConfiguredGroups(visit func(group string))
	ClusterID() string
	Features() []metadata.Feature
	AppliedIndex() uint64
	Replicas(dst []int32, t *metadata.Topic, p *metadata.Partition) (replicas []int32, isr int)
}

// Controller is what the broker needs of the cluster's controller: a
// *controller.Controller. Each done is called once, on the loop, after what was
// asked has been applied to the image, unless the node ends.
type Controller interface {
	CreateTopics(topics []controller.NewTopic, validateOnly bool, done func([]controller.TopicResult))
	DeleteTopics(ids []metadata.TopicID, done func([]controller.TopicResult))
	CreatePartitions(topic string, count int32, assignment [][]int32, validateOnly bool, done func(error))
	AlterTopicConfigs(topic string, ops []controller.ConfigOp, replace, validateOnly bool, done func(error))
	// AlterBrokerConfigs changes the configuration of one broker, or with ID -1 of all.
	AlterBrokerConfigs(id metadata.BrokerID, ops []controller.ConfigOp, replace, validateOnly bool, done func(error))
	AlterGroupConfigs(group string, ops []controller.ConfigOp, replace, validateOnly bool, done func(error))
	AllocateProducerIDs(done func(first, count int64, err error))
	UpdateFeatures(updates []controller.FeatureUpdate, validateOnly bool, done func(error))
	TrimStream(stream metadata.StreamID, logStart int64, done func(error))
	// Settle calls done when an answer from the image as it is now cannot be undone any more, or with
	// the error that this cannot be awaited.
	Settle(done func(error))
}

// Options are what a Broker needs. All are required unless nil is named.
type Options struct {
	// Loop runs the broker.
	Loop *task.Loop
	// Env gives the network, the log's disk (for DescribeLogDirs), the clock and random
	// numbers.
	Env env.Env
	// Telemetry takes lines, marks and metrics.
	Telemetry *telemetry.Registry
	// Config is the broker's configuration; it may change in place.
	Config *config.Broker
	// Settings validates and lists configurations. In production, Config is what its
	// Broker returns; the simulator's Config has sizes that Settings would refuse.
	Settings *config.Settings
	// Image answers requests about metadata.
	Image Image
	// Cluster asks the other nodes.
	Cluster Cluster
	// Controller makes changes of the metadata.
	Controller Controller
	// Partitions are those that this broker leads.
	Partitions *partition.Manager
	// Groups runs group coordinators, whose machines are *group.Machine. Nil: none.
	Groups *coordinator.Runtime
	// Transactions is the transaction coordinator. Nil: none.
	Transactions *txn.Coordinator
	// Verifier asks transaction coordinators. Needed where producers use transactional ids.
	Verifier TransactionVerifier
	// Features are those that this release serves. Nil: controller.Features.
	Features []controller.Feature
	// AwaitApplied calls done once the coordinator of a partition of an internal topic has applied everything below end,
	// which is durable, or with a code if it cannot. Nil: there are no coordinators.
	AwaitApplied func(topic string, index int32, end int64, done func(wire.Code))
}

// Broker answers Kafka requests. It is called on the loop only.
type Broker struct {
	loop       *task.Loop
	net        env.Network
	telemetry  *telemetry.Registry
	config     *config.Broker
	settings   *config.Settings
	disk       env.Disk // that of the write-ahead log
	image      Image
	cluster    Cluster
	clock      env.Clock
	controller Controller
	features   []controller.Feature
	partitions *partition.Manager
	groups     *coordinator.Runtime

	transactions *txn.Coordinator
	creating     map[string]bool // internal topics; lookups only
	data         *dataPlane
	turnstile    turnstile
	byID         map[env.ConnID]*conn // lookups only
	conns        []*conn              // in the order of opening, but for the last taking a closed one's place
	counts       counts
	draining     bool
	drained      func()
	drainTimer   task.Timer
}

// New returns a broker that answers on every listener it is made the handler of.
func New(o Options) *Broker {
	if o.Features == nil {
		o.Features = controller.Features
	}
	b := &Broker{
		loop: o.Loop, net: o.Env.Network, telemetry: o.Telemetry,
		config: o.Config, settings: o.Settings, disk: o.Env.WAL, image: o.Image, cluster: o.Cluster, clock: o.Env.Clock, controller: o.Controller, features: o.Features, partitions: o.Partitions,
		groups: o.Groups, transactions: o.Transactions, creating: map[string]bool{},
		byID: make(map[env.ConnID]*conn), counts: newCounts(o.Telemetry),
	}
	b.data = &dataPlane{
		loop: o.Loop, env: o.Env, image: o.Image, partitions: o.Partitions,
		transactions: o.Transactions, verifier: o.Verifier, unverified: map[askedProducer]int{}, awaitApplied: o.AwaitApplied,
		trim: o.Controller.TrimStream, allocate: o.Controller.AllocateProducerIDs,
		coordinatorEpoch: func() int32 { return lowestLeaderEpoch(o.Image, txn.Topic) },
		telemetry:        o.Telemetry, operators: telemetry.NewLimiter(operatorsInterval),
		strangeMarkers: o.Telemetry.Counter("weir_markers_refused_total", "Markers of transactions refused since no coordinator has their epoch: a client that is no coordinator wrote them."),
		sessions:       newFetchSessions(o.Config.FetchSessionSlots, o.Env.Rand),
		fetchMaxBytes:  int(o.Config.FetchMaxBytes),
		held:           newHeldAnswers(o.Config.QueuedMaxRequestBytes),
		late:           newLateReads(o.Loop, o.Config.QueuedMaxRequestBytes, o.Telemetry.Mark("fetch: a late read was served")),
	}
	b.data.moved = o.Telemetry.Mark("fetch: waited for a partition to be handed over")
	b.data.arrivals = newArrivals(b.data, o.Telemetry.Mark("produce: a batch waited for its partition to be handed over"))
	b.turnstile = newTurnstile(o, &b.data.held)
	return b
}

// operatorsInterval is the shortest time between two log lines of one kind.
const operatorsInterval = time.Minute

// NewProducerID calls done with a producer id that was never given before, or with the code for a client.
func (b *Broker) NewProducerID(done func(id int64, code wire.Code)) { b.data.newProducerID(done) }

// Codec returns the codec for the broker's listeners.
func (b *Broker) Codec() *Codec { return &Codec{ProduceBytesMax: int(b.config.SocketRequestMaxBytes)} }

// Opened implements env.ConnHandler.
func (b *Broker) Opened(id env.ConnID, info env.ConnInfo) {
	c := &conn{id: id, broker: b, info: info, address: hostOf(info.Remote), index: len(b.conns)}
	b.byID[id] = c
	b.conns = append(b.conns, c)
	b.counts.connections.Set(int64(len(b.conns)))
	if b.draining {
		c.hangUp(false)
	}
}

// hostOf is host:port without the port.
func hostOf(address string) string {
	if colon := strings.LastIndexByte(address, ':'); colon >= 0 {
		return address[:colon]
	}
	return address
}

// Received implements env.ConnHandler.
func (b *Broker) Received(id env.ConnID, message any, frame *env.Frame) {
	c := b.byID[id]
	r, ok := message.(*Request)
	if c == nil || !ok || c.ended || c.ending || b.draining {
		b.net.Release(frame)
		return
	}
	b.counts.requests.Add(1)
	r.conn, r.frame = c, frame
	c.receive(r)
}

// Closed implements env.ConnHandler.
func (b *Broker) Closed(id env.ConnID, _ error) {
	c := b.byID[id]
	if c == nil {
		return
	}
	delete(b.byID, id)
	last := b.conns[len(b.conns)-1]
	b.conns[c.index], last.index = last, c.index
	b.conns[len(b.conns)-1] = nil
	b.conns = b.conns[:len(b.conns)-1]
	b.counts.connections.Set(int64(len(b.conns)))
	c.closed()
	b.checkDrained()
}

// Drain refuses new connections and requests, answers those in flight, closes each
// connection after its last response, and calls done when none is left. At the
// timeout, remaining connections are closed.
func (b *Broker) Drain(timeout time.Duration, done func()) {
	b.draining, b.drained = true, done
	b.data.late.close()
	b.data.arrivals.close()
	if b.groups != nil {
		b.groups.Each(func(s *coordinator.Shard) { s.Machine().(*group.Machine).AnswerParked(wire.NotCoordinator) })
	}
	b.net.StopListening()
	b.loop.Reset(&b.drainTimer, timeout, func() { b.hangUpAll(true) })
	b.hangUpAll(false)
	b.checkDrained()
}

// hangUpAll closes the connections that have nothing under way, or all of them.
func (b *Broker) hangUpAll(abort bool) {
	for _, c := range b.conns {
		if abort {
			b.counts.cut.Hit()
		}
		if abort || c.head == nil {
			c.hangUp(abort)
		}
	}
}

// Arriving notes partitions that their leaders are about to give to this broker.
func (b *Broker) Arriving(streams []metadata.StreamID) {
	if !b.draining {
		b.data.arrivals.announce(streams)
	}
}

// Departing notes a partition that this broker is about to give to another one.
func (b *Broker) Departing(stream metadata.StreamID) { b.data.arrivals.departing(stream) }

// Arrived is called after partitions may have been opened; what waits for them goes on in a turn of its own.
func (b *Broker) Arrived() { b.data.arrivals.opened() }

// Connections is how many clients are connected.
func (b *Broker) Connections() int { return len(b.conns) }

func (b *Broker) checkDrained() {
	if !b.draining || len(b.conns) > 0 || b.drained == nil {
		return
	}
	done := b.drained
	b.drained = nil
	b.loop.Stop(&b.drainTimer)
	b.loop.Post(done)
}

// counts are the broker's metrics and coverage marks.
type counts struct {
	requests, malformed env.Counter
	connections         env.Gauge
	produceTime         env.Histogram
	fetchTime           env.Histogram
	otherTime           env.Histogram
	pipelined, muted    *telemetry.Mark
	dropped, cut        *telemetry.Mark
}

func newCounts(t *telemetry.Registry) counts {
	return counts{
		requests:    t.Counter("weir_requests_total", "Requests received."),
		malformed:   t.Counter("weir_requests_refused_total", "Requests that closed their connection: malformed, or of a version that is not served."),
		connections: t.Gauge("weir_connections", "Open connections."),
		produceTime: t.Histogram("weir_produce_nanoseconds", "From the arrival of a Produce request until its answer is written."),
		fetchTime:   t.Histogram("weir_fetch_nanoseconds", "From the arrival of a Fetch request until its answer is written, the wait for records included."),
		otherTime:   t.Histogram("weir_request_nanoseconds", "From the arrival of any other request until its answer is written."),
		pipelined:   t.Mark("broker: a produce request started behind another"),
		muted:       t.Mark("broker: a connection with too much waiting was muted"),
		dropped:     t.Mark("broker: an answer was dropped with its connection"),
		cut:         t.Mark("broker: a drain cut a connection"),
	}
}

// took notes how long a request took from its arrival until its answer was written.
func (c *counts) took(key int16, d time.Duration) {
	h := c.otherTime
	switch key {
	case produceKey:
		h = c.produceTime
	case fetchRequestKey:
		h = c.fetchTime
	}
	h.Observe(int64(d))
}
