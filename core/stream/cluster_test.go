package stream

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
)

// cluster is a tiny image and controller, which outlive the node. It keeps the rules that the engine
// relies on (R1-R3), and every accepted batch's place and checkpoint is held against the test's history.
type cluster struct {
	w            *world
	streams      map[metadata.StreamID]*metadata.Stream
	nextID       metadata.ObjectID
	epoch        metadata.BrokerEpoch
	weather      func() string // of a commit: "" well, "error" not applied, "lost" applied and answered with an error, "first" one part applied and answered with an error, "refuse" no part accepted
	histories    map[metadata.StreamID]*history
	validatePart func(*metadata.CommitPart) bool  // false: refuse
	refuses      func(*metadata.Replacement) bool // nil: no more than R3a does
	committed    map[metadata.ObjectID]bool
	commits      int
	proposed     []int // parts of each commit
	refused      int
	agreed       int                                             // summaries that were compared
	soon         int                                             // logs whose ends were found before all was read
	restored     int                                             // states that were found so
	moved        int                                             // checkpoints that were
	stored       int                                             // checkpoints that lie in objects
	lookups      int                                             // of streams, by the engine
	object       bool                                            // the next incarnation's log is of the object kind
	committers   map[metadata.StreamID]metadata.BrokerEpoch      // of ranges whose epoch has ended, if it is not the newest incarnation
	logs         func(metadata.BrokerEpoch) metadata.BrokerEpoch // who has the log of an epoch; nil: the newest incarnation
	slots        map[metadata.BrokerEpoch]uint64                 // of epochs whose logs are
	replacements int                                             // of streams, by compaction
	outdated     int                                             // of them, refused
	keep         bool                                            // what compaction replaced stays in the store
	ships        shipments
}

// history is what the test knows of one stream.
type history struct {
	batches [][]byte // as they must be read, by offset
	ends    []int64
	sums    []uint64 // the owner's state after each
	acked   int64
}

func (h *history) end() int64 {
	if len(h.ends) == 0 {
		return 0
	}
	return h.ends[len(h.ends)-1]
}

// at returns the batch that holds an offset.
func (h *history) at(offset int64) int {
	i, _ := slices.BinarySearchFunc(h.ends, offset, func(end, offset int64) int {
		if end <= offset {
			return -1
		}
		return 1
	})
	return i
}

// sumAt is the state as of an offset that ends a batch.
func (h *history) sumAt(offset int64) (uint64, bool) {
	if offset == 0 {
		return 0, true
	}
	i, ok := slices.BinarySearch(h.ends, offset)
	if !ok {
		return 0, false
	}
	return h.sums[i], true
}

func (h *history) cutTo(end int64) {
	n, _ := slices.BinarySearch(h.ends, end+1)
	h.batches, h.ends, h.sums = h.batches[:n], h.ends[:n], h.sums[:n]
}

func newCluster(w *world) *cluster {
	return &cluster{
		w: w, streams: map[metadata.StreamID]*metadata.Stream{}, nextID: 1, weather: func() string { return "" },
		histories: map[metadata.StreamID]*history{}, committed: map[metadata.ObjectID]bool{}, slots: map[metadata.BrokerEpoch]uint64{},
	}
}

