package controller

import (
	"errors"
	"fmt"
	"slices"

	"weir/core/config"
	"weir/core/metadata"
	"weir/core/wire"
)

// FoundCluster proposes the first record of a new cluster: its id and feature
// levels. A cluster that is founded already refuses it with metadata.ErrFounded.
func (c *Controller) FoundCluster(clusterID string, done func(error)) {
	c.propose(&metadata.FoundCluster{
		ClusterID: clusterID,
		Features:  newest(c.options.Features),
	}, done)
}

// RegisterBroker registers an incarnation of a broker, which ends those before it,
// and answers with its epoch. A zero Incarnation is drawn; the current one, once
// more, says anew where the broker listens. objectWAL says of which kind the epoch's WAL is.
func (c *Controller) RegisterBroker(b metadata.Broker, objectWAL bool, done func(metadata.BrokerEpoch, error)) {
	if b.Incarnation == ([16]byte{}) {
		b.Incarnation = c.randomID()
	}
	r := &metadata.RegisterBroker{ID: b.ID, Incarnation: b.Incarnation, Rack: b.Rack, Listeners: b.Listeners, ObjectWAL: objectWAL}
	c.proposeFor(r, func(o metadata.Outcome, err error) { done(metadata.BrokerEpoch(o.First), err) })
}

// UnregisterBroker removes a broker that is gone for good. Kafka removes one that is alive, too, which then serves nobody; here it is
// refused, and so it is while partitions or acknowledged records wait for the broker.
func (c *Controller) UnregisterBroker(id metadata.BrokerID, done func(error)) {
	if err := c.mayUnregister(id); err != nil {
		c.settle(err, done)
		return
	}
	c.propose(&metadata.UnregisterBroker{ID: id}, func(err error) {
		if errors.Is(err, metadata.ErrUnknownBroker) || errors.Is(err, metadata.ErrBrokerInUse) {
			err = c.mayUnregister(id)
		}
		if err == nil && Drained(c.image, id) {
			c.endDrain(id, func() { done(nil) })
			return
		}
		done(kafka(err))
	})
}

// endDrain lets whoever registers under the id of a broker that is gone for good take partitions.
func (c *Controller) endDrain(id metadata.BrokerID, done func()) {
	c.AlterBrokerConfigs(id, []ConfigOp{{Key: config.DrainKey, Op: config.OpDelete}}, false, false, func(error) { done() })
}

func (c *Controller) mayUnregister(id metadata.BrokerID) error {
	b, known := c.image.Broker(id)
	switch {
	case !known:
		return refuse(wire.BrokerIDNotRegistered, "Broker ID %d is not currently registered", id)
	case !b.Fenced:
		return refuse(wire.InvalidRequest, "Broker %d is alive: end its process first, and wait until it is fenced.", id)
	case c.image.BrokerOwes(id):
		return refuse(wire.InvalidRequest, "Broker %d leads partitions, or its write-ahead log holds records that are nowhere else: "+
			"start it once more, or wait until other brokers have recovered its log.", id)
	}
	return nil
}

// TakeOver closes each open range of this broker's ended epochs at its end, and
// opens the next one for epoch (R3). Ends of ranges that are sealed already are
// passed over. A range that is open and has no end among them refuses the whole:
// its WAL was not read, and to guess its end would lose what it acknowledged.
func (c *Controller) TakeOver(epoch metadata.BrokerEpoch, ends []metadata.RangeEnd, done func(error)) {
	todo, err := c.endsToClose(epoch, ends)
	if err != nil {
		done(err)
		return
	}
	chunks := slices.Collect(slices.Chunk(todo, max(c.options.RecordBytesMax/rangeEndBytes, 1)))
	inTurn(chunks, func(chunk []metadata.RangeEnd, next func(error)) {
		c.propose(&metadata.TakeOver{Broker: c.options.Broker, Epoch: epoch, Ends: chunk}, next)
	}, done)
}

// inTurn proposes one chunk after another, each once the record of the one before it was applied, so
// that however many there are, they never fill the quorum's queue. The first error ends it.
func inTurn[T any](chunks [][]T, propose func(chunk []T, next func(error)), done func(error)) {
	if len(chunks) == 0 {
		done(nil)
		return
	}
	propose(chunks[0], func(err error) {
		if err != nil {
			done(err)
			return
		}
		inTurn(chunks[1:], propose, done)
	})
}

// rangeEndBytes is about what one range takes in a record.
const rangeEndBytes = 24

// endsToClose finds the end of every open range, ascending by stream.
func (c *Controller) endsToClose(epoch metadata.BrokerEpoch, ends []metadata.RangeEnd) ([]metadata.RangeEnd, error) {
	type name struct {
		stream metadata.StreamID
		epoch  int32
	}
	known := make(map[name]int64, len(ends))
	for _, e := range ends {
		known[name{e.Stream, e.LeaderEpoch}] = e.End
	}
	if !c.image.Current(epoch) {
		return nil, fmt.Errorf("%w: epoch %d takes over", metadata.ErrEpochEnded, epoch)
	}
	var todo []metadata.RangeEnd
	for _, r := range c.image.OpenRangesToRecover(epoch) {
		end, ok := known[name{r.Stream, r.LeaderEpoch}]
		if !ok || end < 0 {
			return nil, fmt.Errorf("stream %d, leader epoch %d is open in a %w; bring the WAL file back, or the records in it are lost", r.Stream, r.LeaderEpoch, ErrWALNotRead)
		}
		todo = append(todo, metadata.RangeEnd{Stream: r.Stream, LeaderEpoch: r.LeaderEpoch, End: end})
	}
	return todo, nil
}

