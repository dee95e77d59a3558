package faults

import (
	"time"

	"weir/core/env"
)

// ofClock are the faults of the clock with an effect that have begun.
func (i *Injector) ofClock(effect Effect, do func(f *planned, since time.Duration)) {
	for _, f := range i.faults {
		if f.Target.Kind != Clock || f.Effect != effect || !f.begun {
			continue
		}
		if since := i.clock.Now().Sub(f.from); since >= 0 {
			do(f, since)
		}
	}
}

// Now implements env.Clock: the clock has gained what its drifts amount to.
func (i *Injector) Now() env.Time {
	gained := time.Duration(0)
	i.ofClock(Drift, func(f *planned, since time.Duration) {
		if f.For > 0 {
			since = min(since, f.For)
		}
		gained += since/time.Second*f.By + since%time.Second*f.By/time.Second
	})
	return i.clock.Now().Add(gained)
}

// WallMillis implements env.Clock: steps stay.
func (i *Injector) WallMillis() int64 {
	millis := i.clock.WallMillis()
	i.ofClock(Step, func(f *planned, _ time.Duration) { millis += f.By.Milliseconds() })
	return millis
}

// WakeAt implements env.Clock. Within a turn, its end arms the wake.
func (i *Injector) WakeAt(t env.Time) {
	i.wake, i.awaits, i.asked = t, true, true
	if !i.turning {
		i.arm()
	}
}

// untilWake is how long it is, in real time, until the core is to be woken, or less: a turn that comes early does no harm.
func (i *Injector) untilWake() time.Duration {
	rate := time.Second // of this clock, in a second
	i.ofClock(Drift, func(f *planned, _ time.Duration) {
		if i.active(f) {
			rate += max(f.By, 0)
		}
	})
	wait := i.wake.Sub(i.Now())
	return wait/rate*time.Second + wait%rate*time.Second/rate
}
