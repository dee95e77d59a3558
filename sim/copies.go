package sim

import (
	"errors"
	"slices"
	"strings"
	"time"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/node"
	"weir/core/quorum"
	"weir/sim/disk"
	"weir/sim/event"
	"weir/sim/machine"
	"weir/sim/plan"
)

// copies are the faults of disks that are restored, cloned or lost (R19). One is under way at
// a time: it ends when the operator has made things right, at the latest when all faults heal.
type copies struct {
	end    func() // ends the fault that is under way; nil: none is
	serial int
	shelf  uint64 // numbers the copies
}

// isCopy reports whether a fault is one of copies.
func isCopy(kind string) bool {
	return kind == "meta-old" || kind == "disks-old" || kind == "clone" || kind == "meta-lost" || slices.Contains(plan.LossKinds, kind)
}

// scheduleCopy arranges a fault of copies. What is restored was copied Amount before.
func (w *world) scheduleCopy(f *plan.Strike) {
	if f.Kind != "meta-old" {
		w.queue.Call(f.At, func() { w.strikeCopy(f, nil) })
		return
	}
	var old []*disk.Disk
	w.queue.Call(max(0, f.At-f.Amount), func() {
		for _, b := range w.brokers {
			old = append(old, w.shelve(b.meta))
		}
	})
	w.queue.Call(max(f.At, 1), func() { w.strikeCopy(f, old) })
}

func (w *world) strikeCopy(f *plan.Strike, old []*disk.Disk) {
	if w.healed || w.copies.end != nil {
		return
	}
	if w.cluster.Several && f.Node == 0 && f.Zone == 0 && (f.Kind == "meta-lost" || f.Kind == "disks-lost") {
		w.loseQuorum(f)
		return
	}
	for _, b := range w.targets(f) {
		if !b.real || !b.wanted || w.copies.end != nil {
			continue
		}
		w.faultCount++
		w.queue.Note(event.KindFault, b.machine.ID, event.SumString(f.Kind), uint64(f.For), uint64(f.Amount))
		switch i := int(b.machine.ID) - 1; {
		case f.Kind == "meta-old" && i < len(old):
			b.restoreMetadata(f, old[i])
		case f.Kind == "disks-old":
			b.restoreDisks(f)
		case f.Kind == "clone":
			b.runClone(f)
		case f.Kind == "meta-lost" && !w.cluster.Several:
			b.loseMetadata(f)
		case slices.Contains(plan.LossKinds, f.Kind) && w.cluster.Several:
			b.loseLog(f)
		}
	}
}

// underWay notes that a fault of copies goes on for a time; end then runs, once.
func (w *world) underWay(limit time.Duration, end func()) {
	w.copies.serial++
	serial := w.copies.serial
	w.copies.end = end
	w.queue.Call(limit, func() {
		if serial == w.copies.serial {
			w.endCopy()
		}
	})
}

// endCopy ends the fault of copies that is under way, if any.
func (w *world) endCopy() {
	end := w.copies.end
	w.copies.end = nil
	w.copies.serial++
	if end != nil {
		end()
	}
}

// shelve is a copy of a disk, as a power failure at this moment would leave it.
func (w *world) shelve(of *disk.Disk) *disk.Disk {
	w.copies.shelf++
	return of.Snapshot(w.copies.shelf)
}

// bootSoon is how long it takes until a machine whose disks were changed is switched on.
const bootSoon = 20 * time.Millisecond

// insert exchanges the metadata disk, and the log disk unless it is nil, and switches the machine on.
func (b *broker) insert(meta, wal *disk.Disk) {
	b.crash(true)
	b.meta.CopyFrom(meta)
	if wal != nil {
		b.wal.CopyFrom(wal)
	}
	b.cluster.Undone()
	b.served, b.lastError = false, nil
	b.bootAfter(bootSoon)
}

// restoreMetadata: the metadata disk alone comes back from an older copy. It catches up, or its
// start ends: then the operator puts the newer disk back.
func (b *broker) restoreMetadata(f *plan.Strike, old *disk.Disk) {
	b.crash(true)
	kept := b.shelve(b.meta)
	b.insert(old, nil)
	b.underWay(f.For, func() {
		if b.served {
			b.queue.Hit("copies: an old metadata disk caught up and served")
			return
		}
		b.queue.Hit("copies: an old metadata disk was exchanged for the newer one")
		b.insert(kept, nil)
	})
}

