package metadata

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// UncommittedOffsetsMax bounds the offsets that a range's owner gives beyond what is committed of the range and shipped: it takes no
// append that would pass this. So the image knows where a range ends at most, whatever its WAL held (R16). What is appended between two
// uploads is far less: it bounds records, not bytes, and delays appends only.
const UncommittedOffsetsMax = 1 << 31

// AbandonWAL gives up the WALs of a broker's ended epochs that no other broker can read (R16): an administrator accepts that what was
// acknowledged and is in no object yet is lost. What those epochs owe is given up: each of their ranges is committed up to its end
// by a part without an object ([Part.Lost]). One that is open ends Offsets above what is committed, where its WAL ended at most, so
// that no offset ever gets a second value, and the next range opens there for one of Leaders. The state of producers stays that of
// the newest checkpoint, and counts as of the end of what is lost behind it: a newer log goes on from there.
//
// The active controller proposes it in its term, of a broker whose newest epoch, Epoch, is fenced: once the broker has registered anew,
// it recovers its logs itself. A broker that starts without its logs proposes it of those that Ended names, which its Epoch recovers, by the word
// of its own administrator, and leads on itself; Term is 0 then. Refused if nothing is owed.
//
// Outcome.First is how many partitions lost their tail.
type AbandonWAL struct {
	Broker  BrokerID
	Epoch   BrokerEpoch
	Ended   []BrokerEpoch // whose WALs; empty: all that no other broker can read
	Offsets int64         // UncommittedOffsetsMax of the release that proposes it
	At      int64         // wall-clock milliseconds of the proposer
	Leaders []Leader      // streams are spread over them; their epochs must be current
	Term    uint64        // of the controller that proposes it; 0: the broker itself does
}

// AppendTo implements Record.
func (r *AbandonWAL) AppendTo(dst []byte) []byte { return encode(dst, typeAbandonWAL, r) }

func (r *AbandonWAL) fields(c *coder) {
	integer(c, &r.Broker)
	integer(c, &r.Epoch)
	list(c, &r.Ended, 1, integer)
	integer(c, &r.Offsets)
	integer(c, &r.At)
	list(c, &r.Leaders, leaderBytesMin, fieldsOf)
	natural(c, &r.Term)
}

// Lost says that no object has the part's records: they were only in a WAL that was given up (R16). Readers pass over it.
func (p *Part) Lost() bool { return p.Object == 0 }

func (r *AbandonWAL) apply(im *Image) error {
	if err := im.ofTerm(r.Term); err != nil {
		return err
	}
	lost, err := im.lostEpochs(r)
	if err != nil {
		return err
	}
	if r.Offsets <= 0 || r.Offsets > UncommittedOffsetsMax || r.At < 0 {
		return fmt.Errorf("%w: %d offsets given up at %d", ErrMalformed, r.Offsets, r.At)
	}
	if err := im.validateLeaders(r.Leaders, 0); err != nil {
		return err
	}
	for _, id := range im.streamIDs() {
		if im.giveUp(im.streams[id], lost, r) {
			im.outcome.First++
		}
	}
	im.recoveries = slices.DeleteFunc(im.recoveries, func(r Recovery) bool { return im.owed[r.Ended] == 0 })
	return nil
}

// lostEpochs are those whose WALs a record gives up, if its proposer may.
func (im *Image) lostEpochs(r *AbandonWAL) ([]BrokerEpoch, error) {
	if r.Term == 0 {
		return im.ownLost(r)
	}
	b, known := im.Broker(r.Broker)
	switch {
	case !known:
		return nil, fmt.Errorf("%w: %d", ErrUnknownBroker, r.Broker)
	case b.Epoch != r.Epoch || !b.Fenced:
		return nil, fmt.Errorf("%w: broker %d at epoch %d, its write-ahead logs up to %d", ErrBrokerInUse, r.Broker, b.Epoch, r.Epoch)
	case len(r.Ended) > 0:
		return nil, fmt.Errorf("%w: a controller gives up %d logs of broker %d", ErrMalformed, len(r.Ended), r.Broker)
	}
	lost := im.unreadableEpochs(r.Broker)
	if len(lost) == 0 {
		return nil, fmt.Errorf("%w: broker %d owes nothing that only it can read", ErrStale, r.Broker)
	}
	return lost, nil
}

// ownLost are those that a broker gives up of its own: it recovers them, and leads their partitions on.
func (im *Image) ownLost(r *AbandonWAL) ([]BrokerEpoch, error) {
	if err := im.currentEpoch(r.Broker, r.Epoch); err != nil {
		return nil, err
	}
	for _, l := range r.Leaders {
		if l != (Leader{r.Broker, r.Epoch}) {
			return nil, fmt.Errorf("%w: broker %d gives up a log for broker %d", ErrMalformed, r.Broker, l.Broker)
		}
	}
	for _, ended := range r.Ended {
		if !slices.ContainsFunc(im.recoveries, func(o Recovery) bool { return o.Ended == ended && o.Broker == r.Broker && o.By == r.Epoch }) {
			return nil, fmt.Errorf("%w: the WAL of epoch %d is not broker %d's to recover", ErrStale, ended, r.Broker)
		}
	}
	if len(r.Ended) == 0 {
		return nil, fmt.Errorf("%w: broker %d gives up no log", ErrMalformed, r.Broker)
	}
	return r.Ended, nil
}

