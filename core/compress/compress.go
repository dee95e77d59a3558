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
// ErrTooLarge. With None it returns src itself.
func Decompress(c Codec, src []byte, limit int) ([]byte, error) {
	switch c {
	case None:
		return bounded(src, limit)
	case Gzip:
		return gunzip(src, limit)
	case Snappy:
		return unsnappy(src, limit)
	case LZ4:
		return drain(lz4.NewReader(bytes.NewReader(src)), limit)
	case Zstd:
		return unzstd(src, limit)
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknownCodec, uint8(c))
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
		return writeAll(dst, src, func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) })
	case Zstd:
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, err
		}
		return enc.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknownCodec, uint8(c))
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

func bounded(b []byte, limit int) ([]byte, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
	}
	return b, nil
}

// drain reads at most limit bytes; one more byte than that is an error.
func drain(r io.Reader, limit int) ([]byte, error) {
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, int64(limit)+1))
	if n > int64(limit) {
		return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return out.Bytes(), nil
}

func gunzip(src []byte, limit int) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return drain(r, limit)
}

// zstdWindowBytes is the largest window of zstd's common levels.
const zstdWindowBytes = 8 << 20

func unzstd(src []byte, limit int) ([]byte, error) {
	// The decoder's maximum bounds window sizes too, so it is never below what
	// ordinary encoders use.
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(uint64(max(limit, zstdWindowBytes))))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	out, err := dec.DecodeAll(src, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return bounded(out, limit)
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

func unsnappy(src []byte, limit int) ([]byte, error) {
	if len(src) < xerialHeaderBytes || string(src[:len(xerialMagic)]) != xerialMagic {
		return unsnappyBlock(nil, src, limit)
	}
	var out []byte
	for src = src[xerialHeaderBytes:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, fmt.Errorf("%w: snappy block length is cut off", ErrCorrupt)
		}
		n := binary.BigEndian.Uint32(src)
		if uint64(n) > uint64(len(src)-4) {
			return nil, fmt.Errorf("%w: snappy block of %d bytes in %d", ErrCorrupt, n, len(src)-4)
		}
		var err error
		if out, err = unsnappyBlock(out, src[4:4+n], limit); err != nil {
			return nil, err
		}
		src = src[4+n:]
	}
	return out, nil
}

// unsnappyBlock appends one decoded block to out, which may grow to limit.
func unsnappyBlock(out, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if n > limit-len(out) {
		return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
	}
	decoded, err := snappy.Decode(nil, block)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if out == nil {
		return decoded, nil
	}
	return append(out, decoded...), nil
}
