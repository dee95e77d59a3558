package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	// chunkBytes is the size of the buffer that gzip, lz4 and zstd decode into: the block size of
	// most lz4 frames, so that those are decoded in place.
	chunkBytes = 64 << 10
	// zstdSmallBytes is the size of the buffer that a small zstd payload is decoded into whole, and
	// zstdSmallPackedBytes how long such a payload is. One that decompresses to more than the buffer
	// is decoded again as a stream: that is the most work that is lost.
	zstdSmallBytes       = 256 << 10
	zstdSmallPackedBytes = 32 << 10
	// zstdWindowBytes is the largest zstd window that is decoded as a stream: what levels up to 19
	// use, and what RFC 8878 recommends that decoders support. A decoder allocates the window that
	// a frame asks for, however short the frame is.
	zstdWindowBytes = 8 << 20
	// wholeBytesMax bounds what is decoded into memory in one piece: a zstd payload with a larger window, and a block of
	// snappy, which is as long as its writer likes.
	wholeBytesMax = 32 << 20
	// snappyKeptBytes is the largest block buffer that a pooled snappy decoder keeps.
	snappyKeptBytes = 1 << 20
)

// Stream decompresses one payload in chunks, with memory bounded by its codec's window or block
// size and not by what the payload decompresses to. A Stream belongs to one goroutine. Close
// returns its buffers for reuse.
type Stream struct {
	codec   Codec
	decoder decoder
	left    int
	plain   []byte // of codec None: what Next has not returned
}

// decoder decompresses one payload after another, with the memory that it keeps.
type decoder interface {
	reset(src []byte) error
	// next returns at least one byte, lent until the following call, or io.EOF once the payload has
	// ended and nothing follows it. bytesMax is how much more the caller takes; a decoder may return
	// more as long as it need not allocate for it.
	next(bytesMax int) ([]byte, error)
}

// decoders are free lists: a decoder takes far longer to make than to reset. reset leaves nothing of
// the payload before, so the output depends on the input alone.
var decoders = [...]*sync.Pool{
	Gzip:   {New: func() any { return new(gzipDecoder) }},
	Snappy: {New: func() any { return new(snappyDecoder) }},
	LZ4:    {New: func() any { return new(lz4Decoder) }},
	Zstd:   {New: func() any { return new(zstdDecoder) }},
}

// Open begins to decompress src, which stays lent until Close. Reading more than limit bytes is
// ErrTooLarge.
func Open(c Codec, src []byte, limit int) (*Stream, error) {
	s := &Stream{codec: c, left: limit}
	if c == None {
		s.plain = src
		return s, nil
	}
	if !c.Valid() {
		return nil, fmt.Errorf("%w: %d", ErrUnknownCodec, uint8(c))
	}
	s.decoder = decoders[c].Get().(decoder)
	if err := s.decoder.reset(src); err != nil {
		s.Close()
		return nil, corrupt(err)
	}
	return s, nil
}

// Next returns the next decompressed bytes, at least one, lent until the following call; io.EOF at
// the end of the payload. Bytes that follow the compressed data are ErrCorrupt.
func (s *Stream) Next() ([]byte, error) {
	chunk, err := s.chunk()
	if err != nil {
		return nil, err
	}
	if s.left -= len(chunk); s.left < 0 {
		return nil, ErrTooLarge
	}
	return chunk, nil
}

func (s *Stream) chunk() ([]byte, error) {
	if s.codec != None {
		chunk, err := s.decoder.next(s.left)
		if err != nil && err != io.EOF && !errors.Is(err, ErrTooLarge) {
			err = corrupt(err)
		}
		return chunk, err
	}
	if len(s.plain) == 0 {
		return nil, io.EOF
	}
	chunk := s.plain
	s.plain = nil
	return chunk, nil
}

// Close gives the stream's buffers back. What Next returned is not valid any more.
func (s *Stream) Close() {
	if s.decoder != nil {
		_ = s.decoder.reset(nil) // forgets src
		decoders[s.codec].Put(s.decoder)
		s.decoder = nil
	}
}

func corrupt(err error) error {
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: %v", ErrCorrupt, err)
}

// readChunk reads what a library's decoder yields next into buffer. The decoder reads from src, and
// must end where src ends.
func readChunk(decoder io.Reader, buffer []byte, src *bytes.Reader) ([]byte, error) {
	for {
		n, err := decoder.Read(buffer)
		switch {
		case n > 0:
			return buffer[:n], nil // an error comes again
		case err == io.EOF && src.Len() > 0:
			return nil, fmt.Errorf("%w: %d bytes follow the compressed data", ErrCorrupt, src.Len())
		case err != nil:
			return nil, err
		}
	}
}

