package object

import (
	"fmt"

	"weir/core/record"
)

// Batch is one batch to store: whole, as it is to be served, with its offsets [Base, End). Its own
// CRC must be right: Build takes the sum of the records from there.
type Batch struct {
	Data         []byte
	Base, End    int64
	MaxTimestamp int64
}

// Part is what goes into the object of one stream: at least one batch, without a gap.
type Part struct {
	Stream      uint64
	LeaderEpoch int32
	Batches     []Batch
	// Sparse is a part of a log that was compacted by key: offsets may be missing between its batches, and before the first,
	// from Start on. It ends with its last batch.
	Sparse bool
	Start  int64
}

// start is the part's first offset.
func (p *Part) start() int64 {
	if p.Sparse {
		return p.Start
	}
	return p.Batches[0].Base
}

// follows reports whether a batch may come next, at an offset.
func (p *Part) follows(b *Batch, next int64) bool {
	return b.End > b.Base && (b.Base == next || p.Sparse && b.Base > next)
}

// Built is an object ready to be put. Body borrows the batches' memory, which must stay as it is for
// as long as the body is used.
type Built struct {
	Header Header
	Body   [][]byte
	Parts  []PartInfo // in the order given
	// Checkpoints are in the order given.
	Checkpoints []CheckpointInfo
}

// Build lays an object out, in the order of the parts. blockBytes is the size that a block does not
// exceed unless its one batch does. It is pure, copies no batch and reads no more than the headers of
// large ones; it panics on a part that is empty or has a gap that it may not have, since storing it would lose data. Checkpoints lie
// side by side behind the blocks; there may be none, or they may be all.
func Build(h Header, parts []Part, blockBytes int, checkpoints ...Checkpoint) Built {
	if len(h.Cluster) > clusterBytesMax {
		panic(fmt.Sprintf("object: cluster id %q has more than %d bytes", h.Cluster, clusterBytesMax))
	}
	b := builder{h: h, at: HeaderBytes, blockBytes: blockBytes}
	b.body = make([][]byte, 1, 2+batchesOf(parts)+2*len(checkpoints))
	for i := range parts {
		b.add(&parts[i])
	}
	for i := range checkpoints {
		b.addCheckpoint(&checkpoints[i])
	}
	return b.finish()
}

func batchesOf(parts []Part) int {
	n := 0
	for i := range parts {
		n += len(parts[i].Batches)
	}
	return n
}

type builder struct {
	h          Header
	body       [][]byte
	at         int64
	blockBytes int
	infos      []PartInfo
	indexes    []Index

	checkpoints []CheckpointInfo
}

// add lays a part's blocks.
func (b *builder) add(p *Part) {
	first := &p.Batches[0]
	info := PartInfo{
		Stream: p.Stream, LeaderEpoch: p.LeaderEpoch, FirstBlock: b.at,
		Start: p.start(), End: p.start(), MaxTimestamp: first.MaxTimestamp,
	}
	index := Index{Stream: p.Stream, Object: b.h.ID, LeaderEpoch: p.LeaderEpoch}
	var block Block
	for i := range p.Batches {
		batch := &p.Batches[i]
		if !p.follows(batch, info.End) {
			panic(fmt.Sprintf("object: stream %d: batch [%d, %d) does not follow offset %d", p.Stream, batch.Base, batch.End, info.End))
		}
		if block.Bytes > 0 && int(block.Bytes)+len(batch.Data) > b.blockBytes {
			index.Blocks = append(index.Blocks, block)
			block = Block{}
		}
		b.extend(&block, batch, info.End)
		if record.Transactional(batch.Data) {
			index.Transactions.Add(batch.Data, batch.Base)
		}
		info.End, info.MaxTimestamp = batch.End, max(info.MaxTimestamp, batch.MaxTimestamp)
	}
	index.Blocks = append(index.Blocks, block)
	info.Bytes = b.at - info.FirstBlock
	b.infos, b.indexes = append(b.infos, info), append(b.indexes, index)
}

// extend puts one batch at the end of a block. A new block begins at offset next, where the one before it ended, so that
// a missing offset belongs to the block in which reading goes on.
func (b *builder) extend(k *Block, batch *Batch, next int64) {
	if k.Bytes == 0 {
		k.Position, k.First, k.MaxTimestamp = b.at, next, batch.MaxTimestamp
	}
	k.Bytes += int32(len(batch.Data))
	k.Sum = record.UpdateSum(k.Sum, batch.Data)
	k.End, k.MaxTimestamp = batch.End, max(k.MaxTimestamp, batch.MaxTimestamp)
	b.body = append(b.body, batch.Data)
	b.at += int64(len(batch.Data))
}

// finish writes indexes, footer and header.
func (b *builder) finish() Built {
	tail := make([]byte, 0, b.tailBytes())
	for i := range b.indexes {
		start := len(tail)
		tail = b.indexes[i].append(tail)
		b.infos[i].IndexPosition, b.infos[i].IndexBytes = b.at+int64(start), int32(len(tail)-start)
	}
	b.h.Footer, b.h.Parts = b.at+int64(len(tail)), uint32(len(b.infos))
	tail = appendFooter(tail, &b.h, b.infos)
	b.h.Bytes = b.at + int64(len(tail))
	head := make([]byte, HeaderBytes)
	b.h.encode(head)
	b.body[0] = head
	return Built{Header: b.h, Body: append(b.body, tail), Parts: b.infos, Checkpoints: b.checkpoints}
}

func (b *builder) tailBytes() int {
	n := footerHeadBytes + partEntryBytes*len(b.infos)
	for i := range b.indexes {
		n += indexHeadBytes + indexEntryBytes*len(b.indexes[i].Blocks) + transactionEntryBytes*b.indexes[i].Transactions.Len()
	}
	return n
}
