package metadata

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"weir/core/compress"
)

// Most of a large image is what streams have of parts and checkpoints. One part is much like those of the same object, and the checkpoints of
// streams that the same producers write are alike, too. So a packed snapshot has them a column at a time, each value as its difference to
// what those before it let expect, and compressed.

const (
	packedBlockBytes = 4 << 20
	packedBytesMax   = 4 << 30
	// packedLevel is zstd's level for images of packedLargeBytes and up, which is slow and takes much memory; packedLevelSmall that for others.
	packedLevel      = 12
	packedLevelSmall = 3
	packedLargeBytes = 256 << 10

	packedStreamBytesMin = 2
	packedPartBytesMin   = 8
	packedBlockBytesMin  = 2
)

// partColumn is one integer of parts. expected is what it is likely to be, from the part before it in the order of objects, and from the columns of
// the part itself that come before.
type partColumn struct {
	get      func(*Part) int64
	set      func(*Part, int64)
	expected func(before, p *Part) int64
}

// partColumns are those of parts in the order of their objects and streams. Until all are decoded, a part begins at 0.
var partColumns = []partColumn{
	{(*Part).offsets, func(p *Part, v int64) { p.End = v }, func(_, _ *Part) int64 { return 0 }},
	{
		func(p *Part) int64 { return int64(p.LeaderEpoch) }, func(p *Part, v int64) { p.LeaderEpoch = int32(v) },
		func(before, _ *Part) int64 { return int64(before.LeaderEpoch) },
	},
	{
		func(p *Part) int64 { return p.MaxTimestamp }, func(p *Part, v int64) { p.MaxTimestamp = v },
		func(before, _ *Part) int64 { return before.MaxTimestamp },
	},
	{func(p *Part) int64 { return p.Bytes }, func(p *Part, v int64) { p.Bytes = v }, bytesExpected},
	{
		func(p *Part) int64 { return int64(p.IndexBytes) }, func(p *Part, v int64) { p.IndexBytes = int32(v) },
		func(before, _ *Part) int64 { return int64(before.IndexBytes) },
	},
	{
		func(p *Part) int64 { return p.IndexOffset }, func(p *Part, v int64) { p.IndexOffset = v },
		func(before, _ *Part) int64 { return before.IndexOffset + int64(before.IndexBytes) }, // indexes lie side by side
	},
}

// offsets is how many a part stands for.
func (p *Part) offsets() int64 { return p.End - p.Start }

// bytesExpected is a part's size if its records are as large as those of the part before it.
func bytesExpected(before, p *Part) int64 {
	if before.offsets() <= 0 {
		return before.Bytes
	}
	return before.Bytes * p.offsets() / before.offsets()
}

// packed walks the columns, compressed.
func (s *contents) packed(c *coder) {
	columns := coder{decoding: c.decoding, version: c.version}
	if c.decoding {
		columns.b = unpack(c)
	}
	s.columns(&columns)
	if !c.decoding {
		pack(c, columns.b)
	} else if columns.failed || len(columns.b) > 0 {
		c.fail()
	}
}

// pack appends data in compressed blocks.
func pack(c *coder, data []byte) {
	level := packedLevel
	if len(data) < packedLargeBytes {
		level = packedLevelSmall
	}
	blocks := slices.Collect(slices.Chunk(data, packedBlockBytes))
	list(c, &blocks, packedBlockBytesMin, func(c *coder, block *[]byte) {
		to := compress.Target{Codec: compress.Zstd, Level: level}
		packed, err := compress.Recode(to, nil, compress.None, *block, len(*block), 2*packedBlockBytes)
		if err != nil {
			panic("metadata: a snapshot cannot be compressed: " + err.Error()) // it is in memory, and the bound has room for any
		}
		c.bytes(&packed)
	})
}

// unpack takes off what pack appended. It allocates no more than the blocks hold.
func unpack(c *coder) (data []byte) {
	var blocks [][]byte
	list(c, &blocks, packedBlockBytesMin, func(c *coder, block *[]byte) {
		c.bytes(block)
		plain, err := compress.Decompress(compress.Zstd, *block, min(packedBlockBytes, packedBytesMax-len(data)))
		if err != nil {
			c.fail()
			return
		}
		data = append(data, plain...)
	})
	return data
}

// columns walks what streams have of parts and checkpoints; decoding makes the streams.
func (s *contents) columns(c *coder) {
	checkpoints := s.counts(c)
	if c.failed {
		return
	}
	parts := s.partsOfStreams(c)
	byObject := slices.Clone(parts)
	slices.SortStableFunc(byObject, func(a, b *Part) int { return cmp.Compare(a.Object, b.Object) })
	for i := range partColumns {
		partColumns[i].walk(c, byObject)
	}
	s.starts(c)
	if c.failed {
		return
	}
	if c.decoding {
		s.takeCheckpoints(c, checkpoints)
	} else {
		s.appendCheckpoints(c, checkpoints)
	}
}

// counts walks how many parts each stream has, and how long its checkpoint is. Both are checked against the bytes that are left before anything is
// allocated.
func (s *contents) counts(c *coder) []packedState {
	partCounts, states := make([]uint64, len(s.streams)), make([]packedState, len(s.streams))
	for i, stream := range s.streams {
		partCounts[i], states[i] = uint64(len(stream.Parts)), packedStateOf(stream.Checkpoint)
	}
	list(c, &partCounts, packedStreamBytesMin, natural)
	if c.decoding {
		states = make([]packedState, len(partCounts))
	}
	for i := range states {
		states[i].fields(c)
	}
	if c.decoding {
		s.makeStreams(c, partCounts, states)
	}
	return states
}

