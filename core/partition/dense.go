package partition

import "encoding/binary"

// A checkpoint of version 4 says the same in less, and so that states of the same producers have what is alike at the same place: most of what is
// remembered of a batch follows from the batch after it, and what a snapshot of many streams takes is what does not (metadata packs it).
//
// Behind the end offset, the max timestamp and the number of producers come, each for all producers before the next:
//   - head: id, as the difference to the one before; epoch; twice the number of batches, and one more if what versions 2 and 3 say of
//     transactions and of the last marker follows
//   - the first sequence of the newest batch
//   - of each batch, the newest first: twice its number of records less one, and one more if its first sequence follows, since it is not the one by which
//     that of the batch after it is the next
//   - of each batch, the newest first: the offsets between its end and the next batch of the producer, or the end of the state
//   - of each batch, the newest first: by how much its timestamp lies below the max timestamp, plus one; 0: it has none, or it is not kept
//
// Of all but the newest batch the timestamp is asked for by nothing but the answer to a duplicate on a topic whose times the broker sets. It is the
// largest part of what does not follow from anything else, so it is kept only there, and where the topic is not known.
const checkpointDense = 4

// denseProducerBytesMin is the smallest encoding of a producer: id, epoch and count.
const denseProducerBytesMin = 3

// sequenceMask is what sequences are counted modulo, less one.
const sequenceMask = 1<<31 - 1

// before is the first sequence of a batch that r is the next of.
func (r *sequenceRange) before(delta int32) int32 {
	return int32((int64(r.base) - int64(delta) - 1) & sequenceMask)
}

// CheckpointIsDense reports whether a checkpoint is of a version that releases before it do not read.
func CheckpointIsDense(checkpoint []byte) bool {
	return len(checkpoint) > len(checkpointMagic) && checkpoint[len(checkpointMagic)] >= checkpointDense
}

// appendDense appends what follows the number of producers.
func appendDense(dst []byte, all []denseProducer, f *denseFrame) []byte {
	previous := int64(0)
	for _, p := range all {
		dst = binary.AppendUvarint(dst, uint64(p.id-previous))
		dst = p.window.appendHead(dst, f)
		previous = p.id
	}
	for _, column := range []func(*window, []byte, *denseFrame) []byte{
		(*window).appendNewest, (*window).appendSequences, (*window).appendOffsets, (*window).appendTimestamps,
	} {
		for _, p := range all {
			dst = column(p.window, dst, f)
		}
	}
	return dst
}

// denseFrame is what the numbers of producers are relative to.
type denseFrame struct {
	end, maxTimestamp int64
	newestTimes       bool // timestamps are kept of the newest batches only
}

// denseProducer is a producer as one layer of the state knows it.
type denseProducer struct {
	id     int64
	window *window
}

// newestTimes says that nobody asks for the timestamps of batches before the newest.
func (t *topic) newestTimes() bool { return !t.config.LogAppendTime }

func (s *State) denseProducers(layer func(*producer) *window) (all []denseProducer) {
	for _, p := range s.producers {
		if w := layer(p); w.epoch != noEpoch {
			all = append(all, denseProducer{p.id, w})
		}
	}
	return all
}

func (w *window) appendHead(dst []byte, f *denseFrame) []byte {
	dst = binary.AppendUvarint(dst, uint64(w.epoch))
	if w.openFrom == noTransaction && w.coordinator == noCoordinator && w.marked == noTimestamp {
		return append(dst, byte(w.n)<<1)
	}
	dst = append(dst, byte(w.n)<<1|1)
	return w.appendMarked(w.appendTransaction(dst, f.end), f.maxTimestamp)
}

func (w *window) appendNewest(dst []byte, _ *denseFrame) []byte {
	if w.n == 0 {
		return dst
	}
	return binary.AppendUvarint(dst, uint64(w.batches[w.n-1].base))
}

func (w *window) appendSequences(dst []byte, _ *denseFrame) []byte {
	for i := w.n - 1; i >= 0; i-- {
		r := &w.batches[i]
		if i == w.n-1 || r.base == w.batches[i+1].before(r.delta) {
			dst = binary.AppendUvarint(dst, uint64(r.delta)<<1)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(r.delta)<<1|1)
		dst = binary.AppendUvarint(dst, uint64(r.base))
	}
	return dst
}

func (w *window) appendOffsets(dst []byte, f *denseFrame) []byte {
	after := f.end
	for i := w.n - 1; i >= 0; i-- {
		dst = binary.AppendUvarint(dst, uint64(after-w.batches[i].end()))
		after = w.batches[i].offset
	}
	return dst
}

func (w *window) appendTimestamps(dst []byte, f *denseFrame) []byte {
	for i := w.n - 1; i >= 0; i-- {
		if t := w.batches[i].timestamp; t != noTimestamp && (i == w.n-1 || !f.newestTimes) {
			dst = binary.AppendUvarint(dst, uint64(f.maxTimestamp-t)+1)
			continue
		}
		dst = append(dst, 0)
	}
	return dst
}

// denseWindows reads the columns behind the heads.
func (r *reader) denseWindows(all []*producer, end, maxTimestamp int64) {
	for _, column := range []func(*reader, *window, int64, int64){
		(*reader).denseNewest, (*reader).denseSequences, (*reader).denseOffsets, (*reader).denseTimestamps,
	} {
		for _, p := range all {
			column(r, &p.durable, end, maxTimestamp)
		}
	}
}

// denseHead reads a window without its batches.
func (r *reader) denseHead(end, maxTimestamp int64) window {
	w := newWindow()
	w.epoch = int16(r.bounded(1<<15 - 1))
	count := r.bounded(2*windowBatches + 1)
	w.n = int8(count >> 1)
	if count&1 == 1 {
		r.transaction(&w, end)
		r.marked(&w, maxTimestamp)
	}
	return w
}

func (r *reader) denseNewest(w *window, _, _ int64) {
	if w.n > 0 {
		w.batches[w.n-1].base = int32(r.bounded(sequenceMask))
	}
}

func (r *reader) denseSequences(w *window, _, _ int64) {
	for i := w.n - 1; i >= 0; i-- {
		b := &w.batches[i]
		v := r.bounded(1<<32 - 1)
		b.delta = int32(v >> 1)
		switch {
		case v&1 == 1:
			b.base = int32(r.bounded(sequenceMask))
		case i < w.n-1:
			b.base = w.batches[i+1].before(b.delta)
		}
	}
}

func (r *reader) denseOffsets(w *window, end, _ int64) {
	after := end
	for i := w.n - 1; i >= 0; i-- {
		b := &w.batches[i]
		b.offset = after - int64(r.uvarint()) - int64(b.delta) - 1
		if after = b.offset; b.offset > end {
			r.failed = true
		}
	}
}

func (r *reader) denseTimestamps(w *window, _, maxTimestamp int64) {
	for i := w.n - 1; i >= 0; i-- {
		w.batches[i].timestamp = noTimestamp
		if below := r.uvarint(); below > 0 {
			w.batches[i].timestamp = maxTimestamp - int64(below-1)
		}
	}
}
