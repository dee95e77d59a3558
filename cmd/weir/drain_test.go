package main

import (
	"testing"

	"weir/internal/process"
)

func TestDrain(t *testing.T) {
	p := startPair(t, voterByName)
	p.create(t, "t", 6)
	drain := func(args ...string) *process.Process {
		return start(t, p.dir, nil, append([]string{"drain", "--bootstrap-server", "127.0.0.1:1," + p.addresses[0]}, args...)...)
	}
	waits := drain("--broker", "1", "--wait")
	ends(t, waits)
	printed(t, waits, "Broker 1 is drained, and leads 0 partitions.")
	fails(t, drain("--broker", "2"), "Broker 2 cannot be drained: no other broker is alive")
	fails(t, drain("--broker", "9"), "not currently registered")
	fails(t, drain(), "required flag")
	cancels := drain("--broker", "1", "--cancel")
	ends(t, cancels)
	printed(t, cancels, "Broker 1 is not drained any more.")
	looks := drain("--broker", "2")
	ends(t, looks)
	printed(t, looks, "Broker 2 is drained, and leads")
	fails(t, start(t, p.dir, nil, "drain", "--bootstrap-server", "127.0.0.1:1", "--broker", "1"), "no broker answers")
	fails(t, start(t, p.dir, nil, "server", "--set", "weir.broker.drain=true"), "is set while the broker runs")
}
