package metadata

import (
	"cmp"
	"fmt"
	"slices"

	"weir/core/telemetry"
)

// ReplaceParts replaces parts of streams by parts of new objects that hold the same offsets (R3a, compaction);
// Outcome.Accepted says for which streams that was done. A stream's replacement is refused unless all of its
// sources are still parts of it, as they are named and one behind the other; so whatever happened meanwhile
// (trim, deletion, another replacement) wins; new parts that lie wholly below the log start are left out. Sources lose a reference, and an object is destroyed with its
// last. Epoch is who replaces: it must be current, own the newest range of each stream, and hold the leases of the new ids. Records that
// name the same object add to it, so that a large replacement can be cut into several.
//
// The new parts may have fewer records than their sources, and fewer bytes; only the offsets must be covered.
type ReplaceParts struct {
	Epoch   BrokerEpoch
	Objects []NewObject   // ascending by id, at least one
	Streams []Replacement // decided one after another
}

// NewObject is an object that a record makes part of the image.
type NewObject struct {
	ID    ObjectID
	Bytes int64
}

// Replacement is what becomes of one stream.
type Replacement struct {
	Stream  StreamID
	Sources []Source // ascending, without a gap, at least one
	Parts   []Part   // of the record's objects, ascending, from the start of the first source to the end of the last
}

// Source names a part of a stream exactly.
type Source struct {
	Object     ObjectID
	Start, End int64
}

// AppendTo implements Record.
func (r *ReplaceParts) AppendTo(dst []byte) []byte { return encode(dst, typeReplaceParts, r) }

func (r *ReplaceParts) fields(c *coder) {
	integer(c, &r.Epoch)
	list(c, &r.Objects, newObjectBytesMin, fieldsOf)
	list(c, &r.Streams, replacementBytesMin, fieldsOf)
}

func (n *NewObject) fields(c *coder) {
	natural(c, &n.ID)
	integer(c, &n.Bytes)
}

func (p *Replacement) fields(c *coder) {
	natural(c, &p.Stream)
	list(c, &p.Sources, sourceBytesMin, fieldsOf)
	list(c, &p.Parts, partBytesMin, partWithObject)
}

// fields say where the source ends relative to its start.
func (s *Source) fields(c *coder) {
	natural(c, &s.Object)
	length := s.End - s.Start
	integer(c, &s.Start)
	integer(c, &length)
	s.End = s.Start + length
}

// apply validates a replacement stream by stream (R3a): one that is refused stops neither the others
// nor its proposer, and objects of which nothing was accepted stay prepared.
func (r *ReplaceParts) apply(im *Image) error {
	if err := im.validateReplacer(r); err != nil {
		return err
	}
	accepted := make([]bool, len(r.Streams))
	for i := range r.Streams {
		p := &r.Streams[i]
		s, at, ok := im.validateReplacement(r, p)
		if !ok {
			continue
		}
		accepted[i] = true
		im.replace(s, at, r, p)
	}
	im.outcome.Accepted = accepted
	return nil
}

// validateReplacer decides whether the objects may be committed to: each is prepared for the epoch, or was
// committed by it before.
func (im *Image) validateReplacer(r *ReplaceParts) error {
	if !im.Current(r.Epoch) {
		return fmt.Errorf("%w: epoch %d, replacement by %d objects", ErrEpochEnded, r.Epoch, len(r.Objects))
	}
	if len(r.Objects) == 0 {
		return fmt.Errorf("%w: a replacement by no object", ErrMalformed)
	}
	return im.validateNew(r.Objects, r.Epoch)
}

// validateNew decides whether an epoch may commit to objects: each is prepared for it, or was committed by it before.
func (im *Image) validateNew(objects []NewObject, epoch BrokerEpoch) error {
	if !ascending(objects, func(a, b *NewObject) bool { return a.ID < b.ID }) {
		return fmt.Errorf("%w: %d new objects do not ascend", ErrMalformed, len(objects))
	}
	for _, n := range objects {
		if n.Bytes < 0 {
			return fmt.Errorf("%w: object %d of %d bytes", ErrMalformed, n.ID, n.Bytes)
		}
		if o, ok := im.objects[n.ID]; ok && o.BrokerEpoch == epoch {
			continue
		}
		if i, ok := im.searchLease(n.ID); !ok || im.leases[i].Epoch != epoch {
			return fmt.Errorf("%w: object %d, epoch %d", ErrNotPrepared, n.ID, epoch)
		}
	}
	return nil
}

