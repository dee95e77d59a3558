package sim

import (
	"fmt"
	"strings"
	"time"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/sim/checker"
	"weir/sim/client"
	"weir/sim/event"
	"weir/sim/plan"
)

// upgrades are the releases that a cluster's machines run, and the level of records that it uses (design rule: every format has a version, and
// a level in the image gates writing).
//
// A node of an older release ends at a record or a snapshot that it does not know, refuses a heartbeat that is too long, and does not answer methods that
// came later, as that release did. It runs the present code otherwise: a difference in what it computes from the same records is not seen.
type upgrades struct {
	raiser *client.Raiser // nil: nobody raises the level
	before int64          // the level that the cluster was founded with; 0: the newest
}

// older is the release that machines of a plan begin with; 0: none is older than the newest.
func older(p *plan.Plan) (level int64) {
	for _, b := range p.Brokers {
		level = max(level, b.Release)
	}
	return level
}

// scheduleUpgrades arranges the restarts by which machines change their release, and when an administrator raises the level, counted from now.
func (w *world) scheduleUpgrades() {
	w.upgrades.before = older(w.plan)
	for i, spec := range w.plan.Brokers {
		if b := w.brokers[i]; spec.Upgrade > 0 {
			w.queue.Call(spec.Upgrade, b.upgrade)
		}
	}
	if w.plan.Config.Finalize > 0 && w.upgrades.before > 0 {
		w.queue.Call(w.plan.Config.Finalize, w.startRaiser)
	}
}

// restartPause is how long a machine is down at most while its release is exchanged.
const restartPause = 500 * time.Millisecond

// upgrade restarts a machine as the newest release.
func (b *broker) upgrade() {
	b.queue.Hit("world: a broker was upgraded")
	b.change(0)
}

// change restarts a machine as a release; 0: the newest. One that ends already starts as that.
func (b *broker) change(release int64) {
	b.release = release
	f := plan.Strike{Kind: "upgrade", For: b.draws.Duration(10*time.Millisecond, restartPause), Node: int64(b.machine.ID)}
	b.faultCount++
	b.effects.begin(b.world, &f)
	b.queue.Note(event.KindFault, b.machine.ID, event.SumString(f.Kind), uint64(release), 0)
	switch {
	case b.gone || !b.machine.Running() || b.ended != nil:
	case b.ready:
		b.shutdown(func() { b.bootAfter(f.For) })
	default:
		b.crash(false)
		b.bootAfter(f.For)
	}
}

// startRaiser lets an administrator raise the level.
func (w *world) startRaiser() {
	w.upgrades.raiser = client.NewRaiser(w.cluster, raiserClient, client.RaiserOptions{
		Level: controller.MetadataLevelMax, Before: w.upgrades.before, Pause: w.draws.Duration(100*time.Millisecond, time.Second),
		Refused: func() { w.queue.Hit("world: a level that some do not serve was refused") }, Raised: w.raised,
	})
	w.upgrades.raiser.Start()
}

// raised is called when an administrator is told that the level is in force: no broker is left that does not serve it.
func (w *world) raised() {
	w.queue.Hit("world: the level was raised")
	image := w.newestImage()
	for _, b := range w.brokers {
		if _, registered := image.Broker(metadata.BrokerID(b.config.NodeID)); registered && b.release != 0 {
			w.violate(checker.Violation{Invariant: "level", Text: fmt.Sprintf(
				"weir.metadata was raised to %d, and broker %d serves %d at most", controller.MetadataLevelMax, b.config.NodeID, b.release)})
		}
	}
	if i := w.plan.Config.Downgrade; i > 0 && i <= int64(len(w.brokers)) && !w.healed {
		w.brokers[i-1].downgrade()
	}
}

// downgrade starts a machine as the release that it was before. It must refuse to start.
func (b *broker) downgrade() {
	if b.plan.Brokers[b.machine.ID-1].Release == 0 || b.gone {
		return
	}
	b.queue.Hit("world: a broker was downgraded")
	b.downgraded = true
	b.change(b.plan.Brokers[b.machine.ID-1].Release)
}

// endsOlder takes the end of an incarnation of an older release: it may find what it does not know only once the level was raised beyond it. The
// administrator who started it then heeds what it says.
func (b *broker) endsOlder(err error) {
	unknown := strings.Contains(err.Error(), "a newer release wrote it")
	switch {
	case b.release == 0:
	case b.downgraded && (unknown || strings.Contains(err.Error(), "start the release that served it last")):
		b.queue.Hit("world: a downgraded broker refused to start")
		b.endDowngrade()
	case unknown && !b.raisedBeyond(b.release):
		b.violate(checker.Violation{Invariant: "level", Text: fmt.Sprintf(
			"broker %d serves weir.metadata up to %d, as the cluster uses it, and ends: %v", b.config.NodeID, b.release, err)})
	}
}

// raisedBeyond reports whether the level in force is one that a release does not serve.
func (w *world) raisedBeyond(release int64) bool {
	image := w.newestImage()
	return image != nil && int64(image.Feature(controller.MetadataFeature)) > release
}

func (b *broker) endDowngrade() { b.downgraded, b.release = false, 0 }

// healDowngrades ends the attempts to run older releases.
func (w *world) healDowngrades() {
	for _, b := range w.brokers {
		if b.downgraded {
			b.endDowngrade()
			b.crash(false)
		}
	}
}

// awaitRaised: once all brokers are upgraded and alive, the level can be raised.
func (w *world) awaitRaised() bool {
	r := w.upgrades.raiser
	if r == nil || w.violated() {
		return !w.violated()
	}
	for _, b := range w.brokers {
		if b.gone || b.release != 0 {
			r.Stop() // it is not known what that machine serves, or it is known to be too little
			return true
		}
	}
	done := w.await(convergeLimit, "weir.metadata to be raised", r.Done)
	r.Stop()
	return done
}

// level is that of records in the image that counts.
func (w *world) level() int16 {
	n := w.imageHolder()
	if n == nil {
		return 0
	}
	return n.Image().Feature(controller.MetadataFeature)
}