// gzipDecoder follows RFC 1952: several members may follow one another.
type gzipDecoder struct {
	src    bytes.Reader
	reader *gzip.Reader
	buffer [chunkBytes]byte
}

func (d *gzipDecoder) reset(src []byte) (err error) {
	d.src.Reset(src)
	switch {
	case src == nil:
		return nil
	case d.reader == nil:
		d.reader, err = gzip.NewReader(&d.src)
		return err
	}
	return d.reader.Reset(&d.src)
}

func (d *gzipDecoder) next(int) ([]byte, error) { return readChunk(d.reader, d.buffer[:], &d.src) }

// lz4Decoder takes what Kafka's own decoder takes of the lz4 frame format: one frame of version 1
// with independent blocks.
type lz4Decoder struct {
	src    bytes.Reader
	reader *lz4.Reader
	buffer [chunkBytes]byte
}

const (
	lz4Magic       = 0x184d2204
	lz4FlagsMask   = 0xe3 // version, block independence, and the bits that Kafka reserves
	lz4FlagsWanted = 0x60
	lz4BlockSums   = 0x10
	lz4ContentSize = 0x08
	lz4ContentSum  = 0x04
	lz4HeadBytes   = 7 // magic, flags, block size, checksum
)

func (d *lz4Decoder) reset(src []byte) error {
	d.src.Reset(src)
	if d.reader == nil {
		d.reader = lz4.NewReader(&d.src)
		if err := d.reader.Apply(lz4.ConcurrencyOption(1)); err != nil {
			return err
		}
	}
	d.reader.Reset(&d.src)
	switch {
	case src == nil:
		return nil
	case len(src) < 5 || binary.LittleEndian.Uint32(src) != lz4Magic:
		return fmt.Errorf("%w: not an lz4 frame", ErrCorrupt)
	case src[4]&lz4FlagsMask != lz4FlagsWanted:
		return fmt.Errorf("%w: lz4 frame with flags %#x", ErrCorrupt, src[4])
	}
	return checkLZ4End(src)
}

// checkLZ4End makes sure that src is one lz4 frame: the library would go on with a second one, which
// Kafka's clients do not read.
func checkLZ4End(src []byte) error {
	flags, at := src[4], lz4HeadBytes
	if flags&lz4ContentSize != 0 {
		at += 8
	}
	for {
		if len(src) < at+4 {
			return fmt.Errorf("%w: lz4 frame is cut off", ErrCorrupt)
		}
		size := int(binary.LittleEndian.Uint32(src[at:]) & (1<<31 - 1))
		at += 4
		if size == 0 {
			break
		}
		if at += size; flags&lz4BlockSums != 0 {
			at += 4
		}
	}
	if flags&lz4ContentSum != 0 {
		at += 4
	}
	if at != len(src) {
		return fmt.Errorf("%w: lz4 frame ends at byte %d of %d", ErrCorrupt, at, len(src))
	}
	return nil
}

func (d *lz4Decoder) next(int) ([]byte, error) { return readChunk(d.reader, d.buffer[:], &d.src) }

// zstdDecoder decodes a small payload in one call, which saves a copy and the decoder's window, and
// all others as a stream.
type zstdDecoder struct {
	src    bytes.Reader
	reader *zstd.Decoder
	packed []byte // the whole payload
	state  zstdState
	buffer [zstdSmallBytes]byte
}

type zstdState uint8

const (
	zstdBegin  zstdState = iota // nothing was returned
	zstdStream                  // something was
	zstdEnd                     // everything was, in one piece
)

func (d *zstdDecoder) reset(src []byte) (err error) {
	d.packed, d.state = src, zstdBegin
	d.src.Reset(src)
	if d.reader == nil {
		d.reader, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindowBytes), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
	}
	return d.reader.Reset(nil)
}

func (d *zstdDecoder) next(bytesMax int) ([]byte, error) {
	switch d.state {
	case zstdEnd:
		return nil, io.EOF
	case zstdBegin:
		return d.first(bytesMax)
	}
	return readChunk(d.reader, d.buffer[:chunkBytes], &d.src)
}

func (d *zstdDecoder) first(bytesMax int) ([]byte, error) {
	if len(d.packed) <= zstdSmallPackedBytes {
		// An error is found again below; the buffer may only have been too small.
		if all, err := d.reader.DecodeAll(d.packed, d.buffer[:0]); err == nil && len(all) > 0 {
			d.state = zstdEnd
			return all, nil
		}
	}
	if err := d.reader.Reset(&d.src); err != nil {
		return nil, err
	}
	chunk, err := readChunk(d.reader, d.buffer[:chunkBytes], &d.src)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		d.state = zstdEnd
		return unzstdWhole(d.packed, min(bytesMax, wholeBytesMax))
	}
	d.state = zstdStream
	return chunk, err
}

