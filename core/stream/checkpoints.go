package stream

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/telemetry"
)

// ErrCheckpointAway: a stream's checkpoint lies in an object and was not read yet. Whoever gets it from a [Replayer] has that read
// and begins again.
var ErrCheckpointAway = errors.New("the checkpoint lies in the object store and was not read yet")

// checkpoints reads the checkpoints that lie in objects (R4), for whoever needs the state of a stream's producers. It keeps each until
// it was used; of one stream only the one that the image names.
type checkpoints struct {
	*base
	gets  *fetcher
	held  map[metadata.StreamID]*heldCheckpoint // lookups only
	queue []*heldCheckpoint                     // asked for in this turn: those side by side share a GET
	asked bool                                  // the queue is read at the end of the turn
	again waits
	lines *telemetry.Limiter
	tails func() // looks at recovered tails again
}

// heldCheckpoint is one in memory, or on its way.
type heldCheckpoint struct {
	stream   metadata.StreamID
	at       metadata.StoredCheckpoint
	state    []byte
	here     bool
	attempts int // that failed
	// Who waits for it.
	opens   bool // a partition that is to be opened
	tail    bool // the upload of a recovered tail
	arrived []func()
}

func newCheckpoints(b *base, gets *fetcher) checkpoints {
	return checkpoints{
		base: b, gets: gets, held: make(map[metadata.StreamID]*heldCheckpoint), again: waits{loop: b.Loop}, lines: telemetry.NewLimiter(lostLineInterval),
	}
}

// of returns a stream's checkpoint as the image has it: false if it lies in an object and is not at hand.
func (c *checkpoints) of(image *metadata.Stream) (state []byte, ok bool) {
	if !image.Stored.Named() {
		return image.Checkpoint, true
	}
	h := c.held[image.ID]
	if h == nil || h.at != image.Stored || !h.here {
		return nil, false
	}
	return h.state, true
}

// want has a stream's checkpoint read, which is not at hand. Who waits for it is to be noted in what is returned, and is told once it
// came, once the image names another or none, and at a shutdown: to look again.
func (c *checkpoints) want(image *metadata.Stream) *heldCheckpoint {
	h := c.held[image.ID]
	if h == nil || h.at != image.Stored {
		c.forget(image.ID)
		h = &heldCheckpoint{stream: image.ID, at: image.Stored}
		c.held[h.stream] = h
		c.ask(h)
	}
	return h
}

// forget drops a stream's checkpoint: it was used, or is not the stream's any more.
func (c *checkpoints) forget(id metadata.StreamID) {
	if h := c.held[id]; h != nil {
		delete(c.held, id)
		c.tell(h)
	}
}

// tell lets those who wait look again, once whoever made the checkpoint another one is done.
func (c *checkpoints) tell(h *heldCheckpoint) {
	for _, arrived := range h.arrived {
		c.Loop.Post(arrived)
	}
	if h.opens && c.CheckpointArrived != nil {
		c.Loop.Post(func() { c.CheckpointArrived(h.stream) })
	}
	if h.tail {
		c.Loop.Post(c.tails)
	}
	h.arrived, h.opens, h.tail = nil, false, false
}

// refresh drops what the image does not name any more, and what is not needed here since the stream was given to another broker.
func (c *checkpoints) refresh(id metadata.StreamID) {
	h := c.held[id]
	if h == nil {
		return
	}
	image, ok := c.Image.Stream(id)
	if !ok || h.at != image.Stored || h.here && image.Newest().BrokerEpoch != c.Epoch && c.log != nil {
		c.forget(id)
	}
}

func (c *checkpoints) refreshAll() {
	for _, id := range slices.Sorted(maps.Keys(c.held)) {
		c.refresh(id)
	}
}

// await calls done once the checkpoints of all these streams are at hand, as the image has them by then.
func (c *checkpoints) await(ids []metadata.StreamID, done func()) {
	away := c.away(ids)
	if len(away) == 0 || c.stopping {
		done()
		return
	}
	left := len(away)
	for _, image := range away {
		h := c.want(image)
		h.arrived = append(h.arrived, func() {
			if left--; left == 0 {
				c.await(ids, done)
			}
		})
	}
}

// away are the streams whose checkpoints are not at hand.
func (c *checkpoints) away(ids []metadata.StreamID) (away []*metadata.Stream) {
	for _, id := range ids {
		if image, ok := c.Image.Stream(id); ok {
			if _, here := c.of(image); !here {
				away = append(away, image)
			}
		}
	}
	return away
}

