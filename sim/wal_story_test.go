package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
	"weir/core/wal"
	"weir/sim/disk"
	"weir/sim/event"
	"weir/sim/machine"
)

// walNode is a node of nothing but a WAL: it recovers the log of its predecessor,
// holds it against the model, and writes one of its own.
type walNode struct {
	t      *testing.T
	loop   *task.Loop
	env    env.Env
	model  *walModel
	draws  *event.Stream
	log    *wal.Log
	begun  bool
	failed error
	shared bool // the log is
}

// walModel is what the test knows: it outlives every incarnation.
type walModel struct {
	epoch    int64
	appended []int64 // offsets given to the present log, in order
	acked    int     // how many of them are durable
	trimmed  int     // how many of them were given up
	shown    int     // entries that some recovery has shown, and so must stay
	places   []wal.Position
	checked  int
	logs     int
	refused  bool
	removing bool
}

func (n *walNode) Abandon()             { n.loop.Abandon() }
func (n *walNode) Shutdown(done func()) { done() }

func (n *walNode) Turn(events []env.Event) {
	if !n.begun {
		n.begun = true
		n.begin()
	}
	n.loop.Turn(events)
}

func walName(epoch int64) string { return fmt.Sprintf("wal-%d", epoch) }

func (n *walNode) begin() {
	if n.model.epoch == 0 {
		n.create()
		return
	}
	var found []int64
	wal.Recover(n.loop, n.env, wal.Stored{Name: walName(n.model.epoch)}, func(e wal.Entry) {
		h, err := record.ReadHeader(e.Batch)
		if err != nil || h.BaseOffset != e.BaseOffset {
			n.t.Errorf("entry %+v: header %+v, %v", e, h, err)
		}
		found = append(found, e.BaseOffset)
	}, func(wal.Position, []byte) {}, func(sealed *wal.Sealed, err error) {
		if errors.Is(err, env.ErrNotExist) && (n.model.acked == 0 || n.model.removing) {
			n.create() // the crash came between the old log's end and the new one's beginning
			return
		}
		if err != nil {
			n.t.Errorf("recovery: %v", err)
			n.failed = err
			return
		}
		n.check(found)
		// Sometimes die before the old log is given up: the next recovery must show
		// at least as much.
		if n.draws.PerMille(300) {
			sealed.Close()
			return
		}
		n.model.removing = true
		sealed.Remove(func(err error) {
			if err == nil {
				n.create()
			}
		})
	})
}

// check: entries are the appended batches from some trimmed one on, without a gap, and
// hold everything acknowledged and everything shown before.
func (n *walNode) check(found []int64) {
	m := n.model
	m.checked++
	if len(found) == 0 {
		if m.acked > m.trimmed {
			n.t.Errorf("nothing found, acknowledged [%d, %d)", m.trimmed, m.acked)
		}
		return
	}
	first := int(found[0])
	if first > m.trimmed && m.acked > m.trimmed {
		n.t.Errorf("first entry %d, trimmed only to %d", first, m.trimmed)
	}
	for i, offset := range found {
		if int(offset) != first+i || first+i >= len(m.appended) {
			n.t.Errorf("entry %d has offset %d of %d appended", i, offset, len(m.appended))
			return
		}
	}
	last := first + len(found)
	if last < m.acked || last < m.shown {
		n.t.Errorf("found up to %d, acknowledged %d, shown %d", last, m.acked, m.shown)
	}
	m.shown = max(m.shown, last)
}

func (n *walNode) create() {
	m := n.model
	m.epoch++
	m.logs++
	m.appended, m.acked, m.trimmed, m.shown, m.places, m.removing = nil, 0, 0, 0, nil, false
	config := wal.Config{
		SizeBytes: 256 << 10, SlabBytes: 64 << 10, GroupBytesMax: 16 << 10, AppendBytesMax: 32 << 10,
		WritesInFlightMax: int(n.draws.Between(1, 4)), SummaryEveryBytes: 64 << 10, GrowBytes: n.draws.Between(16, 256) << 10,
		Shared: n.shared,
	}
	wal.Create(n.loop, n.env, config, walName(m.epoch), m.epoch, n, func(err error) { n.failed = err }, func(l *wal.Log, err error) {
		if err != nil {
			n.t.Errorf("create: %v", err)
			return
		}
		n.log = l
		n.work()
	})
}

// AppendSummary implements wal.Summarizer.
func (n *walNode) AppendSummary(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(len(n.model.appended)))
}

func (n *walNode) work() {
	m := n.model
	for range n.draws.Between(0, 6) {
		payload := record.AppendBatch(nil, []record.Record{{Value: make([]byte, n.draws.Below(9000))}})
		a := &wal.Append{Stream: 1, LeaderEpoch: 3, BaseOffset: int64(len(m.appended)), Offsets: 1, Payload: payload, LogAppendTime: -1, Owner: n}
		if !n.log.Append(a) {
			m.refused = true
			break
		}
		m.appended = append(m.appended, a.BaseOffset)
		m.places = append(m.places, a.At)
	}
	if m.acked > m.trimmed && n.draws.PerMille(200) {
		upTo := m.trimmed + int(n.draws.Below(int64(m.acked-m.trimmed)+1))
		if upTo < len(m.places) {
			m.trimmed = upTo
			n.log.Trim(m.places[upTo])
		}
	}
	n.loop.After(n.draws.Duration(0, 2*time.Millisecond), n.work)
}

// Durable implements wal.Owner.
func (n *walNode) Durable(a *wal.Append) {
	if int(a.BaseOffset) != n.model.acked {
		n.t.Errorf("batch %d acknowledged after %d", a.BaseOffset, n.model.acked)
	}
	n.model.acked++
}

// TestWALThroughCrashes: whatever a crash leaves of the device, recovery finds every
// acknowledged batch, in order, and what one recovery has shown every later one shows (R7).
func TestWALThroughCrashes(t *testing.T) {
	checked, logs, refused := 0, 0, false
	for seed := uint64(1); seed <= 150 && !t.Failed(); seed++ {
		q := event.NewQueue(seed)
		m := machine.New(q, 1)
		d := disk.New(q, 1, "wal", disk.Options{BlockBytes: 4096})
		draws := q.Stream("wal story", 0)
		model := &walModel{}
		for range draws.Between(2, 8) {
			d.Faults.SlowPerMille = [...]int64{1000, 1000, 10_000}[draws.Below(3)]
			box := m.Boot()
			node := &walNode{t: t, model: model, draws: &draws, loop: task.NewLoop(m.Clock()), env: env.Env{
				Clock: m.Clock(), WAL: d.Attach(box), Meta: d.Attach(box), Rand: m.Rand(), Compute: m.Computer(),
				Memory: &machine.Memory{}, Log: m.Log, Metrics: &machine.Metrics{},
			}}
			m.Start(node)
			q.RunUntil(q.Now().Add(draws.Duration(time.Millisecond, 200*time.Millisecond)), func() bool { return t.Failed() })
			m.Crash()
			d.Crash(draws.PerMille(700))
		}
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
		checked, logs, refused = checked+model.checked, logs+model.logs, refused || model.refused
	}
	if checked < 100 || logs < 100 || !refused {
		t.Errorf("%d recoveries, %d logs, full %v: the test tests too little", checked, logs, refused)
	}
}