// unreadableEpochs are the ended epochs of a broker that owe something, and whose WALs no other broker can read.
func (im *Image) unreadableEpochs(id BrokerID) (epochs []BrokerEpoch) {
	for _, r := range im.recoveries {
		if r.Broker == id && !r.Shared && im.owed[r.Ended] > 0 {
			epochs = append(epochs, r.Ended)
		}
	}
	return epochs
}

// giveUp gives up what some epochs owe of a stream, and reports whether that was anything.
func (im *Image) giveUp(s *Stream, epochs []BrokerEpoch, r *AbandonWAL) (any bool) {
	for i := 0; i < len(s.Ranges); i++ {
		n := &s.Ranges[i]
		if !n.owes() || !slices.Contains(epochs, n.BrokerEpoch) {
			continue
		}
		end := n.End
		if n.Open() {
			if end = s.mostOf(n, r.Offsets); end < 0 || n.LeaderEpoch == math.MaxInt32 {
				continue // at the end of all offsets: there is no place for another range
			}
		}
		any = true
		s.insertLost(n, end, UntimedAt(r.At))
		if n.Open() || s.CheckpointEnd >= n.Committed {
			s.CheckpointEnd = max(s.CheckpointEnd, end)
		}
		if n.Open() {
			n.Committed = end
			im.takeOver(s, r.Leaders[uint64(s.ID)%uint64(len(r.Leaders))], end)
			break // the newest
		}
		im.owe(n, -1)
		n.Committed = n.End
	}
	if any {
		im.pruneRanges(s)
		im.changed(s.ID)
	}
	return any
}

// mostOf is where an open range ends at most, if its owner gave so many offsets beyond what is committed; below 0: beyond all offsets.
func (s *Stream) mostOf(n *Range, offsets int64) int64 {
	from := max(n.Committed, s.LogStart, s.CheckpointEnd)
	if from > math.MaxInt64-offsets {
		return -1
	}
	return from + offsets
}

// insertLost adds the part of a range that is lost, up to an end, as far as the log start has not passed it.
func (s *Stream) insertLost(n *Range, end, maxTimestamp int64) {
	if n.Committed >= end || end <= s.LogStart {
		return
	}
	lost := Part{Start: n.Committed, End: end, LeaderEpoch: n.LeaderEpoch, MaxTimestamp: maxTimestamp}
	i, _ := slices.BinarySearchFunc(s.Parts, lost.Start, func(q Part, start int64) int { return cmp.Compare(q.Start, start) })
	s.Parts = slices.Insert(s.Parts, i, lost)
}

// passLost lets the state of producers count as of the end of what is lost behind it: nothing says more, and what follows begins there.
func (s *Stream) passLost() {
	i, _ := slices.BinarySearchFunc(s.Parts, s.CheckpointEnd, func(q Part, end int64) int { return cmp.Compare(q.Start, end) })
	for ; i < len(s.Parts) && s.Parts[i].Lost() && s.Parts[i].Start == s.CheckpointEnd; i++ {
		s.CheckpointEnd = s.Parts[i].End
	}
}

// GivenUp reports whether a WAL of an epoch was given up, as far as the log starts have not passed what it held.
func (im *Image) GivenUp(epoch BrokerEpoch) bool {
	for _, id := range im.streamIDs() {
		s := im.streams[id]
		for i := range s.Parts {
			p := &s.Parts[i]
			if r := s.rangeOf(p.LeaderEpoch); p.Lost() && r != nil && r.BrokerEpoch == epoch {
				return true
			}
		}
	}
	return false
}

// WaitingWAL is what waits for the WALs of one broker that is gone: no other broker can read them (R16).
type WaitingWAL struct {
	Broker BrokerID
	Epoch  BrokerEpoch // its newest, which is fenced
	// Partitions have records that only those WALs hold, as far as anybody knows; Leaderless of them have no leader until the broker is
	// back, or its WALs are given up.
	Partitions, Leaderless int
	// Records is how many offsets ranges that were sealed lack: exactly so many records are lost. What the others hold is not known.
	Records int64
}

// WaitingWALs lists the brokers whose WALs partitions wait for, by id. It looks at every stream.
func (im *Image) WaitingWALs() (waiting []WaitingWAL) {
	for _, b := range im.brokers {
		if !b.Fenced {
			continue
		}
		if lost := im.unreadableEpochs(b.ID); len(lost) > 0 {
			waiting = append(waiting, im.waitingFor(b, lost))
		}
	}
	return waiting
}

func (im *Image) waitingFor(b *Broker, lost []BrokerEpoch) WaitingWAL {
	w := WaitingWAL{Broker: b.ID, Epoch: b.Epoch}
	for _, id := range im.streamIDs() {
		s, owes := im.streams[id], false
		for i := range s.Ranges {
			n := &s.Ranges[i]
			if !n.owes() || !slices.Contains(lost, n.BrokerEpoch) {
				continue
			}
			owes = true
			if n.Open() {
				w.Leaderless++
			} else {
				w.Records += n.End - n.Committed
			}
		}
		if owes {
			w.Partitions++
		}
	}
	return w
}
