package sim

import (
	"strings"
	"time"

	"weir/core/wal"
	"weir/sim/disk"
	"weir/sim/event"
	"weir/sim/plan"
	"weir/sim/store"
)

// schedule arranges the plan's faults, those from before the first start or the
// others, counted from now. It returns when the last of them ends.
func (w *world) schedule(early bool) (last time.Duration) {
	for i := range w.strikes {
		f := &w.strikes[i]
		if (f.Early != 0) != early {
			continue
		}
		last = max(last, f.At+f.For)
		if isCopy(f.Kind) {
			w.scheduleCopy(f)
			continue
		}
		w.queue.Call(f.At, func() { w.strike(f) })
		if f.For > 0 && !restarts(f.Kind) {
			w.queue.Call(f.At+f.For, func() { w.mend(f) })
		}
	}
	return last
}

// restarts reports whether a fault ends with a restart of its own.
func restarts(kind string) bool {
	return strings.HasPrefix(kind, "crash") || strings.HasPrefix(kind, "kill") || kind == "stop"
}

// targets are the brokers that a fault strikes: the one that it names, or those of its
// zone, or all.
func (w *world) targets(f *plan.Strike) (targets []*broker) {
	for _, b := range w.brokers {
		if (f.Node == 0 || f.Node == int64(b.machine.ID)) && (f.Zone == 0 || f.Zone == b.zone) {
			targets = append(targets, b)
		}
	}
	return targets
}

// strike begins a fault.
func (w *world) strike(f *plan.Strike) {
	if w.healed {
		return
	}
	w.faultCount++
	w.queue.Note(event.KindFault, uint64(f.Node), event.SumString(f.Kind), uint64(f.Rate), uint64(f.Amount))
	if device, what, _ := strings.Cut(f.Kind, "-"); device == "store" {
		setStore(w.store, what, f.Rate)
		return
	}
	for _, b := range w.targets(f) {
		b.strike(f)
	}
}

// strike begins a fault of one broker.
func (b *broker) strike(f *plan.Strike) {
	switch f.Kind {
	case "crash", "kill":
		b.crashFor(f)
	case "crash-put", "kill-put":
		b.store.OnPut = func(string) {
			b.store.OnPut = nil
			b.queue.Call(0, func() { b.crashFor(f) })
		}
	case "crash-wal", "kill-wal":
		b.wal.OnWrite = func(string, int64) func() { return func() { b.crashFor(f) } }
	case "crash-super", "kill-super":
		b.wal.OnWrite = func(_ string, offset int64) func() {
			if offset >= wal.CreateBytes {
				return nil
			}
			b.queue.Hit("world: a crash while a superblock was being written")
			return func() { b.crashFor(f) }
		}
	case "crash-meta", "kill-meta":
		b.meta.OnWrite = func(string, int64) func() { return func() { b.crashFor(f) } }
	case "stop":
		if b.ready {
			b.shutdown(func() { b.bootAfter(f.For) })
		}
	case "pause":
		if b.machine.Running() {
			b.machine.Pause()
		}
	case "clock-step":
		b.machine.Clock().StepWall(f.Amount.Milliseconds())
	case "reset":
		b.net.Reset(int(f.Client), b.machine.ID)
	default:
		b.set(f, true)
	}
}

// crashFor ends the incarnation, and starts the next one after the fault's time.
func (b *broker) crashFor(f *plan.Strike) {
	if b.healed {
		return
	}
	b.crash(strings.HasPrefix(f.Kind, "crash"))
	b.bootAfter(f.For)
}

// mend ends a fault.
func (w *world) mend(f *plan.Strike) {
	if w.healed {
		return
	}
	if device, what, _ := strings.Cut(f.Kind, "-"); device == "store" {
		setStore(w.store, what, 0)
		return
	}
	for _, b := range w.targets(f) {
		b.mend(f)
	}
}

func (b *broker) mend(f *plan.Strike) {
	switch f.Kind {
	case "clock-step", "reset":
	case "pause":
		b.machine.Resume()
	default:
		b.set(f, false)
	}
}

// set switches a fault that lasts. Of two of a kind at once, the last change counts.
func (b *broker) set(f *plan.Strike, on bool) {
	rate := f.Rate
	if !on {
		rate = 0
	}
	device, what, _ := strings.Cut(f.Kind, "-")
	switch device {
	case "wal":
		setDisk(&b.wal.Faults, what, rate, f, on)
	case "meta":
		setDisk(&b.meta.Faults, what, rate, f, on)
	default:
		b.setLinks(f, on, rate)
	}
}

func setDisk(d *disk.Faults, what string, rate int64, f *plan.Strike, on bool) {
	switch what {
	case "slow":
		d.SlowPerMille = rate
	case "stall":
		d.StallPPM, d.Stall = rate, f.Amount
	case "full":
		d.Full = on
	case "read-error":
		d.ReadPPM = rate
	case "write-error":
		d.WritePPM = rate
	case "sync-error":
		d.SyncPPM = rate
	case "shear":
		d.ShearPerMille = rate
	}
}

func setStore(of *store.Store, what string, rate int64) {
	s := &of.Faults
	switch what {
	case "uplink":
		of.SetLinks(rate, s.Downlink)
	case "downlink":
		of.SetLinks(s.Uplink, rate)
	case "refuse":
		s.Refuse = rate
	case "lost-before":
		s.LostBefore = rate
	case "lost-after":
		s.LostAfter = rate
	case "late":
		s.Late = rate
	case "short":
		s.Short = rate
	case "corrupt":
		s.Corrupt = rate
	case "slow":
		s.SlowPerMille = rate
	case "deny-put":
		s.DenyPut = rate
	case "deny-get":
		s.DenyGet = rate
	case "join":
		s.Join = rate
	}
}

func (b *broker) setLinks(f *plan.Strike, on bool, rate int64) {
	for client := range clientsMax {
		if f.Client >= 0 && int64(client) != f.Client {
			continue
		}
		link := b.net.Link(client, b.machine.ID)
		switch f.Kind {
		case "cut":
			link.CutToBroker, link.CutToClient = on, on
		case "cut-in":
			link.CutToBroker = on
		case "cut-out":
			link.CutToClient = on
		case "stall":
			link.Stalled = on
		case "net-slow":
			link.SlowPerMille = rate
		}
	}
	if !on {
		b.net.Healed()
	}
}

// heal ends every fault, and sees that the brokers are up.
func (w *world) heal() {
	w.healed = true
	w.store.OnPut = nil
	w.queue.Note(event.KindFault, 0, 0, 0, 0)
	w.store.SetLinks(0, 0)
	w.store.Faults = store.Faults{}
	for _, b := range w.brokers {
		b.wal.OnWrite, b.meta.OnWrite = nil, nil
		b.wal.Faults, b.meta.Faults = disk.Faults{}, disk.Faults{}
		for client := range clientsMax {
			*w.net.Link(client, b.machine.ID) = healthy
		}
	}
	w.net.Healed()
	w.endCopy()
	for _, b := range w.brokers {
		b.machine.Resume()
		if b.wanted && !b.machine.Running() {
			b.boot()
		}
	}
}

func (w *world) injected() int {
	n := w.faultCount + w.store.Injected + w.net.Injected
	for _, b := range w.brokers {
		n += b.wal.Injected + b.meta.Injected
	}
	return n
}
