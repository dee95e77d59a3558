package metadata

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"weir/core/telemetry"
)

// verdict is what becomes of one part of a commit (R1, R2).
type verdict uint8

const (
	refused verdict = iota
	// done: nothing asks for the data, and nothing changes.
	done
	// passed: the data lie below the log start; the committed end moves over them.
	passed
	// taken: the part becomes part of its range.
	taken
)

// apply validates a commit part by part: a refused part stops neither the rest nor
// the broker, and a commit that moved no range leaves its id prepared.
func (r *CommitObject) apply(im *Image) error {
	keeps, err := im.validateCommitter(r)
	if err != nil {
		return err
	}
	o, committed := im.objects[r.Object]
	moved, accepted := committed, make([]bool, len(r.Parts))
	references := int32(0)
	var replaced []ObjectID // that had checkpoints, this one too; 0: none had
	for i := range r.Parts {
		p := &r.Parts[i]
		s, of, v := im.validatePart(p, r.Epoch)
		if !keeps && (v == taken || v == passed && p.Stored.Named()) {
			v = refused
		}
		if v == taken {
			references++
			s.insert(p, r.Object)
		}
		if v == taken || v == passed {
			named, before := im.pass(s, of, p, r.Object)
			if named {
				references++
			}
			moved, replaced = true, append(replaced, before)
		}
		accepted[i] = v != refused
	}
	im.outcome.Accepted = accepted
	if !moved {
		return nil
	}
	im.raiseSlot(r.Epoch, r.WALSlot)
	if !committed {
		im.unprepare(r.Object, r.Object+1)
		o = &Object{ID: r.Object, State: ObjectCommitted, BrokerEpoch: r.Epoch, Bytes: r.Bytes}
		im.objects[o.ID] = o
	}
	if o.Parts += references; o.Parts == 0 && o.State == ObjectCommitted {
		im.destroy(o)
	}
	for _, id := range replaced {
		im.unrefer(id)
	}
	return nil
}

// validateCommitter decides whether the object may be committed to, and whether it
// may keep what is taken: not once it is destroyed, since it may be gone.
func (im *Image) validateCommitter(r *CommitObject) (keeps bool, err error) {
	if !im.Current(r.Epoch) {
		return false, fmt.Errorf("%w: epoch %d, commit of object %d", ErrEpochEnded, r.Epoch, r.Object)
	}
	if r.Bytes < 0 {
		return false, fmt.Errorf("%w: object %d of %d bytes", ErrMalformed, r.Object, r.Bytes)
	}
	if o, ok := im.objects[r.Object]; ok && o.BrokerEpoch == r.Epoch {
		return o.State == ObjectCommitted, nil
	}
	if i, ok := im.searchLease(r.Object); ok && im.leases[i].Epoch == r.Epoch {
		return true, nil
	}
	return false, fmt.Errorf("%w: object %d, epoch %d", ErrNotPrepared, r.Object, r.Epoch)
}

// validatePart validates a part that names a stream, and a range of it, if there is one.
func (im *Image) validatePart(p *CommitPart, epoch BrokerEpoch) (*Stream, *Range, verdict) {
	s, ok := im.streams[p.Stream]
	switch {
	case !ok && p.Stream > 0 && p.Stream < im.nextStream:
		return nil, nil, done // deleted
	case !ok:
		return nil, nil, refused
	}
	r := s.rangeOf(p.LeaderEpoch)
	if r == nil || im.Committer(s, r) != epoch {
		return nil, nil, refused
	}
	return s, r, s.validate(r, p)
}

// validate checks who may commit a part of a range.
func (s *Stream) validate(r *Range, p *CommitPart) verdict {
	part := &p.Part
	if part.Start != r.Committed || part.End <= part.Start || !r.Open() && part.End > r.End ||
		part.Bytes < 0 || part.IndexOffset < 0 || part.IndexBytes < 0 || !p.Stored.sound() {
		return refused
	}
	below := part.End <= s.LogStart
	switch checkpointed := len(p.Checkpoint) > 0 || p.Stored.Named() || s.CheckpointEnd >= part.End; {
	case below && checkpointed:
		return passed
	case below:
		return done
	case !checkpointed:
		return refused // R4
	}
	return taken
}

// rangeOf finds a range by its leader epoch. It is nearly always the newest.
func (s *Stream) rangeOf(leaderEpoch int32) *Range {
	for i := len(s.Ranges) - 1; i >= 0; i-- {
		if s.Ranges[i].LeaderEpoch == leaderEpoch {
			return &s.Ranges[i]
		}
	}
	return nil
}