// AllocateProducerIDs grants a block of producer ids.
func (c *Controller) AllocateProducerIDs(done func(first, count int64, err error)) {
	count := c.options.ProducerIDBlock
	c.proposeFor(&metadata.AllocateProducerIDs{Broker: c.options.Broker, Epoch: c.epoch(), Count: count}, func(o metadata.Outcome, err error) {
		if err != nil {
			done(0, 0, kafka(err))
			return
		}
		done(o.First, count, nil)
	})
}

// TrimStream raises a stream's log start (DeleteRecords, retention). One that is
// not higher than it is changes nothing. An error without a Kafka code means that
// nothing was decided.
func (c *Controller) TrimStream(stream metadata.StreamID, logStart int64, done func(error)) {
	if s, ok := c.image.Stream(stream); ok && logStart >= 0 && logStart <= s.LogStart {
		c.settle(nil, done)
		return
	}
	c.propose(&metadata.TrimStream{Stream: stream, LogStart: logStart}, func(err error) { done(verdict(err)) })
}

// CleanStream notes how far the owner of a stream compacted it by key. The error is the image's.
func (c *Controller) CleanStream(epoch metadata.BrokerEpoch, stream metadata.StreamID, cleaned int64, done func(error)) {
	c.propose(&metadata.CleanStream{Epoch: epoch, Stream: stream, Cleaned: cleaned}, done)
}

// MoveCheckpoints says where checkpoints lie from now on. The error is the image's.
func (c *Controller) MoveCheckpoints(r *metadata.MoveCheckpoints, done func(error)) {
	c.propose(r, done)
}

// LeaseObjects grants a block of object ids to a broker epoch (R19, R20). The error
// is the image's.
func (c *Controller) LeaseObjects(epoch metadata.BrokerEpoch, count int32, done func(first metadata.ObjectID, err error)) {
	c.proposeFor(&metadata.LeaseObjects{Epoch: epoch, Count: count}, func(o metadata.Outcome, err error) {
		done(metadata.ObjectID(o.First), err)
	})
}

// Commit proposes an upload's commit; accepted says, part by part, what became
// part of its range, or is not asked for any more (R1, R2). done runs after the last
// record is applied to the image. A large commit is cut into several records, which
// are proposed one after another in the order of its parts, and the first error ends
// it: accepted says what came before. The parts are lent until done runs. walSlot is metadata.CommitObject.WALSlot.
func (c *Controller) Commit(object metadata.ObjectID, epoch metadata.BrokerEpoch, bytes int64, walSlot uint64, parts []CommitPart, done func(accepted []bool, err error)) {
	chunks := metadata.Chunks(parts, commitPartsMax, c.options.RecordBytesMax, commitPartBytesOf)
	if len(chunks) > 1 {
		c.cut.Hit()
	}
	accepted, decided := make([]bool, len(parts)), 0
	inTurn(chunks, func(chunk []CommitPart, next func(error)) {
		c.proposeFor(&metadata.CommitObject{Object: object, Epoch: epoch, Bytes: bytes, WALSlot: walSlot, Parts: chunk}, func(o metadata.Outcome, err error) {
			if err == nil {
				decided += copy(accepted[decided:], o.Accepted)
			}
			next(err)
		})
	}, func(err error) { done(accepted, err) })
}

const (
	// commitPartBytes is about what a part takes in a record besides its checkpoint.
	commitPartBytes = 48
	// commitPartsMax bounds the parts of a record, which is applied in one turn of the loop: a thousand take about one
	// millisecond.
	commitPartsMax = 1000
)

// Replace proposes to replace parts of streams by those of new objects (R3a); accepted says, stream by stream, what
// was. Like a commit it is cut into several records, proposed one after another, and the first error ends it.
// streams are lent until done runs.
func (c *Controller) Replace(epoch metadata.BrokerEpoch, objects []metadata.NewObject, streams []metadata.Replacement, done func(accepted []bool, err error)) {
	chunks := metadata.Chunks(streams, commitPartsMax, c.options.RecordBytesMax, replacementBytes)
	if len(chunks) > 1 {
		c.cut.Hit()
	}
	accepted, decided := make([]bool, len(streams)), 0
	inTurn(chunks, func(chunk []metadata.Replacement, next func(error)) {
		c.proposeFor(&metadata.ReplaceParts{Epoch: epoch, Objects: objects, Streams: chunk}, func(o metadata.Outcome, err error) {
			if err == nil {
				decided += copy(accepted[decided:], o.Accepted)
			}
			next(err)
		})
	}, func(err error) { done(accepted, err) })
}

// replacementBytes is about what one stream takes in the record of a replacement.
func replacementBytes(r *metadata.Replacement) int {
	return 8 + 20*len(r.Sources) + commitPartBytes*len(r.Parts)
}

// commitPartBytesOf is about what a part takes in a record, its checkpoint included.
func commitPartBytesOf(p *CommitPart) int { return commitPartBytes + len(p.Checkpoint) }
