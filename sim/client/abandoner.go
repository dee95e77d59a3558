package client

import (
	"time"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Abandoner is the administrator who gives up the logs of brokers whose disks are lost, by name: once the brokers say that
// partitions wait for one (R16).
type Abandoner struct {
	session
	options AbandonerOptions
}

// AbandonerOptions configure an abandoner.
type AbandonerOptions struct {
	// Lost reports whether the log disk of a broker is lost.
	Lost func(broker int32) bool
	// Looked hears after each answer.
	Looked func()
	// Pause is the time between two looks.
	Pause time.Duration
}

// NewAbandoner makes an abandoner; Start starts it.
func NewAbandoner(c *Cluster, client int, o AbandonerOptions) *Abandoner {
	a := &Abandoner{options: o}
	a.init(c, client, a)
	return a
}

// Start connects and begins.
func (a *Abandoner) Start() { a.connect() }

// Stop ends the client.
func (a *Abandoner) Stop() { a.stop() }

func (a *Abandoner) sessionUp() { a.after(a.options.Pause, a.look) }

func (a *Abandoner) look() {
	a.main.send(requestTimeout, &wire.AbandonWALRequest{Broker: -1}, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		a.options.Looked()
		for _, w := range response.(*wire.AbandonWALResponse).Waiting {
			if a.options.Lost(w.Broker) {
				a.giveUp(w)
				return
			}
		}
		a.after(a.options.Pause, a.look)
	})
}

func (a *Abandoner) giveUp(w wire.WaitingWAL) {
	a.main.send(requestTimeout, &wire.AbandonWALRequest{Broker: w.Broker, Epoch: w.Epoch, GiveUp: true}, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		a.options.Looked()
		a.after(a.options.Pause, a.look)
	})
}
