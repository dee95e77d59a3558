// Package object is the format of what lies in the object store: batches of many streams, uploaded
// by one broker in one immutable object.
//
// The package owns the layout, its encoding and its checks, and the names of objects. It knows
// streams only as numbers and does no I/O: [Build] is a pure function over lent batches, made to run
// off the loop, and the parsers are total: whatever the bytes, they return or fail, and allocate no
// more than the bytes can describe. It may call core/record.
//
// # Layout, version 1
//
// All integers are little-endian. Nothing is aligned; positions count from the object's start.
//
//	0            +------------------------+
//	             | header, 96 bytes       |  the nonce (R20): read this to settle a lost answer
//	96           +------------------------+
//	             | blocks of stream 3     |  a block: whole batches of one stream, one after another
//	             | blocks of stream 7 ... |
//	             +------------------------+
//	             | checkpoints            |  of some streams; most objects have none
//	             +------------------------+
//	             | index of stream 3      |  one for each part, in the order of the parts
//	             | index of stream 7 ...  |
//	footer       +------------------------+
//	             | footer                 |  the parts; it ends with the object
//	bytes        +------------------------+
//
// A part is what the object holds of one stream: batches without a gap, in one or more blocks of
// about the size given to Build. A block never splits a batch, and is larger only if its one batch is.
// Where a stream was compacted by key, offsets are missing: the part still says which offsets it stands for, and each of its
// blocks begins where the one before it ends. So a missing offset always lies before a batch of its own block: block and
// part end with their last batch.
//
// An object may hold nothing but checkpoints: the state of streams that were handed over, or that of quiet streams, which would else
// keep a large object alive.
//
// Header:
//
//	 0 u64 magic "weirOBJ1"         48 u64 bytes of the object
//	 8 u32 version                  56 u64 position of the footer
//	12 u32 CRC32C of the header,    64 u32 number of parts
//	       this field as zero       68 u8  length of the cluster's id
//	16 u64 object id                69     27 bytes: the cluster's id, then zeros
//	24 i64 broker epoch
//	32     nonce, 16 bytes
//
// Index (a 40-byte head, then 40 bytes for each block):
//
//	 0 u32 magic "widx"              0 u64 position of the block
//	 4 u16 version, u16 zero         8 u32 bytes
//	 8 u32 CRC32C of the index,     12 u32 CRC32C of the block
//	       this field as zero       16 i64 first offset
//	12 u32 number of blocks         24 i64 offset after the last
//	16 u64 stream                   32 i64 max timestamp
//	24 u64 object id
//	32 i32 leader epoch
//	36 u32 number of transactions, zero in version 1
//
// An index of version 2 has, behind the blocks, 32 bytes for each transaction. It is written for a part that has
// transactional batches; any other part has version 1.
//
//	 0 u64 producer id
//	 8 i64 offset of its first batch in the part; that of the marker if it has none there
//	16 i64 offset of its marker, -1 if the part does not have it
//	24 u8  outcome: 0 aborted, 1 committed, 2 undecided; 7 bytes zero
//
// An index of version 3 is one of version 2 whose blocks need not lie side by side, as in an object that was joined from
// others ([Join]); it may have no transactions. Offsets have no gap in any version.
//
// First come, in the order of their markers, the aborted transactions with a batch in the part, and whatever the first
// marker of each producer ended: that decides a transaction that began in a part before. Then come the undecided, in
// the order of their first batches. All of it follows from the part's batches: who uploads a part, be it of a recovered
// log or of a compaction, needs no other state. Its size is at most 32 bytes for each transaction and producer of the
// part, and a transaction is two batches at least.
//
// Checkpoint (a 40-byte head, then the state of a stream's producers as core/partition encodes it):
//
//	0 u32 magic "wchk"             12 u32 bytes of the state
//	4 u16 version, u16 zero        16 u64 stream
//	8 u32 CRC32C of head and       24 u64 object id
//	      state, this field as     32 i64 offset as of which the state is
//	      zero
//
// The image names a checkpoint by position, length, sum and offset (metadata.StoredCheckpoint): no reader takes another one for it,
// and none is found by reading the object. So neither the footer nor the header mentions it, and releases that know no checkpoints
// read the parts beside them.
//
// Footer (a 40-byte head, then 64 bytes for each part):
//
//	 0 u32 magic "wftr"              0 u64 stream
//	 4 u16 version, u16 zero         8 i64 first offset
//	 8 u32 CRC32C of the footer,    16 i64 offset after the last
//	       this field as zero       24 i64 max timestamp
//	12 u32 number of parts (may     32 u64 bytes of the batches
//	       be 0)
//	16 u64 object id                40 u64 position of the index
//	24     nonce, 16 bytes          48 u32 bytes of the index
//	                                52 i32 leader epoch
//	                                56 u64 position of the first block
//
// A reader finds a part in the image, reads its index and then blocks, and never the footer. The
// footer allows reading an object without the image.
//
// # Invariants
//
//   - One name, one body (R20): the name is made of cluster and object id, which are both in the
//     header, and each body has a fresh nonce, by which its creator recognises it.
//   - Block sums are computed from the batches' own CRCs, which were verified when the batches came
//     in: a batch that changed in memory since then does not match the block's sum. A reader verifies
//     a block's sum before it uses any byte of it.
//   - Equal inputs give equal bytes.
package object
