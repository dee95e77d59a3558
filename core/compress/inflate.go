package compress

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// inflateWindowBytes is how far back a copy can reach.
	inflateWindowBytes = 32 << 10
	// inflateBytes is the size of the output buffer: the window and what is decoded at once. Batches
	// that decompress to about 100 KiB never move the window.
	inflateBytes = 128 << 10
	// inflateRoomBytes is the room that one step of decode needs: three literals, the longest copy, and
	// what a copy in words writes beyond its end.
	inflateRoomBytes = 3 + 258 + 15
	// inflatePadMax is how many bytes that are not in the input may be held: none of them is consumed
	// by a stream that is whole.
	inflatePadMax = 8
)

// errDeflate: the bits are not what RFC 1951 describes.
var errDeflate = fmt.Errorf("%w: not a DEFLATE stream", ErrCorrupt)

// inflater decodes DEFLATE streams (RFC 1951) that lie in memory, and takes what zlib takes. It is
// faster than a decoder behind io.Reader, because it loads eight bytes of input at once and decodes
// into the window itself.
type inflater struct {
	in     bitReader
	state  inflateState
	last   bool // the block is the stream's last
	stored int  // bytes that a stored block still has
	tables *inflateTables
	own    inflateTables // of a block with codes of its own
	at     int           // bytes in out
	out    [inflateBytes]byte
}

// inflateState says what comes next.
type inflateState uint8

const (
	inflateHeader inflateState = iota // of a block
	inflateStored
	inflateCodes
	inflateEnd // of the stream
)

// begin starts a stream where the input is.
func (d *inflater) begin() { d.state, d.at = inflateHeader, 0 }

// next returns at least one byte, lent until the following call, or io.EOF once the stream has
// ended; the input is at the byte after it then.
func (d *inflater) next() ([]byte, error) {
	if d.at > inflateWindowBytes {
		copy(d.out[:], d.out[d.at-inflateWindowBytes:d.at])
		d.at = inflateWindowBytes
	}
	from := d.at
	for d.state != inflateEnd && d.at <= inflateBytes-inflateRoomBytes {
		if err := d.step(); err != nil {
			return nil, err
		}
	}
	if d.at == from {
		return nil, io.EOF
	}
	return d.out[from:d.at], nil
}

// step decodes a block's header, or a block as far as there is room.
func (d *inflater) step() error {
	switch d.state {
	case inflateHeader:
		return d.header()
	case inflateStored:
		return d.copyStored()
	}
	return d.decode()
}

func (d *inflater) header() error {
	d.last = d.in.take(1) != 0
	switch d.in.take(2) {
	case 0:
		d.state = inflateStored
		return d.readStored()
	case 1:
		d.state, d.tables = inflateCodes, fixedTables
		return nil
	case 2:
		d.state, d.tables = inflateCodes, &d.own
		return d.own.read(&d.in)
	}
	return errDeflate
}

// blockEnds goes on to the next block, or after the last to the input's next whole byte.
func (d *inflater) blockEnds() error {
	if d.state = inflateHeader; !d.last {
		return nil
	}
	d.state = inflateEnd
	return d.in.align()
}

func (d *inflater) readStored() error {
	if err := d.in.align(); err != nil {
		return err
	}
	rest := d.in.rest()
	if len(rest) < 4 {
		return io.ErrUnexpectedEOF
	}
	length, complement := binary.LittleEndian.Uint16(rest), binary.LittleEndian.Uint16(rest[2:])
	if length != ^complement {
		return errDeflate
	}
	d.in.next += 4
	d.stored = int(length)
	return nil
}

func (d *inflater) copyStored() error {
	rest := d.in.rest()
	if len(rest) < d.stored {
		return io.ErrUnexpectedEOF
	}
	n := copy(d.out[d.at:], rest[:d.stored])
	d.in.next, d.at = d.in.next+n, d.at+n
	if d.stored -= n; d.stored > 0 {
		return nil
	}
	return d.blockEnds()
}

