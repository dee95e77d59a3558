package node

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"time"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/stream"
	"weir/core/task"
)

const (
	// adoptRetry is how soon a log that could not be read is read again.
	adoptRetry = 2 * time.Second
	// adoptRecordsMax bounds the records of seals that wait to be applied: the quorum's queue has room for others'.
	adoptRecordsMax = 16
)

// adoptions are the logs of other brokers' ended epochs that this one recovers (R14). Of those that the image assigns to it, it finds out how they end, and
// hands their partitions to the brokers that are alive. Then it reads what it leads of them, and of all others, and uploads that.
type adoptions struct {
	known   map[metadata.BrokerEpoch]bool // assigned logs that are recovered, or being recovered; lookups only
	busy    map[metadata.BrokerEpoch]bool // logs that are being recovered for either reason; lookups only
	opening bool                          // the partitions of one are being handed out
	reading int                           // assigned logs that are being recovered
	waiting int                           // of them, those that were read and lack what an older log says
	tails   int                           // other logs that are being read
	states  *partition.Replayed           // what logs say that are read whole before all that they hold has a new range

	owing []metadata.BrokerEpoch // logs that may hold more for this broker to recover than it has read, in no order
	named []metadata.Recovery    // as the image had them when all streams were looked at last
	level int16                  // likewise
}

// Adopts reports whether the log of another broker's ended epoch is being read. A shutdown does not wait for it: what the read
// holds goes with the process.
func (n *Node) Adopts() bool { return n.adoptions.reading > 0 || n.adoptions.tails > 0 }

// adopt recovers what the image says that this epoch is to recover: the partitions of one log after another get their new leaders, and meanwhile
// those before are read.
func (n *Node) adopt() {
	if n.peers == nil || !n.started || n.failed || n.shutting {
		return
	}
	n.adoptTails()
	if n.adoptions.opening {
		return
	}
	for _, r := range n.metadata.image.Recoveries() {
		if r.By != n.epoch || n.adoptions.known[r.Ended] || n.adoptions.busy[r.Ended] {
			continue
		}
		n.adoptions.known[r.Ended], n.adoptions.opening = true, true
		n.adoptions.reading++
		a := &adoption{node: n, log: r, began: n.loop.Now()}
		a.begin(func() { n.adoptions.reading-- }, func() { delete(n.adoptions.known, r.Ended) })
		return
	}
}

// noteOwed notes the logs of which this broker may have to recover more than before, since it leads streams that they have records of. It looks at
// all streams only if other logs are to be recovered, or by others.
func (n *Node) noteOwed(changes *metadata.Changes) {
	im, a := n.metadata.image, &n.adoptions
	recoveries, level := im.Recoveries(), im.Feature(controller.MetadataFeature)
	if changes.All || a.level != level || !slices.Equal(a.named, recoveries) {
		a.named, a.level, a.owing = slices.Clone(recoveries), level, nil
		for _, r := range recoveries {
			if r.Shared {
				a.owing = append(a.owing, r.Ended)
			}
		}
		return
	}
	if len(recoveries) == 0 {
		return
	}
	for _, id := range changes.Streams {
		if s, ok := im.Stream(id); ok {
			n.noteOwedOf(s)
		}
	}
}

func (n *Node) noteOwedOf(s *metadata.Stream) {
	for i := range s.Ranges[:len(s.Ranges)-1] {
		r := &s.Ranges[i]
		mine := r.Committed < r.End && r.BrokerEpoch != n.epoch && n.metadata.image.Committer(s, r) == n.epoch
		if mine && !slices.Contains(n.adoptions.owing, r.BrokerEpoch) && !n.engine.HasTail(s.ID, r.LeaderEpoch) {
			n.adoptions.owing = append(n.adoptions.owing, r.BrokerEpoch)
		}
	}
}

// adoptTails reads what this broker leads of the logs that have no open ranges any more: so a log is read once, however many records
// its partitions are handed out with.
func (n *Node) adoptTails() {
	im := n.metadata.image
	var later []metadata.BrokerEpoch
	for _, ended := range n.adoptions.owing {
		switch {
		case im.EpochLeads(ended) || n.adoptions.busy[ended]:
			later = append(later, ended)
		case im.EpochOwes(ended) && n.engine.Lacks(ended):
			n.adoptTail(ended)
		}
	}
	n.adoptions.owing = later
}

