package bill

import (
	"errors"
	"time"

	"weir/core/env"
)

// Account is what a store was asked for over a time. The zero value is empty. It implements [Tally] for one goroutine.
type Account struct {
	Requests [Requests][env.Purposes]int64
	Sent     [env.Purposes]int64 // bytes of bodies
	Received [env.Purposes]int64 // bytes of bodies

	Written   int64         // bytes of record batches that producers wrote, in that time
	CrossZone int64         // bytes between zones, in that time; both directions
	Stored    int64         // bytes in the store, at its end
	Over      time.Duration // the time; 0: not known
}

// Count implements [Tally].
func (a *Account) Count(r Request, p env.Purpose, n int64) { a.Requests[r][p] += n }

// Moved implements [Tally].
func (a *Account) Moved(p env.Purpose, sent, received int64) {
	a.Sent[p] += sent
	a.Received[p] += received
}

// Of returns how many requests there were for a purpose.
func (a *Account) Of(p env.Purpose) (n int64) {
	for r := range Requests {
		n += a.Requests[r][p]
	}
	return n
}

// Add adds what another broker of the same cluster counted over the same time. The store is the same: what was found to be
// stored does not add up.
func (a *Account) Add(other *Account) {
	for p := range env.Purposes {
		for r := range Requests {
			a.Requests[r][p] += other.Requests[r][p]
		}
		a.Sent[p] += other.Sent[p]
		a.Received[p] += other.Received[p]
	}
	a.Written += other.Written
	a.CrossZone += other.CrossZone
	a.Stored = max(a.Stored, other.Stored)
	a.Over = max(a.Over, other.Over)
}

// ErrRestarted says that counters began anew between two accounts.
var ErrRestarted = errors.New("the broker was restarted in between: its counters began anew")

// Since returns what was counted after an earlier account of the same incarnation. What is stored is as it is now.
func (a *Account) Since(earlier *Account) (*Account, error) {
	d := *a
	least := d.Written - earlier.Written
	for p := range env.Purposes {
		for r := range Requests {
			d.Requests[r][p] -= earlier.Requests[r][p]
			least = min(least, d.Requests[r][p])
		}
		d.Sent[p] -= earlier.Sent[p]
		d.Received[p] -= earlier.Received[p]
	}
	d.Written -= earlier.Written
	d.CrossZone -= earlier.CrossZone
	d.Over -= earlier.Over
	if least < 0 {
		return nil, ErrRestarted
	}
	return &d, nil
}