func (s *contents) makeStreams(c *coder, partCounts []uint64, states []packedState) {
	left := uint64(len(c.b))
	for i, n := range partCounts {
		if n > left/packedPartBytesMin || states[i].bytes > left-n*packedPartBytesMin {
			c.fail()
			return
		}
		left -= n*packedPartBytesMin + states[i].bytes
	}
	s.streams = make([]*Stream, len(partCounts))
	for i, n := range partCounts {
		s.streams[i] = &Stream{Parts: make([]Part, n)} // its own: a stream lives as long as it likes
	}
}

// partsOfStreams are all parts, stream by stream, with the column of their objects.
func (s *contents) partsOfStreams(c *coder) (parts []*Part) {
	first := ObjectID(0) // that a stream refers to: that of the stream before it is likely
	for _, stream := range s.streams {
		before := first
		for i := range stream.Parts {
			p := &stream.Parts[i]
			object := int64(p.Object)
			relative(c, &object, int64(before))
			if c.decoding {
				p.Object = ObjectID(object)
			}
			if before = p.Object; i == 0 {
				first = p.Object
			}
			parts = append(parts, p)
		}
	}
	return parts
}

func (f *partColumn) walk(c *coder, parts []*Part) {
	before := &Part{}
	for _, p := range parts {
		v := f.get(p)
		relative(c, &v, f.expected(before, p))
		if c.decoding {
			if f.set(p, v); f.get(p) != v {
				c.fail()
			}
		}
		before = p
	}
}

// starts walks where parts begin, which is nearly always where those before them end.
func (s *contents) starts(c *coder) {
	for _, stream := range s.streams {
		end := int64(0)
		for i := range stream.Parts {
			p := &stream.Parts[i]
			start := p.Start
			relative(c, &start, end)
			if c.decoding {
				p.Start, p.End = start, start+p.End
			}
			end = p.End
		}
	}
}

// packedState says how a checkpoint is packed: many end with their own CRC32C, which the snapshot can do without.
type packedState struct {
	bytes  uint64 // without the sum
	summed bool
}

func packedStateOf(state []byte) packedState {
	body := len(state) - crc32.Size
	if body > 0 && crc32.Checksum(state[:body], castagnoli) == binary.BigEndian.Uint32(state[body:]) {
		return packedState{uint64(body), true}
	}
	return packedState{uint64(len(state)), false}
}

func (k *packedState) fields(c *coder) {
	v := k.bytes << 1
	if k.summed {
		v |= 1
	}
	natural(c, &v)
	k.bytes, k.summed = v>>1, v&1 == 1
}

// appendCheckpoints appends what is kept of all checkpoints, a column at a time. Metadata does not know what they say, only that they are mostly
// varints: those of the same producers have what is alike at the same place. A column is the varint of that number of each, or what is left of it.
func (s *contents) appendCheckpoints(c *coder, states []packedState) {
	rows := make([][]byte, 0, len(states))
	for i, stream := range s.streams {
		if states[i].bytes > 0 {
			rows = append(rows, stream.Checkpoint[:states[i].bytes])
		}
	}
	for len(rows) > 0 {
		left := rows[:0]
		for _, row := range rows {
			n := varintBytes(row)
			c.b = append(c.b, row[:n]...)
			if n < len(row) {
				left = append(left, row[n:])
			}
		}
		rows = left
	}
}

// takeCheckpoints takes off what appendCheckpoints appended.
func (s *contents) takeCheckpoints(c *coder, states []packedState) {
	total := uint64(0) // which cannot be too large to be counted: makeStreams checked it against what was left then
	for i := range states {
		total += states[i].bytes
	}
	if total > uint64(len(c.b)) {
		c.fail()
		return
	}
	rows := make([]*[]byte, 0, len(states))
	for i := range states {
		if k := &states[i]; k.bytes > 0 {
			checkpoint := &s.streams[i].Checkpoint
			*checkpoint = make([]byte, 0, k.bytes+crc32.Size)
			rows = append(rows, checkpoint)
		}
	}
	for len(rows) > 0 {
		left := rows[:0]
		for _, row := range rows {
			room := cap(*row) - crc32.Size - len(*row)
			n := varintBytes(c.b[:room])
			*row, c.b = append(*row, c.b[:n]...), c.b[n:]
			if n < room {
				left = append(left, row)
			}
		}
		rows = left
	}
	for i := range states {
		if state := &s.streams[i].Checkpoint; states[i].summed {
			*state = binary.BigEndian.AppendUint32(*state, crc32.Checksum(*state, castagnoli))
		}
	}
}

// varintBytes is how long the varint is that bytes begin with; all of them, if it does not end there.
func varintBytes(b []byte) int {
	for i, x := range b {
		if x < 0x80 {
			return i + 1
		}
	}
	return len(b)
}

// row walks what the columns lack of a stream. Where it ends follows from its parts, in nearly all streams.
func (s *Stream) row(c *coder) {
	start, end := int64(0), int64(0)
	if n := len(s.Parts); n > 0 {
		start, end = s.Parts[0].Start, s.Parts[n-1].End
	}
	natural(c, &s.ID)
	relative(c, &s.LogStart, start)
	list(c, &s.Ranges, rangeBytesMin, func(c *coder, r *Range) { r.row(c, end) })
	committed := int64(0)
	if n := len(s.Ranges); n > 0 {
		committed = s.Ranges[n-1].Committed
	}
	relative(c, &s.CheckpointEnd, committed)
	integer(c, &s.Cleaned)
	s.Stored.fields(c)
}

func (r *Range) row(c *coder, partsEnd int64) {
	integer(c, &r.LeaderEpoch)
	integer(c, &r.Broker)
	integer(c, &r.BrokerEpoch)
	integer(c, &r.Start)
	relative(c, &r.Committed, partsEnd)
	integer(c, &r.End)
}