func (n *Node) adoptTail(ended metadata.BrokerEpoch) {
	named := slices.IndexFunc(n.adoptions.named, func(r metadata.Recovery) bool { return r.Ended == ended })
	if named < 0 {
		return
	}
	n.telemetry.Hit("node: a leader reads what another broker's log has of its streams")
	n.adoptions.tails++
	a := &adoption{node: n, log: n.adoptions.named[named], began: n.loop.Now(), next: true, taken: true, soon: true}
	a.begin(func() { n.adoptions.tails-- }, func() { n.adoptions.owing = append(n.adoptions.owing, ended) })
}

// adoption is the recovery of one log.
type adoption struct {
	node  *Node
	log   metadata.Recovery
	began env.Time
	next  bool // the next log's turn came
	taken bool // its partitions have leaders
	soon  bool // its newest summary said how it ends
	whole bool // all of it was read
}

// begin begins to recover the log. over is called when that has ended, and again if it failed, a while later.
func (a *adoption) begin(over, again func()) {
	n, ended := a.node, a.log.Ended
	n.adoptions.busy[ended] = true
	n.loop.Go("recover another broker's log", func(p *task.Proc) {
		err := a.run(p)
		over()
		a.opened()
		if err == nil || n.failed || n.shutting {
			delete(n.adoptions.busy, ended)
			n.loop.Post(n.adopt)
			return
		}
		a.warn(err)
		n.loop.After(adoptRetry, func() {
			delete(n.adoptions.busy, ended)
			again()
			n.adopt()
		})
	})
}

// opened lets the next log have its turn.
func (a *adoption) opened() {
	if n := a.node; !a.next {
		a.next, n.adoptions.opening = true, false
		n.loop.Post(n.adopt)
	}
}

func (a *adoption) warn(err error) {
	text := "the log of a dead broker cannot be recovered, and its partitions have no leader; it is tried again. Start that broker, or see what keeps this one from reading the log"
	if a.taken {
		text = "the log of a dead broker cannot be read; its partitions have other leaders, and readers of what only the log has wait. It is tried again. See what keeps this broker from reading it"
	}
	a.node.lines.Warn(a.node.telemetry, "adopt", a.node.loop.Now(), text,
		slog.Int64("broker", int64(a.log.Broker)), slog.Int64("epoch", int64(a.log.Ended)), slog.String("error", err.Error()))
}

func (a *adoption) run(p *task.Proc) error {
	n := a.node
	if err := n.fenceLog(p, a.log.Ended); err != nil {
		return err
	}
	if n.metadata.image.EpochLeads(a.log.Ended) {
		if err := a.open(p); err != nil || n.failed {
			return err
		}
	}
	a.taken = true
	a.opened()
	if err := a.readRest(p); err != nil || n.failed {
		return err
	}
	n.engine.UploadTails() // ranges that were sealed before change nothing in the image, by which it would learn of them
	n.telemetry.Hit("node: another broker's log was recovered")
	n.telemetry.Info("read a dead broker's log", slog.Int64("broker", int64(a.log.Broker)), slog.Int64("epoch", int64(a.log.Ended)),
		slog.Duration("took", n.loop.Now().Sub(a.began)))
	return nil
}

// readRest reads the log for those who read its records. A newer log may continue the states of one without open ranges.
func (a *adoption) readRest(p *task.Proc) error {
	if a.whole {
		return nil
	}
	var into stream.Replayer
	if !a.soon {
		into = a.node.adoptions.states
	}
	_, err := a.read(p, into)
	return err
}

// errOlderSummaries: releases that serve only lower levels leave out of summaries what is committed and not shipped.
var errOlderSummaries = errors.New("the log may be of a release whose summaries lack streams")

