package faults

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"weir/core/env"
)

// Process ends or stops the process that a broker runs in. Its methods are called on the loop.
type Process interface {
	// Kill ends it as SIGKILL does, and does not return in a real world.
	Kill()
	// Stop tells it to end cleanly, as SIGTERM does.
	Stop()
	// Pause keeps the loop from running for so long. It may block.
	Pause(time.Duration)
}

// Loop is what an injector stands before: core/node is one.
type Loop interface{ Turn(events []env.Event) }

// Options configure an injector.
type Options struct {
	// Place is the broker's own: faults of others are passed over.
	Place Place
	// Env is the environment to decorate.
	Env env.Env
	// Peers is the name of the listener on which other brokers connect, which are no clients; "" if there is none.
	Peers string
	// Process is struck by faults of brokers. Nil: a plan that has some is refused.
	Process Process
}

// Injector does a plan's faults to one incarnation of a broker. It has no goroutine and no lock: everything is called on
// the broker's loop, whose turns go through it ([Injector.Drive]), since it delays what it strikes.
type Injector struct {
	options Options
	clock   env.Clock // undecorated
	faults  []*planned
	loop    Loop

	timers  []timer
	serial  uint64
	events  []env.Event // of the turn
	wake    env.Time    // what the core asked for, by the clock that it sees
	awaits  bool        // wake is to come
	asked   bool        // since wake was armed
	turning bool
	armed   env.Time // what the real clock was asked for last

	disks   [2]disk // of the log, and of the metadata
	store   store
	network network
}

// planned is a fault of a plan.
type planned struct {
	Fault
	index   uint64
	begun   bool     // its origin has come
	from    env.Time // when it strikes
	draws   uint64
	waiting bool // for a moment
	struck  env.Counter
}

// timer is an event to be delivered at a time.
type timer struct {
	at     env.Time
	serial uint64
	event  env.Event
}

// call is a function as an event.
type call func()

// Deliver implements env.Event.
func (c call) Deliver() { c() }

// NewInjector returns an injector for a plan. An error names a fault that no decorator can do. The broker is to use
// [Injector.Env], and its world to drive what [Injector.Drive] returns.
func NewInjector(p Plan, o Options) (*Injector, error) {
	i := &Injector{options: o, clock: o.Env.Clock}
	for n, f := range p {
		if err := supported(&f, o.Process != nil); err != nil {
			return nil, fmt.Errorf("a running broker cannot inject %q into itself: %w", f, err)
		}
		if f.concerns(o.Place) {
			i.faults = append(i.faults, &planned{Fault: f, index: uint64(n), struck: o.Env.Metrics.Counter(
				fmt.Sprintf(`weir_faults_injected_total{effect="%s",target="%v"}`, f.Effect, f.Target),
				"operations and moments that a fault of the fault plan struck")})
		}
	}
	i.disks = [...]disk{newDisk(i, WAL, o.Env.WAL), newDisk(i, Meta, o.Env.Meta)}
	i.store = store{injector: i, store: o.Env.Store}
	i.network = newNetwork(i, o.Env.Network)
	i.Begin(Boot)
	return i, nil
}

// concerns reports whether a fault strikes anything of a broker.
func (f *Fault) concerns(at Place) bool {
	if f.Target.Kind == Link {
		return f.Target.At.Has(at) || f.Target.To.Has(at)
	}
	return f.Target.At.Has(at)
}

// Env is the environment with its decorators.
func (i *Injector) Env() env.Env {
	e := i.options.Env
	e.Clock, e.WAL, e.Meta, e.Store, e.Network = i, &i.disks[0], &i.disks[1], &i.store, &i.network
	return e
}

// Faults is how many faults of the plan concern this broker.
func (i *Injector) Faults() int { return len(i.faults) }

// Begin starts the faults that count from an origin. It is called once for Serving; for Boot, [NewInjector] does.
func (i *Injector) Begin(o Origin) {
	for _, f := range i.faults {
		if f.Since != o || f.begun {
			continue
		}
		f.begun, f.from = true, i.clock.Now().Add(f.At)
		i.after(f.At, call(func() { i.begin(f) }))
		if f.For > 0 && f.lasts() {
			i.after(f.At+f.For, call(func() { i.log("a fault ends", f) }))
		}
	}
}

