package s3store

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errGivenBack = errors.New("the body was given back to its owner")

// body reads slices one after another, and seeks in them. It is lent to a request, which may go on
// reading after the SDK has returned; giveBack ends that.
type body struct {
	mu     sync.Mutex
	pieces [][]byte
	size   int64
	at     int64 // of the next byte to read
	index  int   // of the piece that has it
	within int   // that piece
	gone   bool
	moved  *atomic.Int64 // counts what is read; nil counts nothing
}

func newBody(pieces [][]byte) *body { return &body{pieces: pieces, size: size(pieces)} }

func size(pieces [][]byte) (n int64) {
	for _, piece := range pieces {
		n += int64(len(piece))
	}
	return n
}

// Read implements io.Reader. It copies under the lock, so that no reader holds on to the slices.
func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return 0, errGivenBack
	}
	for n < len(p) && b.index < len(b.pieces) {
		copied := copy(p[n:], b.pieces[b.index][b.within:])
		n += copied
		if b.within += copied; b.within == len(b.pieces[b.index]) {
			b.index, b.within = b.index+1, 0
		}
	}
	b.at += int64(n)
	if b.moved != nil {
		b.moved.Add(int64(n))
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Seek implements io.Seeker.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 || offset > b.size {
		return 0, errors.New("seek outside the body")
	}
	if offset != b.at {
		b.moveTo(offset)
	}
	return offset, nil
}

func (b *body) moveTo(offset int64) {
	b.at, b.index = offset, 0
	for b.index < len(b.pieces) && offset >= int64(len(b.pieces[b.index])) {
		offset -= int64(len(b.pieces[b.index]))
		b.index++
	}
	b.within = int(offset)
}

// giveBack makes sure that nobody reads the slices any more.
func (b *body) giveBack() {
	b.mu.Lock()
	b.gone, b.pieces = true, nil
	b.mu.Unlock()
}

// parts cuts slices into parts of the given size, the last one shorter.
func parts(pieces [][]byte, bytes int64) (cut [][][]byte) {
	var part [][]byte
	room := bytes
	for _, piece := range pieces {
		for len(piece) > 0 {
			n := min(int64(len(piece)), room)
			part = append(part, piece[:n])
			piece = piece[n:]
			if room -= n; room == 0 {
				cut, part, room = append(cut, part), nil, bytes
			}
		}
	}
	if len(part) > 0 {
		cut = append(cut, part)
	}
	return cut
}

// checksum is the CRC32C of slices as S3 writes it.
func checksum(pieces [][]byte) string {
	sum := uint32(0)
	for _, piece := range pieces {
		sum = crc32.Update(sum, castagnoli, piece)
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// checksumHeader is what is sent with a body: its checksum, or nil if none is wanted.
func (s *Store) checksumHeader(sum string) *string {
	if s.options.NoChecksums {
		return nil
	}
	return &sum
}