// restoreDisks: a backup of both disks is made while the machine is switched off, and takes their place
// Amount later. Its starts end, unless nothing is owed that only the newer log holds.
func (b *broker) restoreDisks(f *plan.Strike) {
	b.crash(true)
	meta, wal := b.shelve(b.meta), b.shelve(b.wal)
	b.bootAfter(bootSoon)
	b.underWay(f.Amount, func() {
		if b.healed {
			return
		}
		b.crash(true)
		newMeta, newWAL := b.shelve(b.meta), b.shelve(b.wal)
		b.insert(meta, wal)
		b.underWay(f.For, func() {
			// A start makes its log before it finds out that one is missing, and opens nothing then.
			missing := !b.served && errors.Is(b.lastError, controller.ErrWALNotRead)
			if newestLog(newWAL) < newestLog(b.wal) && !missing {
				b.queue.Hit("copies: old disks served, since nothing was owed")
				return
			}
			b.queue.Hit("copies: old disks were exchanged for the newer ones")
			b.insert(newMeta, newWAL)
		})
	})
}

// runClone: the machine's volumes are copied while it is switched off, and both machines are switched on.
// At most one serves; the operator keeps the one whose log disk is the newest.
func (b *broker) runClone(f *plan.Strike) {
	b.crash(true)
	b.cluster.Undone()
	clone := b.addClone(b)
	b.bootAfter(bootSoon)
	clone.bootAfter(bootSoon + b.draws.Duration(0, 2*bootSoon))
	b.underWay(f.For, func() {
		winner, loser := b, clone
		if newestLog(b.wal) < newestLog(clone.wal) {
			b.queue.Hit("copies: a clone won")
			winner, loser = clone, b
		}
		loser.wanted = false
		loser.crash(true)
		if !winner.machine.Running() {
			winner.bootAfter(bootSoon)
		}
	})
}

// newestLog is the name of the newest log on a disk. Names sort as the broker epochs that they are of, so that
// of two copies of a disk the one with the higher name went on last.
func newestLog(d *disk.Disk) string {
	names := slices.DeleteFunc(d.Names(), func(name string) bool { return !strings.HasPrefix(name, "wal-") })
	return slices.Max(append(names, ""))
}

// loseMetadata: the metadata disk is lost, and rebuilt from the store. Where all logs are in the store, so is the other.
func (b *broker) loseMetadata(f *plan.Strike) {
	b.crash(true)
	b.meta.Wipe()
	if b.plan.Config.WALObject == 1 {
		b.wal.Wipe()
		b.queue.Hit("copies: all disks were lost")
	}
	b.cluster.Undone()
	b.rebuilding = true
	b.bootAfter(f.For)
	b.copies.end = func() {}
}

// recoverCluster is `weir recover-cluster` on the machine: its operator runs it until it ends well, then starts the
// broker.
func (b *broker) recoverCluster(e env.Env, box *machine.Box) machine.Node {
	return node.NewClusterRecovery(e, node.RecoveryOptions{
		Config: b.config, Confirm: func(node.ClusterReport) bool { return true },
		Done: func(r node.ClusterReport, err error) {
			if box.Dead() {
				return
			}
			b.lastError = err
			if err == nil && r.Done || errors.Is(err, quorum.ErrNotEmpty) { // not empty: an earlier try was cut off at its very end
				b.queue.Hit("copies: the metadata disk was rebuilt")
				b.rebuilding, b.copies.end = false, nil
			} else {
				b.queue.Hit("copies: a rebuild failed, and was tried again")
			}
			b.queue.Call(0, func() {
				if !box.Dead() {
					b.crash(false)
					b.bootAfter(b.draws.Duration(10*time.Millisecond, 300*time.Millisecond))
				}
			})
		},
	})
}

// addClone adds a machine whose disks hold what a power failure at this moment would
// leave on the disks of another, as a copy of its volumes does. It has that broker's
// node id and zone, and is not started.
func (w *world) addClone(of *broker) *broker {
	b := w.addBroker(plan.Broker{NodeID: int64(of.config.NodeID), Zone: of.zone})
	b.wal.CopyFrom(of.wal)
	b.meta.CopyFrom(of.meta)
	return b
}
