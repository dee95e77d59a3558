package node

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"weir/core/metadata"
	"weir/core/task"
)

const (
	// adoptRetry is how soon a log that could not be read is read again.
	adoptRetry = 2 * time.Second
	// adoptRecordsMax bounds the records of seals that wait to be applied: the quorum's queue has room for others'.
	adoptRecordsMax = 16
)

// adoptions are the logs of other brokers' ended epochs that this one recovers (R14): it reads them, hands their partitions to
// the brokers that are alive, and uploads what they hold.
type adoptions struct {
	known map[metadata.BrokerEpoch]bool // recovered, or being recovered; lookups only
	busy  bool                          // one is being read
}

// Adopts reports whether the log of another broker's ended epoch is being read. A shutdown does not wait for it: what the read
// holds goes with the process.
func (n *Node) Adopts() bool { return n.adoptions.busy }

// adopt recovers what the image says that this epoch is to recover, one log after another.
func (n *Node) adopt() {
	if n.peers == nil || !n.started || n.failed || n.shutting || n.adoptions.busy {
		return
	}
	for _, r := range n.metadata.image.Recoveries() {
		if r.By != n.epoch || n.adoptions.known[r.Ended] {
			continue
		}
		n.adoptions.known[r.Ended], n.adoptions.busy = true, true
		n.loop.Go("recover another broker's log", func(p *task.Proc) {
			err := n.adoptLog(p, r)
			n.adoptions.busy = false
			if err != nil && !n.failed && !n.shutting {
				delete(n.adoptions.known, r.Ended)
				n.lines.Warn(n.telemetry, "adopt", n.loop.Now(),
					"the log of a dead broker cannot be recovered, and its partitions have no leader; it is tried again. Start that broker, or see what keeps this one from reading the log",
					slog.Int64("broker", int64(r.Broker)), slog.Int64("epoch", int64(r.Ended)), slog.String("error", err.Error()))
				n.loop.After(adoptRetry, n.adopt)
				return
			}
			n.adopt()
		})
		return
	}
}

func (n *Node) adoptLog(p *task.Proc, r metadata.Recovery) error {
	began := n.loop.Now()
	if err := n.fenceLog(p, r.Ended); err != nil {
		return err
	}
	var ends []metadata.RangeEnd
	var err error
	p.Await(func(wake func()) {
		n.engine.RecoverLog(n.storedName(r.Ended), r.Ended, n.partitions, func(found []metadata.RangeEnd, recoverErr error) {
			ends, err = found, recoverErr
			wake()
		})
	})
	if err != nil || n.failed {
		return err
	}
	if err := n.sealRecovered(p, ends); err != nil {
		return err
	}
	n.engine.UploadTails() // ranges that were sealed before change nothing in the image, by which it would learn of them
	n.telemetry.Hit("node: another broker's log was recovered")
	n.telemetry.Info("took over a dead broker's partitions", slog.Int64("broker", int64(r.Broker)), slog.Int64("epoch", int64(r.Ended)),
		slog.Int("partitions", len(ends)), slog.Duration("took", n.loop.Now().Sub(began)))
	return nil
}

// sealRecovered closes the ranges of a recovered log at their ends, and opens the next of each for a broker that is alive.
func (n *Node) sealRecovered(p *task.Proc, ends []metadata.RangeEnd) error {
	seals := make([]metadata.Seal, 0, len(ends))
	for _, e := range ends {
		seals = append(seals, metadata.Seal{RangeEnd: e, Checkpoint: n.partitions.TakeRecovered(e.Stream, e.End)})
	}
	for !n.failed && len(seals) > 0 {
		alive := n.takersBut(0)
		if len(alive) == 0 {
			p.Sleep(startPoll)
			continue
		}
		for i := range seals {
			b := alive[int(uint64(seals[i].Stream)%uint64(len(alive)))]
			seals[i].Next = metadata.Leader{Broker: b.ID, Epoch: b.Epoch}
		}
		var left []metadata.Seal
		pieces := metadata.Chunks(seals, sealsMax, n.recordBytesMax(), func(s *metadata.Seal) int { return sealBytes + len(s.Checkpoint) })
		for together := range slices.Chunk(pieces, adoptRecordsMax) {
			refused, err := n.sealPieces(p, together)
			if err != nil {
				p.Sleep(sealRetry)
			}
			left = append(left, refused...)
		}
		seals = left
	}
	return nil
}

// sealPieces proposes a record for each piece, all at once, since each takes as long as a round of the quorum and a PUT. It
// returns the seals that still are to be made, and an error that some record met.
func (n *Node) sealPieces(p *task.Proc, pieces [][]metadata.Seal) (left []metadata.Seal, err error) {
	open := len(pieces)
	p.Await(func(wake func()) {
		for _, piece := range pieces {
			n.metadata.Propose(&metadata.SealRanges{By: n.epoch, Seals: piece}, func(_ metadata.Outcome, proposeErr error) {
				err = cmp.Or(proposeErr, err)
				if open--; open == 0 {
					wake()
				}
			})
		}
	})
	for _, s := range slices.Concat(pieces...) {
		if image, ok := n.metadata.image.Stream(s.Stream); ok && image.Newest().LeaderEpoch == s.LeaderEpoch {
			left = append(left, s)
		}
	}
	return left, err
}
