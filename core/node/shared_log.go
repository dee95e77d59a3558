package node

import (
	"errors"
	"slices"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/wal"
)

// recovers says whether the log of an epoch is this node's to recover at its start. In a directory of its own every log is. In a
// shared one it leaves alone what others write or recover, what it recovers of others once it runs (adopt), and what is of epochs that
// its image does not know yet. A log that nothing is owed of is removed by whoever starts first: nothing is ever owed of it again.
func (n *Node) recovers(epoch metadata.BrokerEpoch) bool {
	im := n.metadata.image
	if !n.config.WALShared {
		return true
	}
	if uint64(epoch) > im.AppliedIndex() || n.epoch != 0 && epoch >= n.epoch {
		return false
	}
	own := metadata.BrokerID(n.config.NodeID)
	for _, r := range im.Recoveries() {
		if r.Ended == epoch {
			return r.Broker == own && (r.By == n.epoch || n.epoch == 0 && !im.Current(r.By))
		}
	}
	return !slices.ContainsFunc(im.Brokers(), func(b *metadata.Broker) bool { return b.ID != own && b.Epoch == epoch })
}

// fenceLog keeps the owner of a shared log, which may still live somewhere, from acknowledging what recovery does not
// find (R8). One that is private was written when the directory was, by a process that has ended since.
func (n *Node) fenceLog(p *task.Proc, epoch metadata.BrokerEpoch) error {
	if _, object := n.metadata.image.ObjectWAL(epoch); object || !n.config.WALShared {
		return nil // the seal of an object log is its fence (R6); nobody else reads a private one
	}
	err := n.tryFence(p, epoch)
	for errors.Is(err, env.ErrDiskFull) {
		if err := n.makeRoom(p, err); err != nil {
			return err
		}
		err = n.tryFence(p, epoch)
	}
	var private *wal.PrivateError
	if errors.As(err, &private) {
		n.telemetry.Hit("node: a private log in a shared directory")
		return nil
	}
	return err
}

func (n *Node) tryFence(p *task.Proc, epoch metadata.BrokerEpoch) (err error) {
	p.Await(func(wake func()) {
		wal.Fence(n.loop, n.env, logName(epoch), n.env.Rand.Uint64("wal fence", uint64(n.epoch), uint64(epoch)), func(fenceErr error) {
			err = fenceErr
			wake()
		})
	})
	return err
}

// sweepFences removes the fences of logs that are gone.
func (n *Node) sweepFences(p *task.Proc) (err error) {
	p.Await(func(wake func()) {
		wal.SweepFences(n.loop, n.env, func(sweepErr error) {
			err = sweepErr
			wake()
		})
	})
	return err
}
