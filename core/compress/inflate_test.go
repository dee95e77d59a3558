package compress

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// inflateAll decodes one stream, which must end where src ends.
func inflateAll(src []byte, limit int) (out []byte, err error) {
	d := &inflater{in: bitReader{src: src}}
	d.begin()
	for {
		chunk, err := d.next()
		switch {
		case err == io.EOF && len(d.in.rest()) > 0:
			return out, errors.New("bytes follow the stream")
		case err == io.EOF:
			return out, nil
		case err != nil:
			return out, err
		}
		if out = append(out, chunk...); len(out) > limit {
			return out, ErrTooLarge
		}
	}
}

// inflateReference is inflateAll by the standard library.
func inflateReference(src []byte, limit int) ([]byte, error) {
	in := bytes.NewReader(src)
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(in), int64(limit)+1))
	switch {
	case err != nil:
		return out, err
	case len(out) > limit:
		return out, ErrTooLarge
	case in.Len() > 0:
		return out, errors.New("bytes follow the stream")
	}
	return out, nil
}

func deflated(t testing.TB, level int, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	require.NoError(t, err)
	_, err = w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// deflateInputs are bytes of many kinds: incompressible, one byte repeated, text with near and with
// far copies, codes of all lengths.
func deflateInputs() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var text, skewed []byte
	for len(text) < 400_000 {
		text = fmt.Appendf(text, "%d some text that comes again %d\n", r.IntN(100), r.IntN(1e9))
	}
	for i := range 30 {
		skewed = append(skewed, bytes.Repeat([]byte{byte(i)}, 1<<max(0, i-14))...)
	}
	r.Shuffle(len(skewed), func(i, j int) { skewed[i], skewed[j] = skewed[j], skewed[i] })
	far := bytes.Repeat(noise[:inflateWindowBytes], 8)
	all := map[string][]byte{
		"nothing": {}, "a byte": {7}, "noise": noise, "zeros": make([]byte, 500_000), "text": text, "skewed": skewed, "far copies": far,
	}
	for offset := 2; offset < 12; offset++ {
		all[fmt.Sprintf("copies of %d bytes", offset)] = bytes.Repeat(noise[:offset], 50_000/offset)
	}
	return all
}

func TestInflateGivesBackWhatWasDeflated(t *testing.T) {
	for name, plain := range deflateInputs() {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			got, err := inflateAll(deflated(t, level, plain), len(plain))
			require.NoError(t, err, "%s, level %d", name, level)
			require.True(t, bytes.Equal(plain, got), "%s, level %d", name, level)
		}
	}
}

func TestInflateRefusesEveryPrefix(t *testing.T) {
	plain := deflateInputs()["text"][:3000]
	for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
		packed := deflated(t, level, plain)
		for n := range packed {
			_, err := inflateAll(packed[:n], len(plain))
			require.Error(t, err, "level %d, %d of %d bytes", level, n, len(packed))
		}
	}
}

// Copies and codes that are not there: of each stream all bytes are changed in turn.
func TestInflateAgreesOnDamagedStreams(t *testing.T) {
	for name, plain := range deflateInputs() {
		packed := deflated(t, flate.DefaultCompression, plain[:min(len(plain), 2000)])
		for i := range packed {
			for _, change := range []byte{1, 0x10, 0xff} {
				packed[i] ^= change
				agree(t, packed, fmt.Sprintf("%s, byte %d ^ %#x", name, i, change))
				packed[i] ^= change
			}
		}
	}
}

func agree(t *testing.T, src []byte, what string) {
	t.Helper()
	const limit = 1 << 20
	want, reference := inflateReference(src, limit)
	got, err := inflateAll(src, limit)
	if errors.Is(err, errLengthCode) {
		return // the standard library reads a code of one symbol
	}
	require.Equal(t, reference == nil, err == nil, "%s: %v, the reference says %v", what, err, reference)
	require.True(t, err != nil || bytes.Equal(want, got), what)
}

func FuzzInflate(f *testing.F) {
	for _, plain := range deflateInputs() {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			f.Add(deflated(f, level, plain[:min(len(plain), 5000)]))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) { agree(t, src, "fuzz") })
}