// used forgets what recovery had read of streams that others will lead. During a start they are kept: what the log says nothing of is
// opened from there.
func (c *checkpoints) used(ids []metadata.StreamID) {
	if c.log == nil {
		return
	}
	for _, id := range ids {
		c.forget(id)
	}
}

// ask reads a checkpoint together with others that are asked for in the same turn.
func (c *checkpoints) ask(h *heldCheckpoint) {
	c.queue = append(c.queue, h)
	if !c.asked {
		c.asked = true
		c.Loop.Post(c.read)
	}
}

// read reads what was asked for: neighbours in an object by one GET.
func (c *checkpoints) read() {
	queue := c.queue
	c.queue, c.asked = nil, false
	slices.SortStableFunc(queue, func(a, b *heldCheckpoint) int {
		return cmp.Or(cmp.Compare(a.at.Object, b.at.Object), cmp.Compare(a.at.Position, b.at.Position))
	})
	var g *get
	for _, h := range queue {
		p := c.piece(h)
		if g == nil || g.object != h.at.Object || g.offset+g.bytes() != h.at.Position || g.bytes()+int64(p.bytes) > getBytesMax {
			c.submit(g)
			g = &get{urgency: demanded(c.Loop.Now().Add(c.gets.ReadBudget)), purpose: env.PurposeCheckpoint, object: h.at.Object, offset: h.at.Position}
		}
		p.get = g
		g.pieces = append(g.pieces, p)
	}
	c.submit(g)
}

func (c *checkpoints) submit(g *get) {
	if g != nil {
		c.gets.submit(g)
	}
}

// piece is one checkpoint of a GET. It is held against its name, and copied, off the loop.
func (c *checkpoints) piece(h *heldCheckpoint) *piece {
	info := object.CheckpointInfo{Stream: uint64(h.stream), End: h.at.End, Position: h.at.Position, Bytes: h.at.Bytes, Sum: h.at.Sum}
	at := uint64(h.at.Object)
	var state []byte
	return &piece{
		bytes: int(h.at.Bytes),
		check: func(data []byte) error {
			found, err := info.OpenCheckpoint(at, data)
			state = bytes.Clone(found)
			return err
		},
		done: func(slab *env.Slab, err error) {
			if slab != nil {
				slab.Release()
			}
			c.came(h, state, err)
		},
	}
}

// came takes what was read. What failed is read again, without end: nothing else has that state. Meanwhile its partition waits.
func (c *checkpoints) came(h *heldCheckpoint, state []byte, err error) {
	switch {
	case c.held[h.stream] != h:
	case err == nil:
		c.Telemetry.Hit("stream checkpoints: read")
		h.state, h.here = state, true
		c.tell(h)
	case c.gets.stopping:
		c.forget(h.stream)
	default:
		h.attempts++
		c.Telemetry.Hit("stream checkpoints: a read failed")
		c.lines.Warn(c.Telemetry, "checkpoint", c.Loop.Now(), "the state of a partition's producers cannot be read, and the partition waits for it. It is read again: see "+
			"whether the object store answers and has the object",
			slog.Uint64("stream", uint64(h.stream)), slog.String("object", object.Key(c.Cluster, uint64(h.at.Object))), slog.String("error", err.Error()))
		c.again.later(c.health.backoff("checkpoint retry", uint64(h.stream), h.attempts), func() { c.retry(h) })
	}
}

// retry reads a checkpoint again, unless the image names another by now.
func (c *checkpoints) retry(h *heldCheckpoint) {
	switch {
	case c.held[h.stream] != h:
	case c.stopping:
		c.forget(h.stream)
	default:
		c.ask(h)
	}
}

// halt reads nothing again, for shutdown, and lets those go who wait.
func (c *checkpoints) halt() {
	c.again.end()
	for _, h := range c.queue {
		if c.held[h.stream] == h {
			c.forget(h.stream)
		}
	}
	c.queue = nil
}

// Checkpoint returns the state of a stream's producers as of the image's CheckpointEnd, for its partition. False: it lies in an object
// and is being read; Options.CheckpointArrived tells when to ask again. It is kept until the stream is opened.
func (e *Engine) Checkpoint(image *metadata.Stream) (state []byte, ok bool) {
	if state, ok = e.checkpoints.of(image); !ok && !e.base.stopping {
		e.checkpoints.want(image).opens = true
	}
	return state, ok
}
