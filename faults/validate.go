package faults

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Validate reports what is wrong with a fault; nil if it makes sense.
func (f *Fault) Validate() error {
	if err := f.Target.validate(); err != nil {
		return err
	}
	t, ok := effects[f.Target.Kind][f.Effect]
	if !ok {
		return fmt.Errorf("%v has no effect %q; it has %s", f.Target, f.Effect, strings.Join(effectsOf(f.Target.Kind), ", "))
	}
	if err := f.validateFields(t); err != nil {
		return fmt.Errorf("%v %s: %w", f.Target, f.Effect, err)
	}
	return nil
}

func (f *Fault) validateFields(t traits) error {
	switch {
	case f.At < 0 || f.For < 0:
		return errors.New("at and for must not be negative")
	case f.Since > Boot || f.When > NextSuperblock:
		return errors.New("since or when is out of range")
	case f.Rate < 0 || f.Rate > All:
		return errors.New("rate must be between 0.0001% and 100%")
	case f.Times < 0 || f.Bytes < 0:
		return errors.New("times and bytes must not be negative")
	}
	return errors.Join(
		allowed("rate", f.Rate != 0, t.rate, "it does not strike operations one by one"),
		allowed("for", f.For != 0, !t.instant, "it does not last"),
		allowed("when", f.When != AtOnce, t.when, "only a crash or a kill waits for a moment"),
		needed("by", f.By != 0, t.by), needed("times", f.Times != 0, t.times), needed("bytes", f.Bytes != 0, t.bytes),
		f.validateBy())
}

func allowed(name string, has, may bool, why string) error {
	if has && !may {
		return fmt.Errorf("it takes no %s: %s", name, why)
	}
	return nil
}

func needed(name string, has, must bool) error {
	switch {
	case has && !must:
		return fmt.Errorf("it takes no %s", name)
	case must && !has:
		return fmt.Errorf("it needs %s", name)
	}
	return nil
}

func (f *Fault) validateBy() error {
	switch {
	case f.By < 0 && f.Effect != Step && f.Effect != Drift:
		return errors.New("by must not be negative: only clocks go back")
	case f.Effect == Drift && (f.By >= time.Second || f.By <= -time.Second):
		return errors.New("by must be less than a second: a clock gains or loses it each second")
	}
	return nil
}

func (t Target) validate() error {
	if t.Kind > Clock {
		return fmt.Errorf("there is no target of kind %d", t.Kind)
	}
	if (t.Kind == Disks) != (t.Disk != "") || t.Kind == Disks && t.Disk != WAL && t.Disk != Meta && t.Disk != AllDisks {
		return fmt.Errorf("the disks are disk:wal, disk:meta and disk:*, not disk:%s", t.Disk)
	}
	if err := t.At.validate(); err != nil {
		return err
	}
	if t.Kind == Link {
		return t.validateLink()
	}
	if t.At.Role > Zone {
		return fmt.Errorf("%v is no broker: only links have clients", t.At)
	}
	if t.Both || t.To != (Party{}) {
		return errors.New("only a link has two ends")
	}
	return nil
}

func (t Target) validateLink() error {
	if err := t.To.validate(); err != nil {
		return err
	}
	if t.At.Role >= Clients && t.To.Role >= Clients && t.At.Role != Anyone && t.To.Role != Anyone {
		return fmt.Errorf("%v: one end of a link must be a broker", t)
	}
	return nil
}

func (p Party) validate() error {
	switch {
	case p.Role > Anyone:
		return fmt.Errorf("there is no party of role %d", p.Role)
	case (p.Role == Zone) != (p.Zone != "") || p.Role == Zone && !isName(p.Zone):
		return fmt.Errorf("a zone's name is of letters, digits, and . _ - within, not %q", p.Zone)
	case p.Number < 0:
		return errors.New("brokers and clients are numbered from 0 on")
	case p.Role != Node && p.Role != Client && p.Number != 0:
		return errors.New("only one broker or client has a number")
	}
	return nil
}

func isName(text string) bool {
	for i := range len(text) {
		c := text[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		within := i > 0 && i < len(text)-1 && strings.IndexByte("._-", c) >= 0
		if !letter && !within {
			return false
		}
	}
	return text != ""
}
