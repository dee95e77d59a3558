package compress

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Target is a codec to compress with, and its level as Kafka numbers it; a codec without levels ignores it.
type Target struct {
	Codec Codec
	Level int
}

// lz4Level is the level at which Kafka's LZ4 is fast; at any other it searches longer.
const lz4Level = 9

// Recode appends src, which is compressed with from, to dst, compressed with to. It holds no more of the plain data than a chunk, so
// that its memory is what it returns. limit bounds the bytes appended: more is ErrTooLarge. Equal inputs give equal outputs.
func Recode(to Target, dst []byte, from Codec, src []byte, plainMax, limit int) ([]byte, error) {
	s, err := Open(from, src, plainMax)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out := &bounded{bytes: dst, max: len(dst) + limit}
	w, err := newWriter(to, out)
	if err != nil {
		return nil, err
	}
	for {
		chunk, err := s.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			_, err = w.Write(chunk)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.bytes, nil
}

// bounded takes bytes up to a maximum.
type bounded struct {
	bytes []byte
	max   int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.bytes)+len(p) > b.max {
		return 0, ErrTooLarge
	}
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// Close implements io.WriteCloser.
func (b *bounded) Close() error { return nil }

func newWriter(to Target, out *bounded) (io.WriteCloser, error) {
	switch to.Codec {
	case None:
		return out, nil
	case Gzip:
		return gzip.NewWriterLevel(out, to.Level)
	case Snappy:
		return &xerialWriter{out: out}, nil
	case LZ4:
		w := lz4.NewWriter(out)
		return w, w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.CompressionLevelOption(lz4LevelOf(to.Level)))
	case Zstd:
		return newZstdWriter(zstd.EncoderLevelFromZstd(to.Level), out)
	}
	return nil, ErrUnknownCodec
}

// zstdWriters are free lists by level: an encoder takes far longer to make than to reset.
var zstdWriters [zstd.SpeedBestCompression + 1]sync.Pool

// zstdWriter gives its encoder back when it is closed.
type zstdWriter struct {
	*zstd.Encoder
	level zstd.EncoderLevel
}

func newZstdWriter(level zstd.EncoderLevel, out io.Writer) (io.WriteCloser, error) {
	if encoder, ok := zstdWriters[level].Get().(*zstd.Encoder); ok {
		encoder.Reset(out)
		return &zstdWriter{encoder, level}, nil
	}
	encoder, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(level))
	return &zstdWriter{encoder, level}, err
}

// Close implements io.WriteCloser.
func (w *zstdWriter) Close() error {
	err := w.Encoder.Close()
	w.Encoder.Reset(nil) // so that it keeps nothing of its caller's
	zstdWriters[w.level].Put(w.Encoder)
	return err
}

// lz4LevelOf maps Kafka's levels, 1 to 17, to those of the library, which has nine.
func lz4LevelOf(level int) lz4.CompressionLevel {
	if level == lz4Level {
		return lz4.Fast
	}
	return lz4.CompressionLevel(1 << (8 + min(max(level, 1), 9)))
}

// xerialWriter writes the framing of snappy-java, a block at a time.
type xerialWriter struct {
	out   *bounded
	block []byte
	begun bool
}

func (w *xerialWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		take := min(len(p)-n, xerialBlockBytes-len(w.block))
		w.block = append(w.block, p[n:n+take]...)
		n += take
		if len(w.block) == xerialBlockBytes {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// flush writes what was gathered as a block, the first behind the header.
func (w *xerialWriter) flush() error {
	var framed []byte
	if !w.begun {
		w.begun = true
		framed = snappyXerial(nil, nil)
	}
	if len(w.block) > 0 {
		packed := snappy.Encode(nil, w.block)
		framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(packed))), packed...)
		w.block = w.block[:0]
	}
	_, err := w.out.Write(framed)
	return err
}

// Close implements io.WriteCloser.
func (w *xerialWriter) Close() error { return w.flush() }