// lasts reports whether the fault goes on after it began, by itself.
func (f *Fault) lasts() bool {
	return f.Target.Kind != Brokers && !effects[f.Target.Kind][f.Effect].instant
}

func (i *Injector) log(message string, f *planned) {
	i.options.Env.Log.Log(slog.LevelWarn, message, slog.String("fault", f.String()))
}

// begin does what a fault does at once.
func (i *Injector) begin(f *planned) {
	i.log("a fault begins", f)
	switch {
	case f.Target.Kind == Brokers && f.When == NextPut:
		f.waiting = true
	case f.Target.Kind == Brokers:
		i.strikeProcess(f)
	case f.Effect == Reset:
		f.struck.Add(1)
		i.network.reset()
	case f.Effect == Step:
		f.struck.Add(1)
	}
}

func (i *Injector) strikeProcess(f *planned) {
	f.waiting = false
	f.struck.Add(1)
	switch f.Effect {
	case Kill:
		i.options.Process.Kill()
	case Stop:
		i.options.Process.Stop()
	case Pause:
		i.options.Process.Pause(f.For)
	}
}

// put strikes what waits for the next PUT to take effect.
func (i *Injector) put() {
	for _, f := range i.faults {
		if f.waiting && f.When == NextPut {
			i.strikeProcess(f)
		}
	}
}

// active reports whether a fault lasts now.
func (i *Injector) active(f *planned) bool {
	if !f.begun {
		return false
	}
	since := i.clock.Now().Sub(f.from)
	return since >= 0 && (f.For == 0 || since < f.For)
}

// strikes draws whether an operation is struck by a fault with an effect of what is; nil: by none. The first of the plan
// that strikes counts.
func (i *Injector) strikes(effect Effect, is func(*Target) bool) *planned {
	for _, f := range i.faults {
		if f.Effect == effect && is(&f.Target) && i.active(f) && i.draw(f) {
			f.struck.Add(1)
			return f
		}
	}
	return nil
}

func (i *Injector) draw(f *planned) bool {
	if f.Rate == 0 {
		return true
	}
	return i.random(f)%uint64(All) < uint64(f.Rate)
}

func (i *Injector) random(f *planned) uint64 {
	f.draws++
	return i.options.Env.Rand.Uint64("fault", f.index, f.draws)
}

// later delivers an event in a turn of its own.
func (i *Injector) later(e env.Event) { i.after(0, e) }

// after delivers an event after a time.
func (i *Injector) after(d time.Duration, e env.Event) {
	i.serial++
	t := timer{i.clock.Now().Add(d), i.serial, e}
	at, _ := slices.BinarySearchFunc(i.timers, t, func(a, b timer) int {
		if a.at != b.at {
			return int(min(max(a.at-b.at, -1), 1))
		}
		return int(int64(a.serial - b.serial))
	})
	i.timers = slices.Insert(i.timers, at, t)
}

// Drive returns a loop whose turns have the events that were held back, too.
func (i *Injector) Drive(l Loop) Loop {
	i.loop = l
	return i
}

// Turn implements [Loop].
func (i *Injector) Turn(events []env.Event) {
	i.events = append(append(i.events[:0], events...), i.due()...)
	i.turning = true
	i.awaits = i.awaits && i.wake > i.Now() // else this turn is what was asked for
	i.loop.Turn(i.events)
	i.turning = false
	clear(i.events)
	i.arm()
}

// due takes the events whose time has come.
func (i *Injector) due() (events []env.Event) {
	now := i.clock.Now()
	n := 0
	for n < len(i.timers) && i.timers[n].at <= now {
		events = append(events, i.timers[n].event)
		n++
	}
	i.timers = slices.Delete(i.timers, 0, n)
	return events
}

// arm asks for the next turn, on behalf of the core and of what is held back.
func (i *Injector) arm() {
	at, any := i.clock.Now(), i.awaits
	if any {
		at = at.Add(i.untilWake())
	}
	if len(i.timers) > 0 && (!any || i.timers[0].at < at) {
		at, any = i.timers[0].at, true
	}
	if any && (i.asked || at != i.armed || at <= i.clock.Now()) {
		i.clock.WakeAt(at)
		i.armed = at
	}
	i.asked = false
}
