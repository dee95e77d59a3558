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
type foundLog struct {
	first, end int
	trimmed    wal.Position
}

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
	wal.Recover(n.loop, n.env, walName(1), func(e wal.Entry) {
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
			log.trimmed = sealed.Trimmed
			sealed.Close()
		}
		*n.found = append(*n.found, log)
	})
}

// TestATakenOverWALThroughPauses is R8's story: an owner is paused, or cut off from the disk, at any moment and for any time;
// others, who may crash meanwhile, fence its log and read it; then it goes on. What it acknowledges by the end every recovery
// has found, and it ends.
func TestATakenOverWALThroughPauses(t *testing.T) {
	acked, fenced, recoveries := 0, 0, 0
	for seed := uint64(1); seed <= 100 && !t.Failed(); seed++ {
		q := event.NewQueue(seed)
		draws := q.Stream("shared wal story", 0)
		d := disk.New(q, 1, "wal", disk.Options{BlockBytes: [...]int{512, 4096}[draws.Below(2)]})
		attach := func(m *machine.Machine, p *disk.Port) (*task.Loop, env.Env) {
			box := m.Boot()
			return task.NewLoop(m.Clock()), env.Env{
				Clock: m.Clock(), WAL: p.Attach(box), Rand: m.Rand(), Compute: m.Computer(),
				Memory: &machine.Memory{}, Log: m.Log, Metrics: &machine.Metrics{},
			}
		}
		run := func(least, most time.Duration) {
			q.RunUntil(q.Now().Add(draws.Duration(least, most)), func() bool { return t.Failed() })
		}

		a, port := machine.New(q, 1), d.Port(1)
		owner := &walNode{t: t, model: &walModel{}, draws: &draws, shared: true}
		owner.loop, owner.env = attach(a, port)
		a.Start(owner)
		if draws.PerMille(800) {
			run(0, 100*time.Millisecond)
		} else {
			run(0, time.Millisecond) // it makes its log
		}

		var found []foundLog
		recover := func(id uint64) *takeover {
			m, p := machine.New(q, id), d.Port(id)
			p.Faults.SlowPerMille = [...]int64{100, 1000, 10_000}[draws.Below(3)]
			for draws.PerMille(300) { // one that dies on the way
				r := &takeover{t: t, by: id, found: &[]foundLog{}}
				r.loop, r.env = attach(m, p)
				m.Start(r)
				run(0, 5*time.Millisecond)
				m.Crash()
				p.Crash(draws.PerMille(500))
			}
			r := &takeover{t: t, by: id, found: &found}
			r.loop, r.env = attach(m, p)
			m.Start(r)
			return r
		}
		switch draws.Below(3) {
		case 0:
			a.Pause()
		case 1:
			port.Cut = true
		}
		recover(2)
		run(0, 10*time.Millisecond)
		if draws.PerMille(500) {
			recover(3)
		}
		run(0, 20*time.Millisecond)
		port.Cut = false
		if a.Paused() {
			a.Resume()
		}
		run(2*time.Second, 3*time.Second)

		require.NotEmpty(t, found, "seed %d", seed)
		m := owner.model
		for _, log := range found {
			if m.acked > m.trimmed && (log.end < m.acked || log.first > m.trimmed) {
				t.Errorf("seed %d: found [%d, %d), acknowledged [%d, %d)", seed, log.first, log.end, m.trimmed, m.acked)
			}
		}
		var f *wal.FencedError
		if errors.As(owner.failed, &f) {
			fenced++
		} else if owner.failed != nil || owner.log != nil {
			t.Errorf("seed %d: the owner ended with %v", seed, owner.failed)
		}
		acked += m.acked
		recoveries += len(found)
	}
	t.Logf("%d recoveries, %d owners fenced, %d batches acknowledged", recoveries, fenced, acked)
	require.Greater(t, fenced, 75)
}
