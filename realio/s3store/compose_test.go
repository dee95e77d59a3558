package s3store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/env"
)

// Whatever an object is composed of: its parts hold every byte once and in order, S3 takes them, and what has to pass through
// memory does so in small ones.
func TestPartsOfAComposedObject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const least, most, runMost = 50, 300, 1000
		pieces := []env.Piece{{Data: make([]byte, rapid.IntRange(0, least).Draw(t, "header"))}}
		for i := range rapid.IntRange(0, 20).Draw(t, "runs") {
			pieces = append(pieces, env.Piece{Key: fmt.Sprint("object", i), Offset: 7, Bytes: rapid.Int64Range(1, rapid.SampledFrom([]int64{9, least + 9, runMost}).Draw(t, "run at most")).Draw(t, "run")})
		}
		pieces = append(pieces, env.Piece{Data: make([]byte, rapid.IntRange(1, 2*least).Draw(t, "indexes"))})
		cut := composer{leastPart: least, mostPart: most}
		all := cut.parts(pieces)
		var made []env.Piece
		for i := range all {
			p, bytes := &all[i], all[i].bytes
			if p.key != "" {
				require.LessOrEqual(t, p.bytes, int64(most))
				made = append(made, env.Piece{Key: p.key, Offset: p.offset, Bytes: p.bytes})
			}
			for _, sent := range p.sent {
				bytes += sent.Size()
				made = append(made, sent)
			}
			if p.key == "" {
				require.Less(t, bytes, int64(4*least), "part %d is in memory", i)
			}
			if i < len(all)-1 {
				require.GreaterOrEqual(t, bytes, int64(least), "part %d of %d", i, len(all))
			}
		}
		require.Equal(t, glued(pieces), glued(made))
	})
}

// glued makes one of pieces that lie side by side in an object, and leaves out empty ones.
func glued(pieces []env.Piece) (whole []env.Piece) {
	for _, p := range pieces {
		if p.Size() == 0 {
			continue
		}
		if n := len(whole); n > 0 && p.Key != "" && whole[n-1].Key == p.Key && whole[n-1].Offset+whole[n-1].Bytes == p.Offset {
			whole[n-1].Bytes += p.Bytes
			continue
		}
		whole = append(whole, p)
	}
	return whole
}
