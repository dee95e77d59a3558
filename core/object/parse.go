package object

import (
	"fmt"
	"hash/crc32"
	"strings"

	"weir/core/record"
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// ParseHeader reads an object's first HeaderBytes bytes.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes || order.Uint64(b) != headerMagic {
		return Header{}, damaged("no header in %d bytes", len(b))
	}
	b = b[:HeaderBytes]
	if order.Uint32(b[atHeaderSum:]) != sumWithout(b, atHeaderSum) {
		return Header{}, damaged("the header fails its checksum")
	}
	if v := order.Uint32(b[8:]); v != FormatVersion {
		return Header{}, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	n := int(b[68])
	if n > clusterBytesMax {
		return Header{}, damaged("cluster id of %d bytes", n)
	}
	h := Header{
		ID: order.Uint64(b[16:]), BrokerEpoch: int64(order.Uint64(b[24:])), Nonce: Nonce(b[32:48]),
		Cluster: string(b[69 : 69+n]), Bytes: int64(order.Uint64(b[48:])), Footer: int64(order.Uint64(b[56:])), Parts: order.Uint32(b[64:]),
	}
	if h.Footer < HeaderBytes || h.Bytes < h.Footer || h.Bytes-h.Footer != footerHeadBytes+partEntryBytes*int64(h.Parts) {
		return Header{}, damaged("a footer of %d parts at %d of %d bytes", h.Parts, h.Footer, h.Bytes)
	}
	return h, nil
}

