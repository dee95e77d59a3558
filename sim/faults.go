package sim

import (
	"strings"
	"time"

	"weir/sim/disk"
	"weir/sim/event"
	"weir/sim/plan"
	"weir/sim/store"
)

// schedule arranges the plan's faults, those from before the first start or the
// others, counted from now. It returns when the last of them ends.
func (w *world) schedule(early bool) (last time.Duration) {
	for i := range w.plan.Faults {
		f := &w.plan.Faults[i]
		if (f.Early != 0) != early {
			continue
		}
		last = max(last, f.At+f.For)
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

// strike begins a fault.
func (w *world) strike(f *plan.Fault) {
	if w.healed {
		return
	}
	w.faultCount++
	w.queue.Note(event.KindFault, brokerID, event.SumString(f.Kind), uint64(f.Rate), uint64(f.Amount))
	switch f.Kind {
	case "crash", "kill":
		w.crashFor(f)
	case "crash-put", "kill-put":
		w.store.OnPut = func(string) {
			w.store.OnPut = nil
			w.queue.Call(0, func() { w.crashFor(f) })
		}
	case "crash-wal", "kill-wal":
		w.wal.OnWrite = func() { w.crashFor(f) }
	case "crash-meta", "kill-meta":
		w.meta.OnWrite = func() { w.crashFor(f) }
	case "stop":
		if w.ready {
			w.shutdown(func() { w.bootAfter(f.For) })
		}
	case "pause":
		if w.machine.Running() {
			w.machine.Pause()
		}
	case "clock-step":
		w.machine.Clock().StepWall(f.Amount.Milliseconds())
	case "reset":
		w.net.Reset(int(f.Client), brokerID)
	default:
		w.set(f, true)
	}
}

// crashFor ends the incarnation, and starts the next one after the fault's time.
func (w *world) crashFor(f *plan.Fault) {
	if w.healed {
		return
	}
	w.crash(strings.HasPrefix(f.Kind, "crash"))
	w.bootAfter(f.For)
}

// mend ends a fault.
func (w *world) mend(f *plan.Fault) {
	if w.healed {
		return
	}
	switch f.Kind {
	case "clock-step", "reset":
	case "pause":
		w.machine.Resume()
	default:
		w.set(f, false)
	}
}

// set switches a fault that lasts. Two of a kind at once: the last word counts.
func (w *world) set(f *plan.Fault, on bool) {
	rate := f.Rate
	if !on {
		rate = 0
	}
	device, what, _ := strings.Cut(f.Kind, "-")
	switch device {
	case "wal":
		setDisk(&w.wal.Faults, what, rate, f, on)
	case "meta":
		setDisk(&w.meta.Faults, what, rate, f, on)
	case "store":
		setStore(&w.store.Faults, what, rate)
	default:
		w.setLinks(f, on, rate)
	}
}

func setDisk(d *disk.Faults, what string, rate int64, f *plan.Fault, on bool) {
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
	}
}

func setStore(s *store.Faults, what string, rate int64) {
	switch what {
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
	}
}

func (w *world) setLinks(f *plan.Fault, on bool, rate int64) {
	for client := range 64 {
		if f.Client >= 0 && int64(client) != f.Client {
			continue
		}
		link := w.net.Link(client, brokerID)
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
		w.net.Healed()
	}
}

// heal ends every fault, and sees that the broker is up.
func (w *world) heal() {
	w.healed = true
	w.store.OnPut, w.wal.OnWrite, w.meta.OnWrite = nil, nil, nil
	w.queue.Note(event.KindFault, brokerID, 0, 0, 0)
	w.wal.Faults, w.meta.Faults, w.store.Faults = disk.Faults{}, disk.Faults{}, store.Faults{}
	for client := range 64 {
		*w.net.Link(client, brokerID) = healthy
	}
	w.net.Healed()
	w.machine.Resume()
	if !w.machine.Running() {
		w.boot()
	}
}

func (w *world) injected() int {
	return w.faultCount + w.wal.Injected + w.meta.Injected + w.store.Injected + w.net.Injected
}