// insert adds a part to those of the stream.
func (s *Stream) insert(p *CommitPart, object ObjectID) {
	part := p.Part
	part.Object, part.LeaderEpoch = object, p.LeaderEpoch
	if n := len(s.Parts); n == 0 || s.Parts[n-1].End <= part.Start {
		s.Parts = append(s.Parts, part) // nearly always
		return
	}
	i, _ := slices.BinarySearchFunc(s.Parts, part.Start, func(q Part, start int64) int { return cmp.Compare(q.Start, start) })
	if i > 0 && s.Parts[i-1].End > part.Start || i < len(s.Parts) && s.Parts[i].Start < part.End {
		telemetry.Assert(4, false, "stream %d: part [%d, %d) overlaps another", s.ID, part.Start, part.End)
	}
	s.Parts = slices.Insert(s.Parts, i, part)
}

// pass moves the range's committed end over a part. The checkpoint of the highest
// end counts, in whatever order commits apply (R4).
// named says that the commit's object is referred to for it, before which object had the one before: 0, none.
func (im *Image) pass(s *Stream, r *Range, p *CommitPart, object ObjectID) (named bool, before ObjectID) {
	if stored := p.Stored; (len(p.Checkpoint) > 0 || stored.Named()) && p.Part.End > s.CheckpointEnd {
		stored.Object = object
		before, named = s.setCheckpoint(p.Checkpoint, stored, p.Part.End), stored.Named()
		s.passLost()
	}
	if p.Part.End == r.End {
		im.owe(r, -1)
	}
	r.Committed = p.Part.End
	im.pruneRanges(s)
	im.changed(s.ID)
	return named, before
}

// owe counts a range for or against its WAL.
func (im *Image) owe(r *Range, by int) {
	if r.owes() {
		count(im.owed, r.BrokerEpoch, by)
	}
	if r.Open() {
		count(im.leads, r.BrokerEpoch, by)
	}
}

func count(of map[BrokerEpoch]int, epoch BrokerEpoch, by int) {
	if of[epoch] += by; of[epoch] == 0 {
		delete(of, epoch)
	}
}

func (r *TrimStream) apply(im *Image) error {
	s, ok := im.streams[r.Stream]
	if !ok {
		return fmt.Errorf("%w: %d", ErrUnknownStream, r.Stream)
	}
	if n := s.Newest(); r.LogStart < 0 || !n.Open() && r.LogStart > n.End {
		return fmt.Errorf("%w: log start %d of stream %d", ErrMalformed, r.LogStart, r.Stream)
	}
	if r.LogStart <= s.LogStart {
		return nil
	}
	s.LogStart = r.LogStart
	below := s.passed(s.Parts)
	for i := range below {
		im.unrefer(s.Parts[i].Object)
	}
	s.Parts = slices.Delete(s.Parts, 0, below)
	im.pruneRanges(s)
	im.changed(s.ID)
	return nil
}

// passed is how many of parts, which ascend, the log start has passed.
func (s *Stream) passed(parts []Part) (below int) {
	for below < len(parts) && parts[below].End <= s.LogStart {
		below++
	}
	return below
}

// pruneRanges drops what Stream.Ranges says is dropped, and asserts I4 on the rest.
func (im *Image) pruneRanges(s *Stream) {
	old := 0
	for old < len(s.Ranges)-1 && !s.Ranges[old].owes() && s.Ranges[old].End <= s.LogStart {
		old++
	}
	s.Ranges = slices.Delete(s.Ranges, 0, old)
	newest := len(s.Ranges) - 1
	for i := range newest {
		if r := &s.Ranges[i]; r.Start > r.Committed || r.Committed > r.End || r.End != s.Ranges[i+1].Start || r.LeaderEpoch >= s.Ranges[i+1].LeaderEpoch {
			telemetry.Assert(4, false, "stream %d: range %+v is followed by %+v", s.ID, *r, s.Ranges[i+1])
		}
	}
	if r := s.Newest(); r.Start > r.Committed || !r.Open() && r.Committed > r.End {
		telemetry.Assert(4, false, "stream %d: newest range is %+v", s.ID, *r)
	}
}

