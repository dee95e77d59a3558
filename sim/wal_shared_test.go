package sim

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/task"
	"weir/core/wal"
	"weir/sim/disk"
	"weir/sim/event"
	"weir/sim/machine"
)

// takeover is a node of nothing but the recovery of a log that may still have its owner.
type takeover struct {
	t     *testing.T
	loop  *task.Loop
	env   env.Env
	by    uint64
	begun bool
	found *[]foundLog
}

// foundLog is what one recovery has found: the offsets [first, end).
type foundLog struct{ first, end int }

func (n *takeover) Abandon()             { n.loop.Abandon() }
func (n *takeover) Shutdown(done func()) { done() }

func (n *takeover) Turn(events []env.Event) {
	if !n.begun {
		n.begun = true
		wal.Fence(n.loop, n.env, walName(1), n.by, n.fenced)
	}
	n.loop.Turn(events)
}

func (n *takeover) fenced(err error) {
	if err != nil {
		n.t.Errorf("fence: %v", err)
		return
	}
	var log foundLog
	wal.Recover(n.loop, n.env, wal.Stored{Name: walName(1)}, func(e wal.Entry) {
		if log.end == 0 {
			log.first = int(e.BaseOffset)
		}
		log.end = int(e.BaseOffset) + 1
	}, func(wal.Position, []byte) {}, func(sealed *wal.Sealed, err error) {
		if err != nil && !errors.Is(err, env.ErrNotExist) {
			n.t.Errorf("recover: %v", err)
			return
		}
		if sealed != nil {
			sealed.Close()
		}
		*n.found = append(*n.found, log)
	})
}

// sharedWorld is an owner of a shared log, and those who take it over.
type sharedWorld struct {
	t     *testing.T
	queue *event.Queue
	draws event.Stream
	disk  *disk.Disk
	found []foundLog
}

func newSharedWorld(t *testing.T, seed uint64) *sharedWorld {
	q := event.NewQueue(seed)
	w := &sharedWorld{t: t, queue: q, draws: q.Stream("shared wal story", 0)}
	w.disk = disk.New(q, 1, "wal", disk.Options{BlockBytes: [...]int{512, 4096}[w.draws.Below(2)]})
	return w
}

// attach boots a machine with the disk at a port.
func (w *sharedWorld) attach(m *machine.Machine, p *disk.Port) (*task.Loop, env.Env) {
	box := m.Boot()
	return task.NewLoop(m.Clock()), env.Env{
		Clock: m.Clock(), WAL: p.Attach(box), Rand: m.Rand(), Compute: m.Computer(),
		Memory: &machine.Memory{}, Log: m.Log, Metrics: &machine.Metrics{},
	}
}

func (w *sharedWorld) run(least, most time.Duration) {
	w.queue.RunUntil(w.queue.Now().Add(w.draws.Duration(least, most)), func() bool { return w.t.Failed() })
}

// recover starts a recoverer, on the way to which some may have died.
func (w *sharedWorld) recover(id uint64) {
	m, p := machine.New(w.queue, id), w.disk.Port(id)
	p.Faults.SlowPerMille = [...]int64{100, 1000, 10_000}[w.draws.Below(3)]
	for w.draws.PerMille(300) {
		w.takeOver(m, p, &[]foundLog{})
		w.run(0, 5*time.Millisecond)
		m.Crash()
		p.Crash(w.draws.PerMille(500))
	}
	w.takeOver(m, p, &w.found)
}

func (w *sharedWorld) takeOver(m *machine.Machine, p *disk.Port, found *[]foundLog) {
	r := &takeover{t: w.t, by: m.ID, found: found}
	r.loop, r.env = w.attach(m, p)
	m.Start(r)
}

// tell tells the story once, and returns its owner at the end.
func (w *sharedWorld) tell() *walNode {
	a, port := machine.New(w.queue, 1), w.disk.Port(1)
	owner := &walNode{t: w.t, model: &walModel{}, draws: &w.draws, shared: true}
	owner.loop, owner.env = w.attach(a, port)
	a.Start(owner)
	if w.draws.PerMille(200) {
		w.run(0, time.Millisecond) // it still makes its log
	} else {
		w.run(0, 100*time.Millisecond)
	}
	switch w.draws.Below(3) {
	case 0:
		a.Pause()
	case 1:
		port.Cut = true
	}
	w.recover(2)
	w.run(0, 10*time.Millisecond)
	if w.draws.PerMille(500) {
		w.recover(3)
	}
	w.run(0, 20*time.Millisecond)
	port.Cut = false
	if a.Paused() {
		a.Resume()
	}
	w.run(2*time.Second, 3*time.Second)
	return owner
}

// TestATakenOverWALThroughPauses is R8's story: an owner is paused, or cut off from the disk, at any moment and for any time;
// others, who may crash meanwhile, fence its log and read it; then it goes on. What it acknowledges by the end every recovery
// has found, and it ends.
func TestATakenOverWALThroughPauses(t *testing.T) {
	acked, recoveries := 0, 0
	for seed := uint64(1); seed <= 100 && !t.Failed(); seed++ {
		w := newSharedWorld(t, seed)
		owner := w.tell()
		m := owner.model
		require.NotEmpty(t, w.found, "seed %d", seed)
		for _, log := range w.found {
			if m.acked > m.trimmed && (log.end < m.acked || log.first > m.trimmed) {
				t.Errorf("seed %d: found [%d, %d), acknowledged [%d, %d)", seed, log.first, log.end, m.trimmed, m.acked)
			}
		}
		var fenced *wal.FencedError
		require.ErrorAs(t, owner.failed, &fenced, "seed %d", seed)
		acked += m.acked
		recoveries += len(w.found)
	}
	require.Greater(t, acked, 1000)
	require.Greater(t, recoveries, 100)
}
