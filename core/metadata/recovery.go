package metadata

// LevelFeature is the feature whose level says which records and snapshots a cluster uses, and what they mean.
const LevelFeature = "weir.metadata"

// LeadersRecoverLevel is the level of LevelFeature from which on the leaders of streams recover what a dead log holds of them. Below it, the
// epoch that [Recovery.By] names recovers all of the log: releases before know nothing else, and would refuse the commits of others.
const LeadersRecoverLevel = 3

// Committer is the epoch that may commit a range of a stream (R1): the range's own, and once that has ended, the one that recovers the
// range (R14); 0: nobody is named. It is one at a time (I4).
//
// What is sealed of a log that others can read is recovered by the leader of the stream, so that a dead log has as many recoverers as its
// streams have leaders, and a recoverer that dies is replaced with the leader. Everything else is recovered by the epoch that [Recovery.By]
// names: what is still open; what has no leader who is alive and can read the log; and logs that nobody but their broker can read.
func (im *Image) Committer(s *Stream, r *Range) BrokerEpoch {
	if im.Current(r.BrokerEpoch) {
		return r.BrokerEpoch
	}
	log := im.recoveryOf(r.BrokerEpoch)
	switch {
	case log == nil:
		return 0
	case !r.Open() && log.Shared && im.Feature(LevelFeature) >= LeadersRecoverLevel && im.reads(s.Newest().BrokerEpoch, log):
		return s.Newest().BrokerEpoch
	}
	return log.By
}

// reads reports whether a broker epoch is alive and can read another's log, which is not its broker's alone.
func (im *Image) reads(epoch BrokerEpoch, log *Recovery) bool {
	for _, b := range im.brokers {
		if b.Epoch == epoch {
			_, object := im.ObjectWAL(log.Ended)
			return !b.Fenced && (object || b.SharedWAL)
		}
	}
	return false
}

// Recoverer is the epoch that closes the open ranges of an ended one; 0 if none is named.
func (im *Image) Recoverer(ended BrokerEpoch) BrokerEpoch {
	if r := im.recoveryOf(ended); r != nil {
		return r.By
	}
	return 0
}

func (im *Image) recoveryOf(ended BrokerEpoch) *Recovery {
	for i := range im.recoveries {
		if im.recoveries[i].Ended == ended {
			return &im.recoveries[i]
		}
	}
	return nil
}

// EpochLeads reports whether a range of a broker epoch is open.
func (im *Image) EpochLeads(epoch BrokerEpoch) bool { return im.leads[epoch] > 0 }

// Owed returns the ranges of an epoch that are not wholly committed, ascending by stream, then
// leader epoch; End is -1 of those that are open. It looks at every stream.
func (im *Image) Owed(epoch BrokerEpoch) (owed []RangeEnd) {
	if im.owed[epoch] == 0 {
		return nil
	}
	for _, id := range im.streamIDs() {
		s := im.streams[id]
		for i := range s.Ranges {
			if r := &s.Ranges[i]; r.BrokerEpoch == epoch && r.owes() {
				owed = append(owed, RangeEnd{id, r.LeaderEpoch, r.End})
			}
		}
	}
	return owed
}