// open gives the log's partitions to brokers that are alive: at once, if the newest summary says enough, else once all of the log was read, after
// those before it. It waits for no log that itself waits for what an older one says: this may be that one, if it could not be read at first.
func (a *adoption) open(p *task.Proc) error {
	n := a.node
	into := n.partitions.NewReplayed()
	var ends []metadata.RangeEnd
	err := errOlderSummaries
	if n.metadata.image.Feature(controller.MetadataFeature) >= controller.CleaningLevel {
		p.Await(func(wake func()) {
			n.engine.RecoverEnds(n.storedName(a.log.Ended), a.log.Ended, into, func(found []metadata.RangeEnd, recoverErr error) {
				ends, err = found, recoverErr
				wake()
			})
		})
	}
	if a.soon = err == nil; a.soon {
		n.telemetry.Hit("node: partitions of another broker's log opened before it was read")
	} else if !n.failed {
		n.telemetry.Hit("node: partitions of another broker's log opened once it was read")
		for n.adoptions.reading-n.adoptions.waiting > 1 && !n.failed {
			p.Sleep(startPoll)
		}
		into = n.adoptions.states
		ends, err = a.read(p, into)
	}
	if err != nil || n.failed {
		return err
	}
	n.sealRecovered(p, a.seals(p, ends, into))
	n.telemetry.Info("took over a dead broker's partitions", slog.Int64("broker", int64(a.log.Broker)), slog.Int64("epoch", int64(a.log.Ended)),
		slog.Int("partitions", len(ends)), slog.Duration("took", n.loop.Now().Sub(a.began)))
	return nil
}

// read reads the whole log.
func (a *adoption) read(p *task.Proc, into stream.Replayer) (ends []metadata.RangeEnd, err error) {
	n := a.node
	p.Await(func(wake func()) {
		n.engine.RecoverLog(n.storedName(a.log.Ended), a.log.Ended, into, func(found []metadata.RangeEnd, recoverErr error) {
			ends, err = found, recoverErr
			wake()
		})
	})
	a.whole = err == nil
	return ends, err
}

// seals are what closes the ranges of a recovered log at their ends. Each states the producers as of the end: as the log says, or the image. If neither
// does, nothing was written in the range, and an older log says it, which is read first or uploaded.
func (a *adoption) seals(p *task.Proc, ends []metadata.RangeEnd, states *partition.Replayed) []metadata.Seal {
	n := a.node
	seals := make([]metadata.Seal, 0, len(ends))
	for _, e := range ends {
		seals = append(seals, metadata.Seal{RangeEnd: e, Checkpoint: states.Checkpoint(e.Stream, e.End)})
	}
	n.adoptions.waiting++
	defer func() { n.adoptions.waiting-- }()
	for !n.failed && slices.ContainsFunc(seals, n.lacksState) {
		n.telemetry.Hit("node: another broker's log waits for an older one, which has the state of its producers")
		a.opened()
		p.Sleep(startPoll)
		for i := range seals {
			if s := &seals[i]; len(s.Checkpoint) == 0 {
				s.Checkpoint = n.adoptions.states.Checkpoint(s.Stream, s.End)
			}
		}
	}
	return seals
}

// lacksState reports whether nothing says the state of producers as of a seal's end.
func (n *Node) lacksState(s metadata.Seal) bool {
	image, ok := n.metadata.image.Stream(s.Stream)
	return ok && image.Newest().LeaderEpoch == s.LeaderEpoch && len(s.Checkpoint) == 0 && image.CheckpointEnd != s.End
}

// sealRecovered closes the ranges of a recovered log, and opens the next of each for a broker that is alive.
func (n *Node) sealRecovered(p *task.Proc, seals []metadata.Seal) {
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
		var states *stream.StoredStates
		p.Await(func(wake func()) {
			n.storeStates(seals, func(stored *stream.StoredStates) {
				states = stored
				wake()
			})
		})
		var left []metadata.Seal
		for together := range slices.Chunk(metadata.Chunks(seals, sealsMax, n.recordBytesMax(), sealBytesOf), adoptRecordsMax) {
			refused, err := n.sealPieces(p, together, states)
			if err != nil {
				p.Sleep(sealRetry)
			}
			left = append(left, refused...)
		}
		states.Release()
		if len(left) == len(seals) { // those that were alive are not any more
			p.Sleep(sealRetry)
		}
		seals = left
	}
}

// sealPieces proposes a record for each piece, all at once, since each takes as long as a round of the quorum and a PUT. It
// returns the seals that still are to be made, and an error that some record met.
func (n *Node) sealPieces(p *task.Proc, pieces [][]metadata.Seal, states *stream.StoredStates) (left []metadata.Seal, err error) {
	open := len(pieces)
	p.Await(func(wake func()) {
		for _, piece := range pieces {
			n.metadata.Propose(n.sealRecord(piece, states), func(_ metadata.Outcome, proposeErr error) {
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