// section checks the head that index and footer share, and returns the number of rows. newest is the last version
// known; extra is how many bytes follow the rows.
func section(b []byte, magic uint32, newest uint16, head, row int, extra func() int64, what string) (int, error) {
	if len(b) < head || order.Uint32(b) != magic {
		return 0, damaged("no %s in %d bytes", what, len(b))
	}
	if order.Uint32(b[atSum:]) != sumWithout(b, atSum) {
		return 0, damaged("the %s fails its checksum", what)
	}
	if v := order.Uint16(b[4:]); v == 0 || v > newest {
		return 0, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	rows := order.Uint32(b[12:])
	if int64(len(b)-head) != int64(rows)*int64(row)+extra() {
		return 0, damaged("an %s of %d rows in %d bytes", what, rows, len(b))
	}
	return int(rows), nil
}

// ParseIndex reads one part's index, exactly b.
func ParseIndex(b []byte) (*Index, error) {
	n, err := section(b, indexMagic, indexScattered, indexHeadBytes, indexEntryBytes, func() int64 { return transactionBytes(b) }, "index")
	if err != nil {
		return nil, err
	}
	x := &Index{
		Stream: order.Uint64(b[16:]), Object: order.Uint64(b[24:]),
		LeaderEpoch: int32(order.Uint32(b[32:])), Blocks: make([]Block, n),
	}
	if n == 0 {
		return nil, damaged("an index without blocks")
	}
	scattered := order.Uint16(b[4:]) >= indexScattered
	for i := range x.Blocks {
		k := decodeBlock(b[indexHeadBytes+i*indexEntryBytes:])
		if k.Position < HeaderBytes || k.Bytes < record.HeaderBytes || k.First < 0 || k.End <= k.First {
			return nil, damaged("block %d of %d bytes at %d, offsets [%d, %d)", i, k.Bytes, k.Position, k.First, k.End)
		}
		if i > 0 && (k.First != x.Blocks[i-1].End || !scattered && !k.Follows(&x.Blocks[i-1])) {
			return nil, damaged("block %d does not follow the one before it", i)
		}
		x.Blocks[i] = k
	}
	x.Transactions, err = parseTransactions(b[indexHeadBytes+n*indexEntryBytes:], x.Blocks[0].First, x.Blocks[n-1].End)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// transactionBytes is the size of the rows about transactions in an index.
func transactionBytes(b []byte) int64 {
	if order.Uint16(b[4:]) < indexTransactions {
		return 0
	}
	return int64(order.Uint32(b[36:])) * transactionEntryBytes
}

func decodeBlock(b []byte) Block {
	return Block{
		Position: int64(order.Uint64(b[0:])), Bytes: int32(order.Uint32(b[8:])), Sum: order.Uint32(b[12:]),
		First: int64(order.Uint64(b[16:])), End: int64(order.Uint64(b[24:])), MaxTimestamp: int64(order.Uint64(b[32:])),
	}
}

// Find returns the block that holds offset; false if none does.
func (x *Index) Find(offset int64) (int, bool) {
	low, high := 0, len(x.Blocks)
	for low < high {
		if middle := (low + high) / 2; x.Blocks[middle].End <= offset {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(x.Blocks) && x.Blocks[low].First <= offset
}

// ParseFooter reads the footer, exactly b, of the object whose header is h.
func ParseFooter(b []byte, h *Header) ([]PartInfo, error) {
	n, err := section(b, footerMagic, FormatVersion, footerHeadBytes, partEntryBytes, func() int64 { return 0 }, "footer")
	if err != nil {
		return nil, err
	}
	if uint32(n) != h.Parts || order.Uint64(b[16:]) != h.ID || Nonce(b[24:40]) != h.Nonce {
		return nil, damaged("footer and header are not of one object")
	}
	parts := make([]PartInfo, n)
	for i := range parts {
		parts[i] = decodePart(b[footerHeadBytes+i*partEntryBytes:])
		if p := &parts[i]; p.Start < 0 || p.End <= p.Start || p.IndexPosition < HeaderBytes || p.IndexBytes < indexHeadBytes ||
			p.IndexPosition > h.Footer-int64(p.IndexBytes) {
			return nil, damaged("part %d: offsets [%d, %d), index of %d bytes at %d", i, p.Start, p.End, p.IndexBytes, p.IndexPosition)
		}
	}
	return parts, nil
}

func decodePart(b []byte) PartInfo {
	return PartInfo{
		Stream: order.Uint64(b[0:]), Start: int64(order.Uint64(b[8:])), End: int64(order.Uint64(b[16:])),
		MaxTimestamp: int64(order.Uint64(b[24:])), Bytes: int64(order.Uint64(b[32:])), IndexPosition: int64(order.Uint64(b[40:])),
		IndexBytes: int32(order.Uint32(b[48:])), LeaderEpoch: int32(order.Uint32(b[52:])), FirstBlock: int64(order.Uint64(b[56:])),
	}
}

// Open checks a block's bytes, exactly data, and hands out its batches in order, as parts of data. Offsets may be missing before
// each; the block ends with its last.
// Nothing is handed out unless the checksum is right. After an error, what was handed out is void.
func (k *Block) Open(data []byte, batch func(h *record.Header, data []byte)) error {
	if err := k.checkSum(data); err != nil {
		return err
	}
	next := k.First
	for len(data) > 0 {
		h, err := record.ReadHeader(data)
		if err != nil || h.BaseOffset < next || h.LastOffsetDelta < 0 {
			return damaged("the block at %d has no batch at or behind offset %d: %v", k.Position, next, err)
		}
		batch(&h, data[:h.Bytes:h.Bytes])
		next, data = h.NextOffset(), data[h.Bytes:]
	}
	if next != k.End {
		return damaged("the block at %d ends at offset %d, not %d", k.Position, next, k.End)
	}
	return nil
}

// Verify checks a block's bytes, exactly data, as Open does.
func (k *Block) Verify(data []byte) error { return k.Open(data, func(*record.Header, []byte) {}) }

func (k *Block) checkSum(data []byte) error {
	if len(data) != int(k.Bytes) || crc32.Checksum(data, castagnoli) != k.Sum {
		return damaged("the block at %d fails its checksum", k.Position)
	}
	return nil
}

const (
	directory = "/data/"
	idDigits  = 16
	hexDigits = "0123456789abcdef"
)

// Prefix is what the keys of a cluster's objects start with.
func Prefix(cluster string) string { return cluster + directory }

// Key is the name of an object: "<cluster>/data/<id as 16 hex digits>". Keys sort like ids.
func Key(cluster string, id uint64) string {
	var digits [idDigits]byte
	for i := range digits {
		digits[i] = hexDigits[id>>(4*(idDigits-1-i))&15]
	}
	return cluster + directory + string(digits[:])
}

// ParseKey takes a key apart. False: it names no object of this format.
func ParseKey(key string) (cluster string, id uint64, ok bool) {
	cut := len(key) - idDigits
	if cut < len(directory) || !strings.HasSuffix(key[:cut], directory) {
		return "", 0, false
	}
	for i := cut; i < len(key); i++ {
		digit := strings.IndexByte(hexDigits, key[i])
		if digit < 0 {
			return "", 0, false
		}
		id = id<<4 | uint64(digit)
	}
	return key[:cut-len(directory)], id, true
}
