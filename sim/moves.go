package sim

import (
	"io"
	"slices"
	"time"

	"weir/core/metadata"
	"weir/sim/checker"
	"weir/sim/client"
	"weir/sim/event"
	"weir/sim/plan"
)

// MovesOptions are a run of [Moves].
type MovesOptions struct {
	Seed      uint64
	Brokers   int // 2 and up, spread over three zones
	Moves     int
	Bytes     int64 // in the partition before the first move
	PartBytes int64 // of its objects: the partition has Bytes/PartBytes parts
	ObjectWAL bool  // keep the logs in the object store instead of shared devices
	ShipAsync bool  // weir.metadata.shipping=async
	Echo      io.Writer
}

// MovesResult is what [Moves] saw. All times are simulated.
type MovesResult struct {
	Parts      int             // of the partition in the image, before the first move
	Calm       []time.Duration // the longest wait for an acknowledgement in each span without a move, ascending
	Moved      []time.Duration // the same in the spans that begin with a move
	Violations []checker.Violation
}

const (
	// movesPace is how many batches the producer sends in a second: a wait is known to a millisecond or two.
	movesPace = 500
	// movesSpan is the time from a move to the next.
	movesSpan   = 500 * time.Millisecond
	moverClient = 1
)

// Moves moves a partition from broker to broker under a producer, and measures how long the producer waits for an acknowledgement
// meanwhile. No faults are injected; latencies are those of the simulator's table.
func Moves(o MovesOptions) *MovesResult {
	w := newWorld(o.Seed, movesPlan(o), Options{Build: realNode, Echo: o.Echo, NoLinear: true})
	m := &moves{world: w, options: o, r: &MovesResult{}}
	w.guard(m.story)
	for _, b := range w.brokers {
		if b.machine.Running() {
			w.guard(b.machine.Crash)
		}
	}
	w.guard(func() { w.check() })
	m.r.Violations = w.violations
	return m.r
}

func movesPlan(o MovesOptions) *plan.Plan {
	p := &plan.Plan{
		Config: plan.Config{
			Session: 9 * time.Second, Election: time.Second, WALShared: 1, WALBytes: 64 << 20, CacheBytes: 64 << 20, UploadBytes: o.PartBytes, UploadInterval: time.Minute,
			ObjectBytes: o.PartBytes,
		},
		Topics:    []plan.Topic{{Name: "moved", Partitions: 1}},
		Workloads: []plan.Workload{{Kind: "producer", PerSecond: movesPace, Records: 1, ValueBytes: 100, InFlight: 5, Spread: 1, Idempotent: 1}},
	}
	if o.ObjectWAL {
		p.Config.WALObject = 1
	}
	if o.ShipAsync {
		p.Config.ShipAsync = 1
	}
	for i := range o.Brokers {
		p.Brokers = append(p.Brokers, plan.Broker{Zone: int64(i%3 + 1)})
	}
	return p
}

type moves struct {
	*world
	options MovesOptions
	r       *MovesResult
	part    *client.Partition
	mover   *client.Mover
}

func (m *moves) story() {
	m.boot()
	if !m.await(startLimit, "the first start", m.ready) {
		return
	}
	topics := m.createTopics()
	if m.violated() {
		return
	}
	m.part = topics[0].Partitions[0]
	m.fill(topics)
	m.r.Parts = m.parts()
	m.mover = client.NewMover(m.cluster, moverClient, m.part)
	m.mover.Start()
	c := m.startClients(topics)
	m.run(movesSpan, never)
	calm, moved := m.spans(func() {}), m.spans(m.move)
	c.end()
	m.await(convergeLimit, "the answers that producers wait for", c.idle)
	c.stop()
	m.mover.Stop()
	m.r.Calm, m.r.Moved = m.waits(calm), m.waits(moved)
}

// fill writes what is in the partition before, and waits until it is in objects.
func (m *moves) fill(topics []*client.Topic) {
	const batch = 256 << 10
	p := client.NewProducer(m.cluster, probeClient, client.ProducerOptions{
		Topics: topics, Acks: -1, PerSecond: 100, Records: 1, ValueBytes: batch, InFlight: 5, Spread: 1,
		BatchBytes: 1 << 20, RequestBytes: 2 << 20,
	})
	p.Start()
	m.await(convergeLimit, "the partition to be filled", func() bool { return int64(p.Acked)*batch >= m.options.Bytes })
	p.End()
	m.await(convergeLimit, "the answers that producers wait for", p.Idle)
	p.Stop()
	m.run(70*time.Second, never)
}

// parts is how many the partition has in the image.
func (m *moves) parts() int {
	image := m.imageHolder().Image()
	t, _ := image.Topic(m.part.Topic.Name)
	s, _ := image.Stream(t.Partitions[m.part.Index].Stream)
	return len(s.Parts)
}

// move gives the partition to the next broker.
func (m *moves) move() {
	t, _ := m.imageHolder().Image().Topic(m.part.Topic.Name)
	leader := t.Partitions[m.part.Index].Leader
	at := slices.IndexFunc(m.brokers, func(b *broker) bool { return metadata.BrokerID(b.config.NodeID) == leader })
	m.mover.Move(m.brokers[(at+1)%len(m.brokers)].config.NodeID)
}

// spans begins as many spans as there are moves, and returns when each began.
func (m *moves) spans(begin func()) (began []event.Time) {
	for range m.options.Moves {
		began = append(began, m.queue.Now())
		begin()
		m.await(convergeLimit, "the controller to agree to a move", m.mover.Idle)
		asked := m.cluster.Stamp()
		m.await(convergeLimit, "an acknowledgement after a move", func() bool { return m.acked(asked) })
		m.run(movesSpan, never)
	}
	return began
}

// acked reports whether a batch that was sent after some time is acknowledged.
func (m *moves) acked(since int64) bool {
	appends := m.part.History.Appends
	last := len(appends) - 1
	for last >= 0 && appends[last].Call > since && appends[last].Outcome != checker.Done {
		last--
	}
	return last >= 0 && appends[last].Call > since
}

// waits is the longest time between two acknowledgements that began in each span, ascending.
func (m *moves) waits(began []event.Time) []time.Duration {
	var acked []int64
	for _, a := range m.part.History.Appends {
		if a.Outcome == checker.Done {
			acked = append(acked, a.Return)
		}
	}
	slices.Sort(acked)
	waits := make([]time.Duration, len(began))
	for i, at := range began {
		from, _ := slices.BinarySearch(acked, int64(at))
		for j := from; j+1 < len(acked) && acked[j] < int64(at.Add(movesSpan)); j++ {
			waits[i] = max(waits[i], time.Duration(acked[j+1]-acked[j]))
		}
	}
	slices.Sort(waits)
	return waits
}
