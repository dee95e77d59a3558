package object

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// FormatVersion is the version of the header, the footer and, but for one, the index that this package writes.
const FormatVersion = 1

// Versions of an index beyond the first. Each is written only for a part that needs it, so that a cluster without any
// stays readable for the releases before it.
const (
	indexTransactions = 2 // has transactions
	indexScattered    = 3 // has blocks that do not lie side by side
)

const (
	// HeaderBytes is the length of the header, which starts every object.
	HeaderBytes = 96

	indexHeadBytes  = 40
	indexEntryBytes = 40
	footerHeadBytes = 40
	partEntryBytes  = 64
	// transactionEntryBytes is the size of a row of an index about a transaction.
	transactionEntryBytes = 32
	clusterBytesMax       = 27
	atHeaderSum           = 12
	atSum                 = 8 // in index and footer

	headerMagic = 0x314a424f72696577 // "weirOBJ1", read as little-endian
	indexMagic  = 0x78646977         // "widx"
	footerMagic = 0x72746677         // "wftr"
)

// ErrDamaged says that bytes are not what was written: cut off, changed, or never of this format.
var ErrDamaged = errors.New("object is damaged")

// ErrVersion says that a newer program wrote the object.
var ErrVersion = errors.New("object has an unknown format version")

var (
	order      = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	fourZeros  [4]byte
)

// sumWithout is the CRC of b with the four bytes at hole taken as zero.
func sumWithout(b []byte, hole int) uint32 {
	sum := crc32.Update(0, castagnoli, b[:hole])
	sum = crc32.Update(sum, castagnoli, fourZeros[:])
	return crc32.Update(sum, castagnoli, b[hole+4:])
}

func updateSum(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// Nonce identifies one body among all that were ever made for a name.
type Nonce [16]byte

// Header says what an object is. Two equal headers mean the same body.
type Header struct {
	ID          uint64
	BrokerEpoch int64
	Nonce       Nonce
	Cluster     string // at most 27 bytes
	Bytes       int64  // of the whole object; set by Build
	Footer      int64  // its position; set by Build
	Parts       uint32 // set by Build
}

// Block is one row of an index. A reader asks the store for Bytes bytes at Position.
type Block struct {
	Position     int64
	Bytes        int32
	Sum          uint32 // CRC32C
	First, End   int64  // offsets [First, End)
	MaxTimestamp int64
}

// Index is one part's blocks, ascending and without a gap in offsets. In an object that was uploaded they lie side by side
// too; in one that was joined from others they lie in runs, in any order.
type Index struct {
	Stream      uint64
	Object      uint64
	LeaderEpoch int32
	Blocks      []Block
	// Transactions are those of the part, as far as a reader needs them.
	Transactions Transactions
}

// PartInfo is one row of a footer: what the object holds of one stream.
type PartInfo struct {
	Stream        uint64
	LeaderEpoch   int32
	IndexBytes    int32
	Start, End    int64
	MaxTimestamp  int64
	Bytes         int64 // of the batches
	IndexPosition int64
	FirstBlock    int64 // its position
}

func (h *Header) encode(b []byte) {
	clear(b[:HeaderBytes])
	order.PutUint64(b[0:], headerMagic)
	order.PutUint32(b[8:], FormatVersion)
	order.PutUint64(b[16:], h.ID)
	order.PutUint64(b[24:], uint64(h.BrokerEpoch))
	copy(b[32:48], h.Nonce[:])
	order.PutUint64(b[48:], uint64(h.Bytes))
	order.PutUint64(b[56:], uint64(h.Footer))
	order.PutUint32(b[64:], h.Parts)
	b[68] = byte(len(h.Cluster))
	copy(b[69:HeaderBytes], h.Cluster)
	order.PutUint32(b[atHeaderSum:], sumWithout(b[:HeaderBytes], atHeaderSum))
}

func (k *Block) append(b []byte) []byte {
	b = order.AppendUint64(b, uint64(k.Position))
	b = order.AppendUint32(b, uint32(k.Bytes))
	b = order.AppendUint32(b, k.Sum)
	b = order.AppendUint64(b, uint64(k.First))
	b = order.AppendUint64(b, uint64(k.End))
	return order.AppendUint64(b, uint64(k.MaxTimestamp))
}

// append appends the whole index.
func (x *Index) append(b []byte) []byte {
	start := len(b)
	version, rows := uint16(FormatVersion), x.Transactions.rows()
	switch {
	case !x.adjacent():
		version = indexScattered
	case len(rows) > 0:
		version = indexTransactions
	}
	b = order.AppendUint32(b, indexMagic)
	b = order.AppendUint16(b, version)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = order.AppendUint32(b, uint32(len(x.Blocks)))
	b = order.AppendUint64(b, x.Stream)
	b = order.AppendUint64(b, x.Object)
	b = order.AppendUint32(b, uint32(x.LeaderEpoch))
	b = order.AppendUint32(b, uint32(len(rows)))
	for i := range x.Blocks {
		b = x.Blocks[i].append(b)
	}
	for i := range rows {
		b = rows[i].append(b)
	}
	order.PutUint32(b[start+atSum:], sumWithout(b[start:], atSum))
	return b
}

// adjacent reports whether the blocks lie side by side.
func (x *Index) adjacent() bool {
	for i := 1; i < len(x.Blocks); i++ {
		if !x.Blocks[i].Follows(&x.Blocks[i-1]) {
			return false
		}
	}
	return true
}

// Follows reports whether a block lies right behind another.
func (k *Block) Follows(before *Block) bool { return k.Position == before.Position+int64(before.Bytes) }

func (p *PartInfo) append(b []byte) []byte {
	b = order.AppendUint64(b, p.Stream)
	b = order.AppendUint64(b, uint64(p.Start))
	b = order.AppendUint64(b, uint64(p.End))
	b = order.AppendUint64(b, uint64(p.MaxTimestamp))
	b = order.AppendUint64(b, uint64(p.Bytes))
	b = order.AppendUint64(b, uint64(p.IndexPosition))
	b = order.AppendUint32(b, uint32(p.IndexBytes))
	b = order.AppendUint32(b, uint32(p.LeaderEpoch))
	return order.AppendUint64(b, uint64(p.FirstBlock))
}

// appendFooter appends the whole footer.
func appendFooter(b []byte, h *Header, parts []PartInfo) []byte {
	start := len(b)
	b = order.AppendUint32(b, footerMagic)
	b = order.AppendUint16(b, FormatVersion)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = order.AppendUint32(b, uint32(len(parts)))
	b = order.AppendUint64(b, h.ID)
	b = append(b, h.Nonce[:]...)
	for i := range parts {
		b = parts[i].append(b)
	}
	order.PutUint32(b[start+atSum:], sumWithout(b[start:], atSum))
	return b
}
