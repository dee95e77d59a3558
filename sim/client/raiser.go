package client

import (
	"fmt"
	"time"

	"weir/core/controller"
	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Raiser is the administrator who raises the level of weir.metadata once all brokers are upgraded (KIP-584), or too early, and then asks again until
// it is raised. Afterwards it tries to lower the level, which must be refused.
type Raiser struct {
	session
	options RaiserOptions
	raised  bool
	lowered int // how often it has asked for a lower level and was refused
}

// RaiserOptions configure a raiser.
type RaiserOptions struct {
	// Level is what it asks for, Before what there is.
	Level, Before int64
	// Refused hears after each request that was refused, Raised once that the level is in force.
	Refused, Raised func()
	// Pause is the time between two requests.
	Pause time.Duration
}

// NewRaiser makes a raiser; Start starts it.
func NewRaiser(c *Cluster, client int, o RaiserOptions) *Raiser {
	r := &Raiser{options: o}
	r.init(c, client, r)
	return r
}

// Start connects and begins.
func (r *Raiser) Start() { r.connect() }

// Stop ends the client.
func (r *Raiser) Stop() { r.stop() }

// Done reports whether the level is raised, and was refused to be lowered.
func (r *Raiser) Done() bool { return r.raised && r.lowered >= len(downgrades) }

func (r *Raiser) sessionUp() { r.after(r.options.Pause, r.next) }

// downgrades are the types of updates by which a lower level may be asked for, in turn.
var downgrades = []controller.UpgradeType{controller.SafeDowngrade, controller.UnsafeDowngrade, controller.Upgrade}

func (r *Raiser) next() {
	switch {
	case r.Done():
	case r.raised:
		r.ask(r.options.Before, downgrades[r.lowered], r.lowerAnswered)
	default:
		r.ask(r.options.Level, controller.Upgrade, r.raiseAnswered)
	}
}

// ask asks for a level. An answer that is lost is asked for again, over another connection.
func (r *Raiser) ask(level int64, upgrade controller.UpgradeType, answered func(int16)) {
	q := kmsg.NewPtrUpdateFeaturesRequest()
	q.TimeoutMillis = 3000
	u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	u.Feature, u.MaxVersionLevel, u.UpgradeType = controller.MetadataFeature, int16(level), int8(upgrade)
	q.FeatureUpdates = append(q.FeatureUpdates, u)
	r.main.send(raiseTimeout, q, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		answered(response.(*kmsg.UpdateFeaturesResponse).ErrorCode)
		r.after(r.options.Pause, r.next)
	})
}

// raiseTimeout is longer than a broker waits for the others.
const raiseTimeout = 20 * time.Second

func (r *Raiser) raiseAnswered(code int16) {
	switch code {
	case 0:
		r.raised = true
		r.options.Raised()
	case wire.InvalidUpdateVersion:
		r.options.Refused()
	case wire.NotController, wire.RequestTimedOut: // nothing was decided, or it is not known what
	default:
		r.fail("a higher level", code)
	}
}

func (r *Raiser) lowerAnswered(code int16) {
	switch code {
	case wire.InvalidUpdateVersion:
		r.lowered++
	case wire.NotController, wire.RequestTimedOut:
	default:
		r.fail("a lower level", code)
	}
}

func (r *Raiser) fail(what string, code int16) {
	r.Fail(checker.Violation{Invariant: "level", Text: "UpdateFeatures for " + what + " of weir.metadata was answered with code " + fmt.Sprint(code)})
}