func (r *TakeOver) apply(im *Image) error {
	if err := im.currentEpoch(r.Broker, r.Epoch); err != nil {
		return err
	}
	previous := StreamID(0)
	for _, e := range r.Ends {
		if e.Stream <= previous {
			return fmt.Errorf("%w: streams %d and %d out of order", ErrMalformed, previous, e.Stream)
		}
		previous = e.Stream
		if s, ok := im.streams[e.Stream]; ok {
			if err := im.validateEnd(s, r, e); err != nil {
				return err
			}
		}
	}
	for _, e := range r.Ends {
		if s, ok := im.streams[e.Stream]; ok {
			im.takeOver(s, Leader{s.Newest().Broker, r.Epoch}, e.End)
		}
	}
	return nil
}

// validateEnd refuses an end that does not fit the stream's newest range.
func (im *Image) validateEnd(s *Stream, r *TakeOver, e RangeEnd) error {
	n := s.Newest()
	if n.LeaderEpoch != e.LeaderEpoch || !n.Open() || n.Broker != r.Broker || im.Recoverer(n.BrokerEpoch) != r.Epoch {
		return fmt.Errorf("%w: stream %d, leader epoch %d; the newest is %d of broker %d at epoch %d, end %d",
			ErrRange, s.ID, e.LeaderEpoch, n.LeaderEpoch, n.Broker, n.BrokerEpoch, n.End)
	}
	if e.End < n.Committed || e.End < s.LogStart || n.LeaderEpoch == math.MaxInt32 {
		return fmt.Errorf("%w: stream %d would end at %d, but is committed to %d and starts at %d: its WAL lacks what it acknowledged",
			ErrRange, s.ID, e.End, n.Committed, s.LogStart)
	}
	return nil
}

// takeOver closes the newest range and opens the next.
func (im *Image) takeOver(s *Stream, leader Leader, end int64) {
	n := s.Newest()
	im.owe(n, -1)
	n.End = end
	im.owe(n, 1)
	next := Range{LeaderEpoch: max(n.LeaderEpoch+1, im.leaderEpochFloor), Broker: leader.Broker, BrokerEpoch: leader.Epoch, Start: end, Committed: end, End: -1}
	if n.Start == n.End {
		*n = next
	} else {
		s.Ranges = append(s.Ranges, next)
	}
	im.owe(s.Newest(), 1)
	im.pruneRanges(s)
	p := &im.byID[s.Topic].Partitions[s.Partition]
	p.Leader, p.LeaderEpoch = next.Broker, next.LeaderEpoch
	im.topicChanged(s.Topic)
	im.changed(s.ID)
}

func (r *SealRanges) apply(im *Image) error {
	if !im.Current(r.By) {
		return fmt.Errorf("%w: epoch %d seals ranges", ErrEpochEnded, r.By)
	}
	if err := im.validateNew(r.Objects, r.By); err != nil {
		return err
	}
	accepted := make([]bool, len(r.Seals))
	for i := range r.Seals {
		seal := &r.Seals[i]
		s, ok := im.streams[seal.Stream]
		if !ok || !im.validSeal(s, r, seal) {
			continue
		}
		if seal.End > s.CheckpointEnd {
			if seal.Stored.Named() {
				im.referNew(r.Objects, r.By, seal.Stored.Object)
			}
			im.unrefer(s.setCheckpoint(seal.Checkpoint, seal.Stored, seal.End))
		}
		im.takeOver(s, seal.Next, seal.End)
		accepted[i] = true
	}
	im.outcome.Accepted = accepted
	return nil
}

// validSeal reports whether a seal fits the stream's newest range, and comes from whoever may close it: a broker that is
// alive gives its partitions away itself (R12).
func (im *Image) validSeal(s *Stream, r *SealRanges, seal *Seal) bool {
	n := s.Newest()
	may := n.BrokerEpoch == r.By || !im.Current(n.BrokerEpoch) && im.Recoverer(n.BrokerEpoch) == r.By
	stated := seal.End == s.CheckpointEnd || len(seal.Checkpoint) > 0 || seal.Stored.Named() && im.keeps(r.Objects, seal.Stored.Object)
	return may && stated && seal.Stored.sound() && n.Open() && n.LeaderEpoch == seal.LeaderEpoch && n.LeaderEpoch < math.MaxInt32 &&
		seal.End >= n.Committed && seal.End >= s.LogStart && seal.End >= s.CheckpointEnd && im.currentEpoch(seal.Next.Broker, seal.Next.Epoch) == nil
}
