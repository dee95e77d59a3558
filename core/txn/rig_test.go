package txn_test

import (
	"fmt"
	"time"

	"weir/core/config"
	"weir/core/coordinator/coordinatortest"
	"weir/core/env"
	"weir/core/task"
	"weir/core/txn"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

const id = "transfers"

// partitionsOf names partitions of topic t.
func partitionsOf(indexes ...int32) (all []txn.Partition) {
	for _, i := range indexes {
		all = append(all, txn.Partition{Topic: "t", Index: i})
	}
	return all
}

// rig is a coordinator on partitions in memory, with partitions that take markers.
type rig struct {
	t       require.TestingT
	clock   *coordinatortest.Clock
	loop    *task.Loop
	logs    []*coordinatortest.Log
	cluster *coordinatortest.Cluster
	c       *txn.Coordinator
	config  config.Transactions
	version int16
	epoch   int32 // leader epoch
	nextID  int64
	noIDs   wire.Code // answers instead of ids
	idsMax  int
	first   int16 // epoch of a new id

	markers []string
	answers map[txn.Partition]wire.Code // to markers; default: None
	held    bool                        // markers wait for release
	waiting []func()
}

func newRig(t require.TestingT) *rig {
	r := &rig{
		t: t, clock: &coordinatortest.Clock{}, logs: []*coordinatortest.Log{{}}, version: 2, nextID: 1000, answers: map[txn.Partition]wire.Code{},
		config: (&config.Settings{}).Broker().Transactions,
	}
	r.open()
	return r
}

func (r *rig) open() {
	r.epoch++
	r.waiting = nil
	r.loop = task.NewLoop(r.clock)
	r.c = txn.New(txn.Options{
		Loop: r.loop, Env: env.Env{Clock: r.clock, Rand: half{}, Compute: compute{}}, Config: func() config.Transactions { return r.config },
		Version: func() int16 { return r.version }, LeaderEpoch: func(int32) int32 { return r.epoch },
		ProducerID: r.producerID, Markers: r, IDsMax: r.idsMax, FirstEpoch: r.first,
	})
	r.cluster = coordinatortest.OpenOn(r.loop, txn.Topic, r.logs, r.clock, r.c.NewMachine)
	r.c.Run(r.cluster.Runtime)
	r.turn()
}

// restart drops what is not durable, and loads what is.
func (r *rig) restart() {
	for i, log := range r.logs {
		held := log.Held
		log.Lose()
		r.turn()
		r.logs[i] = log.Reopen()
		r.logs[i].Held = held
	}
	r.open()
}

func (r *rig) turn() {
	for range 5 {
		r.loop.Turn(nil)
	}
}

func (r *rig) pass(d time.Duration) {
	for step := d / 20; d > 0; d -= step {
		r.clock.At = r.clock.At.Add(step)
		r.turn()
	}
}

func (r *rig) producerID(done func(int64, wire.Code)) {
	if r.noIDs != wire.None {
		done(0, r.noIDs)
		return
	}
	r.nextID++
	done(r.nextID-1, wire.None)
}

// WriteMarker implements txn.MarkerWriter.
func (r *rig) WriteMarker(p txn.Partition, m txn.Marker, done func(wire.Code)) {
	answer := func() {
		code := r.answers[p]
		if code == wire.None {
			verb := "abort"
			if m.Commit {
				verb = "commit"
			}
			r.markers = append(r.markers, fmt.Sprintf("%s %d/%d v%d %s-%d", verb, m.Producer.ID, m.Producer.Epoch, m.Version, p.Topic, p.Index))
		}
		done(code)
	}
	if r.held {
		r.waiting = append(r.waiting, answer)
		return
	}
	answer()
}

// release answers the markers that wait.
func (r *rig) release() {
	r.held = false
	waiting := r.waiting
	r.waiting = nil
	for _, f := range waiting {
		f()
	}
	r.turn()
}

// answer is what a request was answered.
type answer struct {
	done     bool
	code     wire.Code
	producer txn.Producer
}

func (a *answer) hear(r *rig) func(txn.Producer, wire.Code) {
	return func(p txn.Producer, code wire.Code) {
		require.False(r.t, a.done, "answered twice")
		a.done, a.code, a.producer = true, code, p
	}
}

// beginInit sends InitProducerId.
func (r *rig) beginInit(expected txn.Producer) *answer {
	a := &answer{}
	r.c.InitProducerID(txn.InitRequest{TransactionalID: id, TimeoutMillis: 60_000, Expected: expected}, a.hear(r))
	r.turn()
	return a
}

// init sends InitProducerId and wants a producer.
func (r *rig) init(expected txn.Producer) txn.Producer {
	a := r.beginInit(expected)
	require.True(r.t, a.done)
	require.Equal(r.t, wire.Code(wire.None), a.code)
	return a.producer
}

func (r *rig) initCode(expected txn.Producer) wire.Code {
	a := r.beginInit(expected)
	require.True(r.t, a.done)
	return a.code
}

func (r *rig) add(p txn.Producer, version int16, indexes ...int32) (code wire.Code) {
	code = -100
	r.c.AddForClient(txn.AddRequest{TransactionalID: id, Producer: p, Partitions: partitionsOf(indexes...), Version: version}, func(c wire.Code) { code = c })
	r.turn()
	return code
}

func (r *rig) beginEnd(p txn.Producer, commit bool, version int16) *answer {
	a := &answer{}
	r.c.EndTxn(txn.EndRequest{TransactionalID: id, Producer: p, Commit: commit, Version: version}, a.hear(r))
	r.turn()
	return a
}

func (r *rig) end(p txn.Producer, commit bool, version int16) (txn.Producer, wire.Code) {
	a := r.beginEnd(p, commit, version)
	require.True(r.t, a.done)
	return a.producer, a.code
}

// state is what DescribeTransactions would say.
func (r *rig) state() txn.Transaction {
	t, code := r.c.Describe(id)
	require.Equal(r.t, wire.Code(wire.None), code)
	return *t
}

// write puts a state into the log, as another coordinator did.
func (r *rig) write(t txn.Transaction) {
	r.restart()
	txn.AppendForTest(r.cluster.Runtime, id, &t)
	r.turn()
	r.restart()
}

// half is a source of numbers that are all the same.
type half struct{}

func (half) Uint64(string, uint64, uint64) uint64 { return 7 }

// compute runs at once.
type compute struct{}

func (compute) Submit(c *env.Compute) {
	c.Work()
	c.Done(c)
}
