package sim

import (
	"slices"
	"strings"
	"time"

	"weir/core/wal"
	"weir/sim/disk"
	"weir/sim/event"
	"weir/sim/network"
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
	w.effects.begin(w, f)
	w.queue.Note(event.KindFault, uint64(f.Node), event.SumString(f.Kind), uint64(f.Rate), uint64(f.Amount))
	if device, what, _ := strings.Cut(f.Kind, "-"); device == "store" {
		w.setStore(f, what, f.Rate)
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
		if b.ready && !b.gone {
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
	case "peer-reset":
		for _, o := range b.others(f) {
			b.net.ResetPeers(b.machine.ID, o.machine.ID)
		}
	case "clock-drift":
		b.machine.Clock().SetDrift(f.Rate)
	default:
		b.set(f, true)
	}
}

// others are the brokers that a fault does not strike, of a fault between those that it strikes and others.
func (b *broker) others(f *plan.Strike) (others []*broker) {
	struck := b.targets(f)
	for _, o := range b.brokers {
		if !slices.Contains(struck, o) {
			others = append(others, o)
		}
	}
	return others
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
		w.setStore(f, what, 0)
		return
	}
	for _, b := range w.targets(f) {
		b.mend(f)
	}
}

func (b *broker) mend(f *plan.Strike) {
	switch f.Kind {
	case "clock-step", "reset", "peer-reset":
	case "pause":
		b.machine.Resume()
	case "clock-drift":
		b.machine.Clock().SetDrift(b.drift)
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
		setDisk(b.walFaults(), what, rate, f, on)
	case "meta":
		setDisk(&b.meta.Faults, what, rate, f, on)
	case "peer":
		b.setPeers(f, on, rate)
	case "isolate":
		b.isolate(f, on)
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

// setStore sets a fault of the object store: of the machines that it strikes, or of everybody.
func (w *world) setStore(f *plan.Strike, what string, rate int64) {
	switch {
	case what == "uplink":
		w.store.SetLinks(rate, w.store.Faults.Downlink)
	case what == "downlink":
		w.store.SetLinks(w.store.Faults.Uplink, rate)
	case f.Node == 0 && f.Zone == 0:
		setStore(&w.store.Faults, what, rate)
	default:
		for _, b := range w.targets(f) {
			setStore(w.store.Of(b.machine.ID), what, rate)
		}
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
	case "deny-put":
		s.DenyPut = rate
	case "deny-get":
		s.DenyGet = rate
	case "join":
		s.Join = rate
	}
}

// setPeers sets the links between a broker and those that the fault does not strike, whoever dials.
func (b *broker) setPeers(f *plan.Strike, on bool, rate int64) {
	for _, o := range b.others(f) {
		dialed, accepted := b.net.PeerLink(b.machine.ID, o.machine.ID), b.net.PeerLink(o.machine.ID, b.machine.ID)
		switch f.Kind {
		case "peer-cut":
			*dialed = network.Link{CutToBroker: on, CutToClient: on, SlowPerMille: dialed.SlowPerMille}
			*accepted = network.Link{CutToBroker: on, CutToClient: on, SlowPerMille: accepted.SlowPerMille}
		case "peer-cut-in":
			dialed.CutToClient, accepted.CutToBroker = on, on
		case "peer-cut-out":
			dialed.CutToBroker, accepted.CutToClient = on, on
		case "peer-slow":
			dialed.SlowPerMille, accepted.SlowPerMille = rate, rate
		}
	}
	if !on {
		b.net.Healed()
	}
}

// isolate cuts a broker off from clients, from brokers that the fault does not strike, and from the object store.
func (b *broker) isolate(f *plan.Strike, on bool) {
	cut := *f
	cut.Kind, cut.Client = "cut", -1
	b.setLinks(&cut, on, 0)
	cut.Kind = "peer-cut"
	b.setPeers(&cut, on, 0)
	refused := int64(0)
	if on {
		refused = 1000
	}
	b.store.Of(b.machine.ID).Refuse = refused
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
	w.store.Heal()
	w.net.HealPeers()
	for _, b := range w.brokers {
		b.wal.OnWrite, b.meta.OnWrite = nil, nil
		*b.walFaults(), b.meta.Faults = disk.Faults{}, disk.Faults{}
		for client := range clientsMax {
			*w.net.Link(client, b.machine.ID) = healthy
		}
	}
	w.keepLost()
	w.net.Healed()
	w.endCopy()
	w.healDowngrades()
	for _, b := range w.brokers {
		b.machine.Resume()
		b.machine.Clock().SetDrift(b.drift)
		if b.wanted && !b.machine.Running() {
			b.boot()
		}
	}
}

func (w *world) injected() int {
	n := w.faultCount + w.store.Injected + w.net.Injected
	if w.sharedWAL != nil {
		n += w.sharedWAL.Injected
	}
	for _, b := range w.brokers {
		n += b.meta.Injected
		if b.port == nil {
			n += b.wal.Injected
		}
	}
	return n
}