func (c *cluster) sorted() []metadata.StreamID {
	var ids []metadata.StreamID
	for id := range c.streams {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (c *cluster) Stream(id metadata.StreamID) (*metadata.Stream, bool) {
	c.lookups++
	s, ok := c.streams[id]
	return s, ok
}

func (c *cluster) Object(id metadata.ObjectID) (*metadata.Object, bool) {
	data, ok := c.w.store.objects[object.Key("cluster", uint64(id))]
	return &metadata.Object{ID: id, State: metadata.ObjectCommitted, Bytes: int64(len(data))}, ok
}

func (c *cluster) EpochOwes(epoch metadata.BrokerEpoch) bool {
	for _, id := range c.sorted() {
		for _, r := range c.streams[id].Ranges {
			if r.BrokerEpoch == epoch && (r.End < 0 || committedOf(&r) < r.End) {
				return true
			}
		}
	}
	return false
}

// Committer: the newest incarnation recovers all logs, unless a test says otherwise.
func (c *cluster) Committer(s *metadata.Stream, r *metadata.Range) metadata.BrokerEpoch {
	if c.logs != nil {
		return c.logs(r.BrokerEpoch)
	}
	if by, ok := c.committers[s.ID]; ok {
		return by
	}
	return c.epoch
}

func (c *cluster) Owed(ended metadata.BrokerEpoch) (owed []metadata.RangeEnd) {
	for _, id := range c.sorted() {
		s := c.streams[id]
		for _, r := range s.Ranges {
			if r.BrokerEpoch == ended && (r.End < 0 || committedOf(&r) < r.End) {
				owed = append(owed, metadata.RangeEnd{Stream: id, LeaderEpoch: r.LeaderEpoch, End: r.End})
			}
		}
	}
	return owed
}

func (c *cluster) OpenRanges(epoch metadata.BrokerEpoch) (ends []metadata.RangeEnd) {
	for _, id := range c.sorted() {
		s := c.streams[id]
		if r := s.Ranges[len(s.Ranges)-1]; r.BrokerEpoch == epoch && r.End < 0 {
			ends = append(ends, metadata.RangeEnd{Stream: id, LeaderEpoch: r.LeaderEpoch, End: -1})
		}
	}
	return ends
}

func (c *cluster) ObjectWAL(epoch metadata.BrokerEpoch) (slot uint64, ok bool) {
	slot, ok = c.slots[epoch]
	return slot, ok
}

func (c *cluster) LeaseObjects(_ metadata.BrokerEpoch, count int32, done func(metadata.ObjectID, error)) {
	c.w.push(event(func() {
		if c.weather() == "error" {
			done(0, errors.New("no leader"))
			return
		}
		first := c.nextID
		c.nextID += metadata.ObjectID(count)
		done(first, nil)
	}), func() {})
}

func (c *cluster) Commit(id metadata.ObjectID, epoch metadata.BrokerEpoch, _ int64, walSlot uint64, parts []metadata.CommitPart, done func([]bool, error)) {
	c.w.push(event(func() {
		weather := c.weather()
		if weather == "error" {
			done(nil, errors.New("proposal dropped"))
			return
		}
		c.proposed = append(c.proposed, len(parts))
		accepted := make([]bool, len(parts))
		for i := range parts {
			if weather == "first" && i > 0 {
				c.changed()
				done(accepted, errors.New("no room for the rest"))
				return
			}
			accepted[i] = weather != "refuse" && (c.validatePart == nil || c.validatePart(&parts[i])) && c.judge(id, &parts[i])
			if !accepted[i] {
				c.refused++
			} else if slot, object := c.slots[epoch]; object {
				c.slots[epoch] = max(slot, walSlot)
			}
		}
		c.committed[id] = true
		c.commits++
		c.changed()
		if weather == "lost" {
			done(nil, errors.New("answer lost"))
			return
		}
		done(accepted, nil)
	}), func() {})
}

func (c *cluster) Replace(_ metadata.BrokerEpoch, objects []metadata.NewObject, streams []metadata.Replacement, done func([]bool, error)) {
	c.w.push(event(func() {
		weather := c.weather()
		if weather == "error" {
			done(nil, errors.New("proposal dropped"))
			return
		}
		accepted := make([]bool, len(streams))
		for i := range streams {
			accepted[i] = weather != "refuse" && (weather != "first" || i == 0) && c.replace(&streams[i])
			for _, o := range objects {
				c.committed[o.ID] = c.committed[o.ID] || accepted[i]
			}
		}
		c.replaced(accepted)
		c.changed()
		if weather == "lost" || weather == "first" {
			done(nil, errors.New("answer lost"))
			return
		}
		done(accepted, nil)
	}), func() {})
}

// replaced counts, and deletes what nobody refers to any more.
func (c *cluster) replaced(accepted []bool) {
	for _, ok := range accepted {
		if ok {
			c.replacements++
		} else {
			c.outdated++
		}
	}
	if !c.keep {
		c.sweep()
	}
}

// replace keeps R3a.
func (c *cluster) replace(p *metadata.Replacement) bool {
	s, ok := c.streams[p.Stream]
	if !ok || c.refuses != nil && c.refuses(p) {
		return false
	}
	at := slices.IndexFunc(s.Parts, func(q metadata.Part) bool { return q.Start == p.Sources[0].Start })
	if at < 0 || at+len(p.Sources) > len(s.Parts) {
		return false
	}
	for i, source := range p.Sources {
		if q := s.Parts[at+i]; q.Object != source.Object || q.Start != source.Start || q.End != source.End {
			return false
		}
	}
	last := p.Sources[len(p.Sources)-1]
	if p.Parts[0].Start != p.Sources[0].Start || p.Parts[len(p.Parts)-1].End != last.End {
		c.w.t.Fatalf("stream %d: parts %+v replace %+v", p.Stream, p.Parts, p.Sources)
	}
	s.Parts = slices.Replace(s.Parts, at, at+len(p.Sources), p.Parts...)
	return true
}

func (c *cluster) CleanStream(epoch metadata.BrokerEpoch, id metadata.StreamID, cleaned int64, done func(error)) {
	c.w.push(event(func() {
		if s, ok := c.streams[id]; ok {
			s.Cleaned = max(s.Cleaned, cleaned)
		}
		c.changed()
		done(nil)
	}), func() {})
}

func (c *cluster) MoveCheckpoints(r *metadata.MoveCheckpoints, done func(error)) {
	c.w.push(event(func() {
		weather := c.weather()
		if weather == "error" {
			done(errors.New("proposal dropped"))
			return
		}
		for i := range r.Checkpoints {
			c.move(r, &r.Checkpoints[i])
		}
		c.changed()
		if !c.keep {
			c.sweep()
		}
		if weather == "lost" {
			done(errors.New("answer lost"))
			return
		}
		done(nil)
	}), func() {})
}

// move takes a checkpoint that is exactly as of the one that it replaces (R4).
func (c *cluster) move(r *metadata.MoveCheckpoints, m *metadata.MovedCheckpoint) {
	s, ok := c.streams[m.Stream]
	if !ok || s.CheckpointEnd != m.End || s.Newest().BrokerEpoch != r.Epoch {
		return
	}
	state := m.Checkpoint
	if m.Stored.Named() {
		state = c.checkpointOf(m.Stored.Object, &metadata.CommitPart{Stream: m.Stream, Part: metadata.Part{End: m.End}, Stored: m.Stored})
		c.committed[m.Stored.Object] = true
	}
	sum, ok := c.histories[m.Stream].sumAt(m.End)
	if !ok || !slices.Equal(state, encodeState(m.End, sum)) {
		c.w.t.Fatalf("stream %d: the checkpoint that was moved is not as of %d", m.Stream, m.End)
	}
	s.Checkpoint, s.Stored = m.Checkpoint, m.Stored
	c.moved++
}

func (c *cluster) judge(id metadata.ObjectID, p *metadata.CommitPart) bool {
	s, ok := c.streams[p.Stream]
	if !ok {
		return true
	}
	r, ok := rangeOf(s, p.LeaderEpoch)
	if !ok || p.Part.Start != committedOf(r) || (r.End >= 0 && p.Part.End > r.End) {
		return false
	}
	checkpoint := c.checkpointOf(id, p)
	c.checkPart(id, s, p, checkpoint)
	r.Committed = p.Part.End
	if p.Part.End > s.LogStart {
		s.Parts = append(s.Parts, p.Part)
		slices.SortFunc(s.Parts, func(a, b metadata.Part) int { return cmp.Compare(a.Start, b.Start) })
	}
	if checkpoint != nil && p.Part.End > s.CheckpointEnd {
		s.Checkpoint, s.CheckpointEnd, s.Stored = p.Checkpoint, p.Part.End, p.Stored
	}
	c.prune(s)
	return true
}

// checkpointOf is the checkpoint that a part brings, or that lies in its object.
func (c *cluster) checkpointOf(id metadata.ObjectID, p *metadata.CommitPart) []byte {
	if !p.Stored.Named() {
		return p.Checkpoint
	}
	c.stored++
	x := object.CheckpointInfo{Stream: uint64(p.Stream), End: p.Part.End, Position: p.Stored.Position, Bytes: p.Stored.Bytes, Sum: p.Stored.Sum}
	data := c.w.store.objects[object.Key("cluster", uint64(id))]
	state, err := x.OpenCheckpoint(uint64(id), data[x.Position:x.Position+int64(x.Bytes)])
	if err != nil || len(p.Checkpoint) > 0 || p.Stored.Object != id || p.Stored.End != p.Part.End {
		c.w.t.Fatalf("object %d of stream %d names a checkpoint %+v that does not lie there: %v", id, p.Stream, p.Stored, err)
	}
	return state
}

// prune forgets ranges that are wholly committed and trimmed.
func (c *cluster) prune(s *metadata.Stream) {
	for len(s.Ranges) > 1 && s.Ranges[0].End <= s.LogStart && committedOf(&s.Ranges[0]) == s.Ranges[0].End {
		s.Ranges = s.Ranges[1:]
	}
}

// trim raises a log start; objects that nobody refers to any more are deleted at once.
func (c *cluster) trim(id metadata.StreamID, logStart int64) {
	s := c.streams[id]
	s.LogStart = logStart
	s.Parts = slices.DeleteFunc(s.Parts, func(p metadata.Part) bool { return p.End <= logStart })
	c.prune(s)
	c.sweep()
	c.changed()
}

// sweep deletes the objects that are committed and not referred to any more. While the image may be lost, that waits.
func (c *cluster) sweep() {
	if c.ships.lag {
		return
	}
	used := map[metadata.ObjectID]bool{}
	for _, s := range c.streams {
		for i := range s.Parts {
			used[s.Parts[i].Object] = true
		}
		used[s.Stored.Object] = true
	}
	for id := range c.committed {
		if !used[id] {
			delete(c.w.store.objects, object.Key("cluster", uint64(id)))
			delete(c.committed, id)
		}
	}
}

// checkPart holds a part against the history: nothing not durable, state exactly as of its end (R4).
func (c *cluster) checkPart(id metadata.ObjectID, s *metadata.Stream, p *metadata.CommitPart, checkpoint []byte) {
	h := c.histories[s.ID]
	sum, ok := h.sumAt(p.Part.End)
	if !ok || p.Part.End > h.end() {
		c.w.t.Fatalf("object %d of stream %d ends at %d, no batch does", id, s.ID, p.Part.End)
	}
	if checkpoint == nil {
		if s.CheckpointEnd < p.Part.End {
			c.w.t.Fatalf("object %d of stream %d brings no checkpoint at %d, the image has one at %d", id, s.ID, p.Part.End, s.CheckpointEnd)
		}
		return
	}
	if want := encodeState(p.Part.End, sum); !slices.Equal(checkpoint, want) {
		c.w.t.Fatalf("object %d of stream %d: the checkpoint is not as of %d", id, s.ID, p.Part.End)
	}
}

// takeOver closes open ranges of ended epochs at their ends, and opens the next ones (R3).
func (c *cluster) takeOver(ends []metadata.RangeEnd) {
	for _, end := range ends {
		s, ok := c.streams[end.Stream]
		if !ok {
			continue
		}
		r := &s.Ranges[len(s.Ranges)-1]
		if r.LeaderEpoch != end.LeaderEpoch || end.End < 0 {
			c.w.t.Fatalf("stream %d: end %+v is not of its newest range %+v", end.Stream, end, r)
		}
		r.End = end.End
		s.Ranges = append(s.Ranges, metadata.Range{LeaderEpoch: r.LeaderEpoch + 1, BrokerEpoch: c.epoch, Start: end.End, Committed: end.End, End: -1})
	}
	c.changed()
	c.ship(c.ships.index)
}

// elsewhere is another broker's epoch, which writes nothing.
const elsewhere metadata.BrokerEpoch = 1 << 30

// moveAway seals a stream at its end, with the state there, and gives it to another broker (R15).
func (c *cluster) moveAway(id metadata.StreamID, end int64) {
	s := c.streams[id]
	r := s.Newest()
	sum, _ := c.histories[id].sumAt(end)
	r.End = end
	s.Checkpoint, s.CheckpointEnd, s.Stored = encodeState(end, sum), end, metadata.StoredCheckpoint{}
	s.Ranges = append(s.Ranges, metadata.Range{LeaderEpoch: r.LeaderEpoch + 1, BrokerEpoch: elsewhere, Start: end, Committed: end, End: -1})
	c.changed()
}

// bringBack gives what another broker leads to the newest incarnation, and returns it. A range is used once its record is shipped.
func (c *cluster) bringBack() (back []metadata.StreamID) {
	for _, id := range c.sorted() {
		s := c.streams[id]
		if r := s.Newest(); r.BrokerEpoch == elsewhere {
			r.End = r.Start
			s.Ranges = append(s.Ranges, metadata.Range{LeaderEpoch: r.LeaderEpoch + 1, BrokerEpoch: c.epoch, Start: r.End, Committed: r.End, End: -1})
			back = append(back, id)
		}
	}
	if len(back) > 0 {
		c.changed()
		c.ship(c.ships.index)
	}
	return back
}

// abandon gives up the log of the incarnation that ended (R16): the next one gets its ranges, above the most that it held.
func (c *cluster) abandon(offsets int64) {
	delete(c.w.disk.files, logName(c.epoch))
	for _, id := range c.sorted() {
		s, h := c.streams[id], c.histories[id]
		r := s.Newest()
		from := committedOf(r)
		r.Committed, r.End, s.CheckpointEnd = from+offsets, from+offsets, from+offsets
		s.Parts = append(s.Parts, metadata.Part{Start: from, End: r.End, LeaderEpoch: r.LeaderEpoch, MaxTimestamp: metadata.UntimedAt(0)})
		s.Ranges = append(s.Ranges, metadata.Range{LeaderEpoch: r.LeaderEpoch + 1, BrokerEpoch: c.epoch + 1, Start: r.End, Committed: r.End, End: -1})
		sum, _ := h.sumAt(from)
		h.cutTo(from)
		h.batches, h.ends, h.sums = append(h.batches, record.AppendFiller(nil, from, offsets, r.LeaderEpoch)), append(h.ends, r.End), append(h.sums, sum)
		h.acked = r.End
		if len(s.Checkpoint) > 0 || s.Stored.Named() {
			s.Checkpoint, s.Stored = encodeState(r.End, sum), metadata.StoredCheckpoint{}
		}
	}
}

func (c *cluster) create(id metadata.StreamID) {
	c.streams[id] = &metadata.Stream{ID: id, Ranges: []metadata.Range{{BrokerEpoch: c.epoch, End: -1}}}
	c.histories[id] = &history{}
	c.changed()
	c.ship(c.ships.index)
}

// shift pretends that the committed end of a stream lies where no batch of its log begins.
func (c *cluster) shift(id metadata.StreamID) {
	s := c.streams[id]
	s.Ranges[0].Start -= 5
	s.Ranges[0].Committed = s.Ranges[0].Start
}

// encodeState is the test owner's checkpoint: where it is, and a sum over all batches so far.
func encodeState(end int64, sum uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(end))
	return binary.LittleEndian.AppendUint64(b, sum)
}

func nextSum(sum uint64, crc uint32) uint64 { return sum*1099511628211 + uint64(crc) + 1 }

type testState struct {
	end int64
	sum uint64
}

func newTestState(checkpoint []byte, end int64) (State, error) {
	s := &testState{end: end}
	if len(checkpoint) == 0 {
		return s, nil
	}
	if int64(binary.LittleEndian.Uint64(checkpoint)) != end {
		return nil, errors.New("checkpoint of another offset")
	}
	s.sum = binary.LittleEndian.Uint64(checkpoint[8:])
	return s, nil
}

func (s *testState) Replay(h *record.Header, _ []byte) error {
	if h.BaseOffset != s.end {
		return fmt.Errorf("batch at %d, state at %d", h.BaseOffset, s.end)
	}
	s.end, s.sum = h.NextOffset(), nextSum(s.sum, h.CRC)
	return nil
}

func (s *testState) AppendCheckpoint(dst []byte) []byte {
	return append(dst, encodeState(s.end, s.sum)...)
}

// replayer keeps the states of recovered streams, and holds what is replayed against the test's history.
type replayer struct {
	c      *cluster
	e      *Engine
	states map[metadata.StreamID]*testState
}

func (r *replayer) Replay(id metadata.StreamID, h *record.Header, batch []byte) error {
	past := r.c.histories[id]
	if i := past.at(h.BaseOffset); i == len(past.ends) || past.ends[i] != h.NextOffset() {
		r.c.w.t.Fatalf("stream %d: recovered batch [%d, %d) was never appended", id, h.BaseOffset, h.NextOffset())
	}
	s := r.states[id]
	if s == nil {
		checkpoint, here := r.e.Checkpoint(r.c.streams[id])
		if !here {
			return ErrCheckpointAway
		}
		loaded, err := newTestState(checkpoint, r.c.streams[id].CheckpointEnd)
		if err != nil {
			return err
		}
		s = loaded.(*testState)
		r.states[id] = s
	}
	if h.BaseOffset < s.end {
		return nil
	}
	return s.Replay(h, batch)
}

func (r *replayer) Restore(id metadata.StreamID, end int64, summary []byte) error {
	loaded, err := newTestState(summary, end)
	if err != nil {
		return err
	}
	r.states[id] = loaded.(*testState)
	return nil
}

func (r *replayer) Agrees(id metadata.StreamID, end int64, summary []byte) error {
	s := r.states[id]
	if s == nil || s.end != end {
		return nil
	}
	r.c.agreed++
	if !slices.Equal(summary, encodeState(s.end, s.sum)) {
		return errors.New("another state")
	}
	return nil
}
