package objectstore

import (
	"testing"

	"weir/core/env"
	"weir/realio/filestore"
	"weir/sim/event"
	"weir/sim/machine"
	simstore "weir/sim/store"
)

// mailbox is where completions wait for the test's goroutine.
type mailbox chan env.Event

func newMailbox() mailbox { return make(mailbox, 4096) }

func (m mailbox) deliver(e env.Event) { m <- e }

func (m mailbox) pump() { (<-m).Deliver() }

func TestSimulated(t *testing.T) {
	seed := uint64(0)
	Run(t, func(testing.TB) Harness {
		seed++
		queue := event.NewQueue(seed)
		box := machine.NewBox(0, 1, func(e env.Event) { e.Deliver() })
		return Harness{Store: simstore.New(queue).Attach(box), Pump: func() { queue.Step() }}
	})
}

func TestDirectory(t *testing.T) {
	Run(t, func(t testing.TB) Harness {
		box := newMailbox()
		s, err := filestore.Open(filestore.Options{Path: t.TempDir(), Deliver: box.deliver})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
		})
		return Harness{Store: s, Pump: box.pump}
	})
}