// unzstdWhole decodes a payload whose window is too large for a stream. The library takes no window above a limit of the
// output, so the limit is the room that it is given: some at first, and more if that was too little.
func unzstdWhole(src []byte, limit int) ([]byte, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindowMax), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for room := min(limit, max(zstdWholeBytesMin, zstdWholeGrowth*len(src))); ; room = min(limit, zstdWholeGrowth*room) {
		out, err := d.DecodeAll(src, make([]byte, 0, room))
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded) && room < limit:
			continue
		case errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return nil, ErrTooLarge
		case err != nil:
			return nil, err
		case len(out) == 0:
			return nil, io.EOF
		}
		return out, nil
	}
}

const (
	zstdWholeBytesMin = 1 << 20
	zstdWholeGrowth   = 4
)

// zstdWindowMax is the largest window that libzstd's decoder takes unless it is told otherwise.
const zstdWindowMax = 128 << 20

// snappyDecoder takes the two forms that snappy-java reads: its own framing, and one raw block.
type snappyDecoder struct {
	src    []byte
	framed bool
	block  []byte
}

func (d *snappyDecoder) reset(src []byte) error {
	d.src = src
	d.framed = len(src) >= xerialHeaderBytes && string(src[:len(xerialMagic)]) == xerialMagic
	if cap(d.block) > snappyKeptBytes {
		d.block = nil
	}
	switch {
	case src == nil:
		return nil
	case d.framed:
		d.src = src[xerialHeaderBytes:]
	case len(src) == 0:
		return fmt.Errorf("%w: no snappy data", ErrCorrupt)
	}
	return nil
}

func (d *snappyDecoder) next(bytesMax int) ([]byte, error) {
	for len(d.src) > 0 {
		block, err := d.cut()
		if err != nil {
			return nil, err
		}
		n, err := snappyLength(block)
		if err != nil {
			return nil, err
		}
		if n > min(bytesMax, wholeBytesMax) {
			return nil, ErrTooLarge
		}
		if n > cap(d.block) {
			d.block = make([]byte, n)
		}
		if d.block, err = snappy.Decode(d.block[:cap(d.block)], block); err != nil {
			return nil, err
		}
		if n > 0 {
			return d.block, nil
		}
	}
	return nil, io.EOF
}

// cut takes the next block off the source.
func (d *snappyDecoder) cut() (block []byte, err error) {
	if !d.framed {
		block, d.src = d.src, nil
		return block, nil
	}
	if len(d.src) < 4 {
		return nil, fmt.Errorf("%w: snappy block length is cut off", ErrCorrupt)
	}
	n := binary.BigEndian.Uint32(d.src)
	if uint64(n) > uint64(len(d.src)-4) {
		return nil, fmt.Errorf("%w: snappy block of %d bytes in %d", ErrCorrupt, n, len(d.src)-4)
	}
	block, d.src = d.src[4:4+n], d.src[4+n:]
	return block, nil
}

// snappyLength returns the number of bytes that a block decodes to. It walks the block's elements,
// because the library also decodes S2, in which a copy with offset 0 repeats the one before: no
// client's snappy reads that. The walk also proves the announced length before it is allocated.
func snappyLength(block []byte) (int, error) {
	announced, err := snappy.DecodedLen(block)
	if err != nil {
		return 0, err
	}
	_, n := binary.Uvarint(block)
	total := 0
	for b := block[n:]; len(b) > 0; {
		length, taken := snappyElement(b)
		if taken == 0 || taken > len(b) {
			return 0, fmt.Errorf("%w: snappy element of %d bytes in %d", ErrCorrupt, taken, len(b))
		}
		if total += length; total > announced {
			break
		}
		b = b[taken:]
	}
	if total != announced {
		return 0, fmt.Errorf("%w: snappy block announces %d bytes", ErrCorrupt, announced)
	}
	return total, nil
}

// snappyElement returns how many bytes the first element of b decodes to, and how many it takes; 0
// if it is none.
func snappyElement(b []byte) (length, taken int) {
	tag := b[0]
	switch tag & 3 {
	case 1: // copy with an offset of 11 bits
		if len(b) < 2 || tag>>5 == 0 && b[1] == 0 {
			return 0, 0
		}
		return int(tag>>2&7) + 4, 2
	case 2: // copy with an offset of 2 bytes
		return int(tag>>2) + 1, 3
	case 3: // copy with an offset of 4 bytes
		return int(tag>>2) + 1, 5
	}
	length = int(tag >> 2)
	if length < 60 {
		return length + 1, length + 2
	}
	size := length - 59 // bytes of the length
	if len(b) < 1+size {
		return 0, 0
	}
	length = 0
	for i := size; i > 0; i-- {
		length = length<<8 | int(b[i])
	}
	return length + 1, length + 2 + size
}
