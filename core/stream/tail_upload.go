package stream

import (
	"fmt"
	"log/slog"

	"weir/core/env"
	"weir/core/object"
	"weir/core/record"
	"weir/core/task"
)

const (
	tailReadsInFlight = 16
	tailEntryOverhead = 8 << 10 // what a batch's slab takes beyond its bytes, at most
)

// tailUploader uploads recovered tails in the background: one piece of bounded size after another, in
// order of epochs and streams, each committed with its checkpoint before the next is read.
type tailUploader struct {
	*base
	logs     *recoveredLogs
	ids      *idLease
	piece    *tailPiece
	upload   *upload // of the piece, once it is read
	attempts int
	retry    task.Timer
	failed   bool // Options.Failed was called

	checkpoints *checkpoints
}

// tailPiece is what of one tail goes into one object.
type tailPiece struct {
	tail    *tail
	parts   []tailPart
	entries []tailEntry // of all parts, in order
	got     []tailBatch
	asked   int
	flying  int
	taken   int // replayed, in order
	part    int // that the next one belongs to
	err     error
}

// tailPart is the entries of one stream in a piece.
type tailPart struct {
	stream     *tailStream
	checkpoint int // bytes of the one that it begins with
	end        int // in tailPiece.entries
	part       uploadPart
}

// uses reports whether a piece of a tail is under way.
func (u *tailUploader) uses(t *tail) bool { return u.piece != nil && u.piece.tail == t }

// pump starts the next piece if there is one.
func (u *tailUploader) pump() {
	if u.piece != nil || u.retry.Pending() || u.stopping {
		return
	}
	if u.piece = u.first(); u.piece == nil && u.forgive() {
		u.piece = u.first()
	}
	if u.piece != nil {
		u.read()
	}
}

// first cuts a piece off the oldest tail that has one.
func (u *tailUploader) first() *tailPiece {
	for _, t := range u.logs.tails {
		if p := u.next(t); p != nil {
			return p
		}
	}
	return nil
}

// forgive lets streams that could not be read have another turn; false: there are none.
func (u *tailUploader) forgive() (any bool) {
	for _, t := range u.logs.tails {
		for _, s := range t.streams {
			any = any || s.failed
			s.failed = false
		}
	}
	return any
}

// comesFirst reports whether no older tail holds anything of the stream: its producers are rebuilt in
// order.
func (u *tailUploader) comesFirst(s *tailStream) bool {
	for older := range u.logs.of(s.id) {
		if older == s {
			break
		}
		if older.entries.len() > 0 {
			return false
		}
	}
	return true
}

// next cuts a piece off a tail; nil if nothing of it may be uploaded now. The checkpoints that the parts
// begin with say about how large those at their ends will be: a piece has not many batches.
func (u *tailUploader) next(t *tail) *tailPiece {
	p := &tailPiece{tail: t}
	if t.reading {
		return nil
	}
	bytes, checkpoints := int64(0), 0
	for _, s := range t.streams {
		if !s.sealed || s.entries.len() == 0 || s.failed || !u.comesFirst(s) {
			continue
		}
		part, ok := u.partOf(s)
		if !ok {
			continue
		}
		for i := range s.entries.len() {
			if bytes >= u.TailBytes {
				break
			}
			bytes += int64(s.entries.at(i).bytes) + tailEntryOverhead
			p.entries = append(p.entries, *s.entries.at(i))
		}
		part.end = len(p.entries)
		p.parts = append(p.parts, part)
		checkpoints += part.checkpoint
		if bytes >= u.TailBytes || len(p.parts) >= setPartsMax || checkpoints >= u.CheckpointBytes {
			break
		}
	}
	if len(p.parts) == 0 {
		return nil
	}
	p.got = make([]tailBatch, len(p.entries))
	return p
}

// partOf rebuilds the state of a stream's producers, as of the image's checkpoint, unless it is at
// hand from the piece before.
func (u *tailUploader) partOf(s *tailStream) (tailPart, bool) {
	image, ok := u.Image.Stream(s.id)
	if !ok {
		return tailPart{}, false
	}
	part := tailPart{stream: s, checkpoint: len(image.Checkpoint) + int(image.Stored.Bytes)}
	part.part.Stream, part.part.LeaderEpoch = uint64(s.id), s.leaderEpoch
	if s.state != nil {
		return part, true
	}
	if image.CheckpointEnd < s.entries.at(0).base {
		u.fail(fmt.Errorf("stream %d: its checkpoint is as of offset %d, the recovered tail begins at %d: batches between are missing",
			s.id, image.CheckpointEnd, s.entries.at(0).base))
		return tailPart{}, false
	}
	checkpoint, ok := u.checkpoints.of(image)
	if !ok {
		u.checkpoints.want(image).tail = true
		return tailPart{}, false
	}
	state, err := u.NewState(checkpoint, image.CheckpointEnd)
	u.checkpoints.forget(s.id)
	if err != nil {
		u.fail(fmt.Errorf("stream %d: rebuild its producers for the recovered tail: %w", s.id, err))
		return tailPart{}, false
	}
	s.state, s.stateEnd = state, image.CheckpointEnd
	return part, true
}

