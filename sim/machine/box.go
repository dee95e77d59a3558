package machine

import "weir/core/env"

// Box is the mailbox of one incarnation of a node. Devices deliver into it; after the
// incarnation's end it drops what is delivered.
type Box struct {
	Machine     uint64 // the machine's number
	Incarnation uint64
	dead        bool
	deliver     func(env.Event)
}

// NewBox returns the mailbox of an incarnation, for tests of one device.
func NewBox(machine, incarnation uint64, deliver func(env.Event)) *Box {
	return &Box{Machine: machine, Incarnation: incarnation, deliver: deliver}
}

// Deliver puts an event into the mailbox, unless the incarnation is gone.
func (b *Box) Deliver(e env.Event) {
	if !b.dead {
		b.deliver(e)
	}
}

// Dead reports whether the incarnation is gone.
func (b *Box) Dead() bool { return b.dead }

// Kill ends the incarnation: nothing is delivered any more.
func (b *Box) Kill() { b.dead = true }

// Key names the incarnation in keyed draws.
func (b *Box) Key() uint64 { return b.Machine<<32 | b.Incarnation }
