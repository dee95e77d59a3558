package machine

import (
	"testing"
	"time"

	"weir/core/env"
	"weir/core/env/envtest"
	"weir/sim/event"
)

func TestComputerContract(t *testing.T) {
	envtest.TestComputer(t, func(testing.TB) (env.Computer, func()) {
		queue := event.NewQueue(3)
		m := New(queue, 0)
		m.Boot()
		m.Start(&fakeNode{})
		return m.Computer(), func() { queue.RunUntil(queue.Now().Add(time.Second), func() bool { return false }) }
	})
}
