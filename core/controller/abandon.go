package controller

import (
	"log/slog"
	"slices"
	"time"

	"weir/core/metadata"
	"weir/core/wire"
)

// waitingInterval is how often operators hear of partitions that wait for the log of a broker that is gone.
const waitingInterval = time.Minute

// LogUse is what a broker last said of its write-ahead log: how many bytes were not uploaded yet, and how many it may hold. -1: not known
// to this controller.
type LogUse struct{ Bytes, BytesMax int64 }

// LogUse is what a broker's last heartbeat to this controller said of its log.
func (s *Sessions) LogUse(id metadata.BrokerID) LogUse {
	if use, ok := s.logs[id]; ok {
		return use
	}
	return LogUse{-1, -1}
}

// AbandonWAL gives up what only the lost logs of a broker hold, by an administrator's word (R16). Epoch is the broker's newest, as the
// administrator was shown it; at is the wall clock's milliseconds. done gets an *Error if it is refused.
func (s *Sessions) AbandonWAL(id metadata.BrokerID, epoch metadata.BrokerEpoch, at int64, done func(error)) {
	if err := s.mayAbandon(id, epoch); err != nil {
		done(err)
		return
	}
	r := &metadata.AbandonWAL{Broker: id, Epoch: epoch, Offsets: s.UncommittedOffsetsMax, At: at, Term: s.term}
	for _, b := range s.Alive() {
		r.Leaders = append(r.Leaders, metadata.Leader{Broker: b.ID, Epoch: b.Epoch})
	}
	s.propose(r, func(err error) {
		if err == nil {
			s.Telemetry.Hit("controller: a lost log was given up")
			s.Telemetry.Warn("the write-ahead logs of a broker were given up by an administrator: what was acknowledged and is in no object is lost. If the broker returns with its log disk, it must not use the old logs",
				slog.Int64("broker", int64(id)), slog.Int64("epoch", int64(epoch)))
		}
		done(kafka(err))
	})
}

// mayAbandon says why logs are not to be given up.
func (s *Sessions) mayAbandon(id metadata.BrokerID, epoch metadata.BrokerEpoch) error {
	b, known := s.Image.Broker(id)
	switch {
	case s.Image.Feature(MetadataFeature) < CleaningLevel:
		return refuse(wire.UnsupportedVersion, "Brokers of an older release would not know what this means: upgrade feature %s to level %d first.", MetadataFeature, CleaningLevel)
	case !known:
		return refuse(wire.BrokerIDNotRegistered, "Broker ID %d is not currently registered", id)
	case !b.Fenced:
		return refuse(wire.InvalidRequest, "Broker %d is alive, or recovers its log: end its process first, and wait until it is fenced.", id)
	case b.Epoch != epoch:
		return refuse(wire.InvalidRequest, "Broker %d was at epoch %d when this was decided, and is at %d now: look again.", id, epoch, b.Epoch)
	case !slices.ContainsFunc(s.Image.WaitingWALs(), func(w metadata.WaitingWAL) bool { return w.Broker == id }):
		return refuse(wire.InvalidRequest, "Nothing waits for the logs of broker %d: they hold nothing that is not uploaded, or other brokers recover them.", id)
	case len(s.Alive()) == 0:
		return refuse(wire.LeaderNotAvailable, "No broker is there to lead the partitions.")
	}
	return nil
}

// reviewWaiting tells operators, now and then, which partitions wait for the log of a broker that is gone, and what to do.
func (s *Sessions) reviewWaiting() {
	if !s.leads || s.reminder.Pending() {
		return
	}
	partitions := int64(0)
	if slices.ContainsFunc(s.Image.Recoveries(), func(r metadata.Recovery) bool { return !r.Shared && !s.Image.Current(r.By) }) {
		for _, w := range s.Image.WaitingWALs() {
			partitions += int64(w.Partitions)
			s.Telemetry.Hit("controller: partitions wait for a log that only a dead broker has")
			s.Telemetry.Warn("partitions wait for the write-ahead log of a broker that is gone, and nobody else can read it: start that broker again, with its log disk. If the disk is lost for good, weir abandon-wal accepts the loss",
				slog.Int64("broker", int64(w.Broker)), slog.Int("partitions", w.Partitions), slog.Int("without_leader", w.Leaderless))
		}
	}
	s.waiting.Set(partitions)
	if partitions > 0 {
		s.Loop.Reset(&s.reminder, waitingInterval, s.reviewWaiting)
	}
}
