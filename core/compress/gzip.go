package compress

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// gzipDecoder follows RFC 1952: several members may follow one another.
type gzipDecoder struct {
	inflater
	sum  uint32 // CRC-32 of the member so far
	size uint32 // its bytes so far, modulo 2^32
}

const (
	gzipHeadBytes = 10
	gzipTailBytes = 8

	// flags of a member's header
	gzipHeaderSum = 1 << 1
	gzipExtra     = 1 << 2
	gzipName      = 1 << 3
	gzipComment   = 1 << 4
	gzipReserved  = 0xe0
)

var errGzipHeader = fmt.Errorf("%w: not a gzip header", ErrCorrupt)

func (d *gzipDecoder) reset(src []byte) error {
	d.in = bitReader{src: src}
	if src == nil {
		return nil
	}
	return d.beginMember()
}

func (d *gzipDecoder) next(int) ([]byte, error) {
	for {
		chunk, err := d.inflater.next()
		switch {
		case err == nil:
			d.sum, d.size = crc32.Update(d.sum, crc32.IEEETable, chunk), d.size+uint32(len(chunk))
			return chunk, nil
		case err != io.EOF:
			return nil, err
		}
		if err := d.endMember(); err != nil {
			return nil, err
		}
		if len(d.in.rest()) == 0 {
			return nil, io.EOF
		}
		if err := d.beginMember(); err != nil {
			return nil, err
		}
	}
}

func (d *gzipDecoder) beginMember() error {
	n, err := gzipHeaderBytes(d.in.rest())
	if err != nil {
		return err
	}
	d.in.next += n
	d.sum, d.size = 0, 0
	d.begin()
	return nil
}

// gzipHeaderBytes returns the length of a member's header.
func gzipHeaderBytes(b []byte) (int, error) {
	if len(b) < gzipHeadBytes || b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 || b[3]&gzipReserved != 0 {
		return 0, errGzipHeader
	}
	flags, at := b[3], gzipHeadBytes
	if flags&gzipExtra != 0 {
		if len(b) < at+2 {
			return 0, errGzipHeader
		}
		at += 2 + int(binary.LittleEndian.Uint16(b[at:]))
	}
	for _, text := range []byte{gzipName, gzipComment} {
		if flags&text == 0 {
			continue
		}
		end := bytes.IndexByte(b[min(at, len(b)):], 0)
		if end < 0 {
			return 0, errGzipHeader
		}
		at += end + 1
	}
	if flags&gzipHeaderSum != 0 {
		if len(b) < at+2 || binary.LittleEndian.Uint16(b[at:]) != uint16(crc32.ChecksumIEEE(b[:at])) {
			return 0, errGzipHeader
		}
		at += 2
	}
	if at > len(b) {
		return 0, errGzipHeader
	}
	return at, nil
}

// endMember checks what follows a member's data.
func (d *gzipDecoder) endMember() error {
	tail := d.in.rest()
	switch {
	case len(tail) < gzipTailBytes:
		return io.ErrUnexpectedEOF
	case binary.LittleEndian.Uint32(tail) != d.sum || binary.LittleEndian.Uint32(tail[4:]) != d.size:
		return fmt.Errorf("%w: the checksum of a gzip member is wrong", ErrCorrupt)
	}
	d.in.next += gzipTailBytes
	return nil
}