// fail tells, once, of what a person must look at.
func (u *tailUploader) fail(err error) {
	if !u.failed {
		u.failed = true
		u.Failed(err)
	}
}

// read keeps some reads of the piece in flight.
func (u *tailUploader) read() {
	p := u.piece
	for p.err == nil && p.asked < len(p.entries) && p.flying < tailReadsInFlight {
		i := p.asked
		p.asked++
		p.flying++
		u.logs.readBatch(p.tail, p.entries[i], func(b tailBatch) { u.arrived(p, i, b) })
	}
}

func (u *tailUploader) arrived(p *tailPiece, i int, b tailBatch) {
	p.flying--
	p.got[i] = b
	if b.err != nil && p.err == nil {
		p.err = b.err
	}
	if u.stopping {
		p.err = ErrStopped
	}
	for p.err == nil && p.taken < len(p.got) && p.got[p.taken].slab != nil {
		p.err = p.take()
	}
	switch {
	case p.err != nil && p.flying == 0:
		u.giveUp(p)
	case p.err != nil:
	case p.taken == len(p.got):
		u.store(p)
	default:
		u.read()
	}
}

// take replays the next batch in order and adds it to its part.
func (p *tailPiece) take() error {
	for p.taken >= p.parts[p.part].end {
		p.part++
	}
	t, n, data := &p.parts[p.part], &p.entries[p.taken], p.got[p.taken].data
	h, err := record.ReadHeader(data)
	if err == nil && n.base >= t.stream.stateEnd {
		err = t.stream.state.Replay(&h, data)
		t.stream.stateEnd = n.end()
	}
	if err != nil {
		return fmt.Errorf("replay the batch at offset %d of stream %d: %w", n.base, t.stream.id, err)
	}
	t.part.Batches = append(t.part.Batches, object.Batch{Data: data, Base: n.base, End: n.end(), MaxTimestamp: n.maxTimestamp})
	t.part.bytes += int64(len(data))
	p.taken++
	return nil
}

// giveUp lets the piece go and tries again later. A tail that cannot be read is told again and again,
// for it holds acknowledged data that exists nowhere else; the other streams go first.
func (u *tailUploader) giveUp(p *tailPiece) {
	u.piece = nil
	p.blame()
	p.release()
	if u.stopping {
		return
	}
	u.attempts++
	u.Telemetry.Hit("stream tail upload: failed")
	u.Telemetry.Error("a recovered tail cannot be uploaded, it is tried again",
		slog.String("file", p.tail.sealed.Name), slog.String("error", p.err.Error()))
	u.Loop.Reset(&u.retry, u.health.backoff("tail upload retry", uint64(p.tail.epoch), u.attempts), u.logs.settle)
}

// blame marks the streams of the batches that did not come, or did not make sense.
func (p *tailPiece) blame() {
	from := 0
	for i := range p.parts {
		t := &p.parts[i]
		for j := from; j < t.end; j++ {
			if p.got[j].err != nil || j == p.taken && p.got[j].slab != nil {
				t.stream.failed = true
			}
		}
		from = t.end
	}
}

// release drops the slabs and the states, which are as of somewhere within the piece.
func (p *tailPiece) release() {
	for i := range p.got {
		if p.got[i].slab != nil {
			p.got[i].slab.Release()
		}
	}
	for i := range p.parts {
		p.parts[i].stream.state = nil
	}
}

// store uploads a piece that is wholly read.
func (u *tailUploader) store(p *tailPiece) {
	w := &upload{
		base: u.base, ids: u.ids, purpose: env.PurposeTailUpload, tail: true, stored: (*upload).commit, settled: u.settled,
	}
	for i := range p.parts {
		t := &p.parts[i]
		if image, ok := u.Image.Stream(t.stream.id); ok && image.CheckpointEnd < t.part.end() {
			t.part.checkpoint = t.stream.state.AppendCheckpoint(nil)
		} else {
			u.Telemetry.Hit("stream tail upload: without its own checkpoint")
		}
		w.add(t.part)
	}
	w.slabs = make([]*env.Slab, len(p.got))
	for i := range p.got {
		w.slabs[i] = p.got[i].slab
	}
	u.upload = w
	w.start()
}

// settled runs when the piece's commit was answered. What the image did not take is read again.
func (u *tailUploader) settled(w *upload) {
	p := u.piece
	u.metrics.tailUploaded.Now()
	u.piece, u.upload = nil, nil
	w.release()
	refused := false
	for i := range p.parts {
		t := p.parts[i].stream
		t.refresh(u.Image, u.Epoch)
		switch {
		case t.entries.len() == 0:
			t.state = nil
		case t.entries.at(0).base < p.parts[i].part.end():
			u.metrics.partsRefused.Add(1)
			t.state = nil
			refused = true
		}
	}
	u.Telemetry.Hit("stream tail upload: committed")
	if refused {
		u.attempts++
		u.Loop.Reset(&u.retry, u.health.backoff("tail upload retry", uint64(p.tail.epoch), u.attempts), u.logs.settle)
	} else {
		u.attempts = 0
	}
	u.logs.settle()
}

// halt tries nothing again, for shutdown.
func (u *tailUploader) halt() {
	if u.upload != nil {
		u.Loop.Stop(&u.upload.timer)
	}
	u.Loop.Stop(&u.retry)
}
