package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is the codec number in a batch's attributes.
type Codec uint8

// The codecs of Kafka, by their wire numbers.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// Errors that callers branch on.
var (
	// ErrUnknownCodec: the number names no codec.
	ErrUnknownCodec = errors.New("unknown compression codec")
	// ErrTooLarge: the decompressed bytes exceed the caller's limit.
	ErrTooLarge = errors.New("decompressed data exceed the limit")
	// ErrCorrupt: the bytes are not what the codec writes.
	ErrCorrupt = errors.New("compressed data are corrupt")
)

// String returns Kafka's name of the codec, as in compression.type.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec-%d", uint8(c))
}

// Valid reports whether c names a codec.
func (c Codec) Valid() bool { return c <= Zstd }

// Decompress returns src decompressed, at most limit bytes of it: more is
// ErrTooLarge. With None it returns src itself. A caller that need not hold all of
// it at once uses [Open].
func Decompress(c Codec, src []byte, limit int) ([]byte, error) {
	s, err := Open(c, src, limit)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var out []byte
	for {
		chunk, err := s.Next()
		switch {
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, err
		case c == None:
			return chunk, nil
		}
		out = append(out, chunk...)
	}
}

// Compress appends src compressed to dst. Snappy is written in xerial framing,
// which every Kafka client reads. Equal inputs give equal outputs.
func Compress(c Codec, dst, src []byte) ([]byte, error) {
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return writeAll(dst, src, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	case Snappy:
		return snappyXerial(dst, src), nil
	case LZ4:
		return writeAll(dst, src, newLZ4Writer)
	case Zstd:
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, err
		}
		return enc.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknownCodec, uint8(c))
}

// newLZ4Writer writes frames with blocks of 64 KiB, as Kafka's clients do.
func newLZ4Writer(w io.Writer) io.WriteCloser {
	writer := lz4.NewWriter(w)
	if err := writer.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
		panic("compress: " + err.Error()) // an option of this package's own
	}
	return writer
}

func writeAll(dst, src []byte, open func(io.Writer) io.WriteCloser) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w := open(out)
	if _, err := w.Write(src); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// The xerial framing of snappy-java: a magic, two versions, then blocks, each
// with its length before it.
const (
	xerialMagic       = "\x82SNAPPY\x00"
	xerialHeaderBytes = len(xerialMagic) + 8
	xerialBlockBytes  = 32 << 10
)

func snappyXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	for len(src) > 0 {
		n := min(len(src), xerialBlockBytes)
		block := snappy.Encode(nil, src[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		src = src[n:]
	}
	return dst
}