// validateReplacement finds the sources among the stream's parts: all of them as they are named, one behind
// the other; and holds the new parts against them. Only the stream's leader replaces: what its predecessor has begun ends
// with the handover.
func (im *Image) validateReplacement(r *ReplaceParts, p *Replacement) (s *Stream, at int, ok bool) {
	s, ok = im.streams[p.Stream]
	if !ok || s.Newest().BrokerEpoch != r.Epoch || len(p.Sources) == 0 || !p.covers() {
		return nil, 0, false
	}
	at, ok = slices.BinarySearchFunc(s.Parts, p.Sources[0].Start, func(q Part, start int64) int { return cmp.Compare(q.Start, start) })
	if !ok || at+len(p.Sources) > len(s.Parts) {
		return nil, 0, false
	}
	for i, source := range p.Sources {
		if q := &s.Parts[at+i]; q.Lost() || q.Object != source.Object || q.Start != source.Start || q.End != source.End {
			return nil, 0, false
		}
	}
	for i := range p.Parts {
		if !im.keeps(r.Objects, p.Parts[i].Object) {
			return nil, 0, false
		}
	}
	return s, at, true
}

// covers says that the sources follow each other without a gap, and that the new parts do and hold the same
// offsets. How many records either has of them does not matter.
func (p *Replacement) covers() bool {
	next := p.Sources[0].Start
	for _, source := range p.Sources {
		if source.Start != next || source.End <= next {
			return false
		}
		next = source.End
	}
	end := next
	next = p.Sources[0].Start
	for i := range p.Parts {
		q := &p.Parts[i]
		if q.Start != next || q.End <= next || q.Bytes < 0 || q.IndexOffset < 0 || q.IndexBytes < 0 {
			return false
		}
		next = q.End
	}
	return next == end
}

// keeps reports whether an object is one of the record's and may keep what it is given: not once it is
// destroyed, since it may be gone.
func (im *Image) keeps(objects []NewObject, id ObjectID) bool {
	_, named := slices.BinarySearchFunc(objects, id, func(n NewObject, id ObjectID) int { return cmp.Compare(n.ID, id) })
	o, committed := im.objects[id]
	return named && (!committed || o.State == ObjectCommitted)
}

// replace puts the new parts in the place of the sources. A trim that came first counts: of a source that it reached into, only the
// new parts that it has not passed are kept. There is at least one, since the source is still there.
func (im *Image) replace(s *Stream, at int, r *ReplaceParts, p *Replacement) {
	parts := p.Parts[s.passed(p.Parts):]
	for i := range parts {
		im.referNew(r.Objects, r.Epoch, parts[i].Object)
	}
	for _, source := range p.Sources {
		im.unrefer(source.Object)
	}
	s.Parts = slices.Replace(s.Parts, at, at+len(p.Sources), parts...)
	if at > 0 && s.Parts[at-1].End > s.Parts[at].Start {
		telemetry.Assert(4, false, "stream %d: part [%d, %d) overlaps another", s.ID, s.Parts[at].Start, s.Parts[at].End)
	}
	im.changed(s.ID)
}

// referNew adds a reference to one of the record's objects, and commits it with the first.
func (im *Image) referNew(objects []NewObject, epoch BrokerEpoch, id ObjectID) {
	o, committed := im.objects[id]
	if !committed {
		i, _ := slices.BinarySearchFunc(objects, id, func(n NewObject, id ObjectID) int { return cmp.Compare(n.ID, id) })
		im.unprepare(id, id+1)
		o = &Object{ID: id, State: ObjectCommitted, BrokerEpoch: epoch, Bytes: objects[i].Bytes}
		im.objects[id] = o
	}
	o.Parts++
}

func (r *CleanStream) apply(im *Image) error {
	s, ok := im.streams[r.Stream]
	if !ok {
		return fmt.Errorf("%w: %d", ErrUnknownStream, r.Stream)
	}
	if !im.Current(r.Epoch) || s.Newest().BrokerEpoch != r.Epoch {
		return fmt.Errorf("%w: stream %d compacted by epoch %d, which does not lead it", ErrEpochEnded, r.Stream, r.Epoch)
	}
	if r.Cleaned < 0 || r.Cleaned > s.CommittedEnd() {
		return fmt.Errorf("%w: stream %d compacted to %d, committed to %d", ErrMalformed, r.Stream, r.Cleaned, s.CommittedEnd())
	}
	if r.Cleaned > s.Cleaned {
		s.Cleaned = r.Cleaned
		im.changed(s.ID)
	}
	return nil
}
