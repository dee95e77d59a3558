package object

import (
	"fmt"
	"slices"
)

// Extent is a run of bytes of an object, of which another is joined.
type Extent struct {
	Object   uint64
	Position int64
	Bytes    int64
}

// JoinedPart is a part that is joined from parts of other objects, whose offsets follow each other without a gap.
type JoinedPart struct {
	Stream      uint64
	LeaderEpoch int32
	Sources     []*Index // at least one
}

// Join lays out an object whose blocks are those of other objects as they are: the header, the extents one behind the
// other, then indexes and footer. No block is read: a store can copy the extents by itself. Body is the header and
// what follows the extents. It is pure; it panics on a block that lies in no extent, and on parts that do not follow
// each other, since storing either would lose data.
func Join(h Header, extents []Extent, parts []JoinedPart) Built {
	b := builder{h: h, at: HeaderBytes, body: make([][]byte, 1, 2)}
	j := joiner{extents: slices.Clone(extents), at: make([]int64, len(extents))}
	for i := range j.extents {
		j.at[i] = b.at
		b.at += j.extents[i].Bytes
	}
	for i := range parts {
		info, index := j.join(&b.h, &parts[i])
		b.infos, b.indexes = append(b.infos, info), append(b.indexes, index)
	}
	return b.finish()
}

// joiner knows where the extents come to lie.
type joiner struct {
	extents []Extent
	at      []int64
}

func (j *joiner) join(h *Header, p *JoinedPart) (PartInfo, Index) {
	start := p.Sources[0].Blocks[0].First
	info := PartInfo{Stream: p.Stream, LeaderEpoch: p.LeaderEpoch, Start: start, End: start, MaxTimestamp: p.Sources[0].Blocks[0].MaxTimestamp}
	index := Index{Stream: p.Stream, Object: h.ID, LeaderEpoch: p.LeaderEpoch}
	for _, source := range p.Sources {
		for _, k := range source.Blocks {
			if k.First != info.End {
				panic(fmt.Sprintf("object: stream %d: block [%d, %d) does not follow offset %d", p.Stream, k.First, k.End, info.End))
			}
			k.Position = j.moved(source.Object, &k)
			index.Blocks = append(index.Blocks, k)
			info.End, info.MaxTimestamp, info.Bytes = k.End, max(info.MaxTimestamp, k.MaxTimestamp), info.Bytes+int64(k.Bytes)
		}
		index.Transactions.Join(&source.Transactions)
	}
	info.FirstBlock = index.Blocks[0].Position
	return info, index
}

// moved is where a block comes to lie.
func (j *joiner) moved(object uint64, k *Block) int64 {
	for i := range j.extents {
		if x := &j.extents[i]; x.Object == object && x.Position <= k.Position && k.Position+int64(k.Bytes) <= x.Position+x.Bytes {
			return j.at[i] + k.Position - x.Position
		}
	}
	panic(fmt.Sprintf("object: the block at %d of object %d lies in no extent", k.Position, object))
}
