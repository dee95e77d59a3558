package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// The table of files in the first blocks of a block device. All integers are little-endian.
//
//	device offset
//	0        table, even sequence  32 KiB
//	32 KiB   table, odd sequence   32 KiB
//	64 KiB   one block, written to find out what the device can do
//	1 MiB    chunk 0, chunk 1, ...
//
//	table
//	 0 u64 magic "weirDEV1"          24 u64 device bytes
//	 8 u32 version                   32 u64 chunk bytes
//	12 u32 CRC32C of the table,      40 u32 number of files
//	       this field as zero        44 u32 length of the table
//	16 u64 sequence                  48 files, by name
//
//	file
//	 0 u64 size                      12 u16 length of the name
//	 8 u32 number of chunks          14 name, then a u16 for each chunk, in order of the file
const (
	tableMagic    = 0x3156454472696577 // "weirDEV1"
	tableVersion  = 1
	tableBytes    = 32 << 10
	tableHead     = 48
	fileHead      = 14
	probeOffset   = 2 * tableBytes
	chunksOffset  = 1 << 20
	chunksMax     = 4096
	chunkBytesMin = 1 << 20
	filesMax      = 64
	nameBytesMax  = 200
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	little     = binary.LittleEndian

	errNoTable  = errors.New("no table of weir's")
	errBadTable = errors.New("damaged table")
)

// table is what the device holds. Values are not changed once they are in use.
type table struct {
	sequence    uint64
	deviceBytes int64
	chunkBytes  int64
	files       []row // by name
}

type row struct {
	name   string
	size   int64
	chunks []uint16
	node   *inode // of the handles opened from it; not stored
}

// newTable divides a device into at most chunksMax chunks.
func newTable(deviceBytes int64) (*table, error) {
	t := &table{deviceBytes: deviceBytes, chunkBytes: chunkBytesMin}
	for t.count() > chunksMax {
		t.chunkBytes *= 2
	}
	if t.count() < 2 {
		return nil, fmt.Errorf("a device of %d bytes is too small", deviceBytes)
	}
	return t, nil
}

// count is the number of chunks on the device.
func (t *table) count() int64 { return (t.deviceBytes - chunksOffset) / t.chunkBytes }

func (t *table) find(name string) (int, bool) {
	return slices.BinarySearchFunc(t.files, name, func(r row, name string) int { return strings.Compare(r.name, name) })
}

// free lists the chunks of no file, in order.
func (t *table) free() (free []uint16) {
	used := make([]bool, t.count())
	for _, r := range t.files {
		for _, c := range r.chunks {
			used[c] = true
		}
	}
	for c, u := range used {
		if !u {
			free = append(free, uint16(c))
		}
	}
	return free
}

// encode fills a table's place on the device.
func (t *table) encode(b []byte) {
	clear(b[:tableBytes])
	at := tableHead
	for _, r := range t.files {
		little.PutUint64(b[at:], uint64(r.size))
		little.PutUint32(b[at+8:], uint32(len(r.chunks)))
		little.PutUint16(b[at+12:], uint16(len(r.name)))
		at += fileHead
		at += copy(b[at:], r.name)
		for _, c := range r.chunks {
			little.PutUint16(b[at:], c)
			at += 2
		}
	}
	little.PutUint64(b, tableMagic)
	little.PutUint32(b[8:], tableVersion)
	little.PutUint64(b[16:], t.sequence)
	little.PutUint64(b[24:], uint64(t.deviceBytes))
	little.PutUint64(b[32:], uint64(t.chunkBytes))
	little.PutUint32(b[40:], uint32(len(t.files)))
	little.PutUint32(b[44:], uint32(at))
	little.PutUint32(b[12:], crc32.Checksum(b[:at], castagnoli))
}

// decodeTable reads a table, of which it keeps no bytes.
func decodeTable(b []byte) (*table, error) {
	if len(b) < tableHead || little.Uint64(b) != tableMagic {
		return nil, errNoTable
	}
	if v := little.Uint32(b[8:]); v != tableVersion {
		return nil, fmt.Errorf("the table has version %d, this program reads version %d: start the version that wrote it", v, tableVersion)
	}
	length := int(little.Uint32(b[44:]))
	if length < tableHead || length > min(len(b), tableBytes) {
		return nil, errBadTable
	}
	sum := crc32.Update(0, castagnoli, b[:12])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	if sum = crc32.Update(sum, castagnoli, b[16:length]); sum != little.Uint32(b[12:]) {
		return nil, errBadTable
	}
	t := &table{sequence: little.Uint64(b[16:]), deviceBytes: int64(little.Uint64(b[24:])), chunkBytes: int64(little.Uint64(b[32:]))}
	if t.chunkBytes < chunkBytesMin || t.deviceBytes < chunksOffset || t.count() > chunksMax {
		return nil, errBadTable
	}
	return t, t.decodeFiles(b[tableHead:length], int(little.Uint32(b[40:])))
}

func (t *table) decodeFiles(b []byte, files int) error {
	used := make([]bool, t.count())
	for range files {
		r, rest, ok := decodeRow(b)
		ok = ok && len(t.files) < filesMax && checkName(r.name) == nil &&
			(len(t.files) == 0 || t.files[len(t.files)-1].name < r.name) &&
			r.size >= 0 && (r.size+t.chunkBytes-1)/t.chunkBytes == int64(len(r.chunks))
		if !ok {
			return errBadTable
		}
		for _, c := range r.chunks {
			if int(c) >= len(used) || used[c] {
				return errBadTable
			}
			used[c] = true
		}
		t.files, b = append(t.files, r), rest
	}
	if len(b) != 0 {
		return errBadTable
	}
	return nil
}

func decodeRow(b []byte) (r row, rest []byte, ok bool) {
	if len(b) < fileHead {
		return r, nil, false
	}
	chunks, name := int(little.Uint32(b[8:])), int(little.Uint16(b[12:]))
	r = row{size: int64(little.Uint64(b)), node: &inode{}}
	b = b[fileHead:]
	if name > nameBytesMax || chunks > chunksMax || len(b) < name+2*chunks {
		return r, nil, false
	}
	r.name, b = string(b[:name]), b[name:]
	for range chunks {
		r.chunks, b = append(r.chunks, little.Uint16(b)), b[2:]
	}
	return r, b, true
}