// decode decodes a compressed block as far as there is room. Its state is in local variables, which
// stay in registers.
func (d *inflater) decode() error {
	t, out, src := d.tables, &d.out, d.in.src
	bits, held, next, at := d.in.bits, d.in.held, d.in.next, d.at
	for at <= inflateBytes-inflateRoomBytes {
		// 56 bits are enough for three literals out of the first table, and for a literal or a length
		// with its extra bits. (A loop over the three would cost a tenth of the speed.)
		if next+8 <= len(src) {
			bits |= binary.LittleEndian.Uint64(src[next:]) << (held & 63)
			held, next = held|56, next+int((63-held)>>3&7)
		} else if bits, held, next = d.in.refillAtEnd(bits, held, next); d.in.pad > inflatePadMax {
			return io.ErrUnexpectedEOF
		}
		e := t.literals[bits&(1<<literalTableBits-1)]
		if e&isLiteral != 0 {
			bits, held = bits>>(e&entryBits), held-uint(e&entryBits)
			out[at], at = byte(e>>16), at+1
			e = t.literals[bits&(1<<literalTableBits-1)]
			if e&isLiteral != 0 {
				bits, held = bits>>(e&entryBits), held-uint(e&entryBits)
				out[at], at = byte(e>>16), at+1
				e = t.literals[bits&(1<<literalTableBits-1)]
				if e&isLiteral != 0 {
					bits, held = bits>>(e&entryBits), held-uint(e&entryBits)
					out[at], at = byte(e>>16), at+1
					e = t.literals[bits&(1<<literalTableBits-1)]
				}
			}
		}
		if e&isLink != 0 {
			e = t.literals[e.linked(bits, literalTableBits)]
		}
		before := bits
		bits, held = bits>>(e&entryBits), held-uint(e&entryBits)
		if e&isLiteral != 0 {
			out[at], at = byte(e>>16), at+1
			continue
		}
		if e&isOther != 0 {
			d.in.bits, d.in.held, d.in.next, d.at = bits, held, next, at
			return d.other(e)
		}
		length := e.value(before)
		if held < maxDistanceBits {
			if next+8 <= len(src) {
				bits |= binary.LittleEndian.Uint64(src[next:]) << (held & 63)
				held, next = held|56, next+int((63-held)>>3&7)
			} else if bits, held, next = d.in.refillAtEnd(bits, held, next); d.in.pad > inflatePadMax {
				return io.ErrUnexpectedEOF
			}
		}
		e = t.distances[bits&(1<<distanceTableBits-1)]
		if e&isLink != 0 {
			e = t.distances[e.linked(bits, distanceTableBits)]
		}
		from := at - e.value(bits)
		bits, held = bits>>(e&entryBits), held-uint(e&entryBits)
		if e&isOther != 0 || from < 0 {
			return errDeflate
		}
		if at-from < 8 {
			repeat(out, at, from, length)
		} else { // most copies are short: two words are copied without a look at the length
			copyWord(out, at, from)
			copyWord(out, at+8, from+8)
			for i := 16; i < length; i += 8 {
				copyWord(out, at+i, from+i)
			}
		}
		at += length
	}
	d.in.bits, d.in.held, d.in.next, d.at = bits, held, next, at
	return nil
}

// other is what decode does with an entry that is neither a literal nor a length.
func (d *inflater) other(e entry) error {
	if e&isEnd == 0 {
		return errDeflate
	}
	return d.blockEnds()
}

// repeat copies length bytes from from to at, one after another: where they overlap, they repeat.
func repeat(out *[inflateBytes]byte, at, from, length int) {
	for i := range length {
		out[at+i] = out[from+i]
	}
}

func copyWord(out *[inflateBytes]byte, at, from int) {
	binary.LittleEndian.PutUint64(out[at:at+8], binary.LittleEndian.Uint64(out[from:from+8]))
}

// bitReader reads bits, the lowest of a byte first.
type bitReader struct {
	src  []byte
	next int    // the first byte of src that is not in bits
	bits uint64 // held bits, the next one lowest; above them may be bits of src[next] already
	held uint
	pad  int // how many of the held bytes are not in src: they are zeros that follow it
}

// refill makes sure that 56 bits are held. At the end of the input they are zeros; only once more of
// these are asked for than can be held, it fails.
func (r *bitReader) refill() error {
	if r.next+8 > len(r.src) {
		if r.bits, r.held, r.next = r.refillAtEnd(r.bits, r.held, r.next); r.pad > inflatePadMax {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	r.bits |= binary.LittleEndian.Uint64(r.src[r.next:]) << (r.held & 63)
	r.next += int((63 - r.held) >> 3)
	r.held |= 56
	return nil
}

// refillAtEnd is refill for the end of the input, where it counts in pad what is not there.
func (r *bitReader) refillAtEnd(bits uint64, held uint, next int) (uint64, uint, int) {
	for ; held < 56; held += 8 {
		if next == len(r.src) {
			r.pad++
			continue
		}
		bits |= uint64(r.src[next]) << held
		next++
	}
	return bits, held, next
}

// take consumes n bits, at most 16. Behind the end of the input they are zeros, which align reports.
func (r *bitReader) take(n uint) uint64 {
	_ = r.refill()
	v := r.bits & (1<<n - 1)
	r.bits, r.held = r.bits>>n, r.held-n
	return v
}

// align drops the rest of a byte, and goes back to the first byte of which nothing is consumed.
func (r *bitReader) align() error {
	back := int(r.held/8) - r.pad
	if back < 0 {
		return io.ErrUnexpectedEOF
	}
	r.next -= back
	r.bits, r.held, r.pad = 0, 0, 0
	return nil
}

// rest is the input from here on. The reader must be aligned.
func (r *bitReader) rest() []byte { return r.src[r.next:] }
