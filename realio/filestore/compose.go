package filestore

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"weir/core/env"
)

// errNoSource: an object that is to be composed is not there, or ends before the run does.
var errNoSource = errors.New("an object that it is made of does not exist")

// composed is a body made of bytes and of runs of objects.
func (s *Store) composed(all []env.Piece) pieces {
	return func(yield func([]byte, error) bool) {
		var buffer []byte
		for i := range all {
			p := &all[i]
			if p.Key == "" {
				if !yield(p.Data, nil) {
					return
				}
				continue
			}
			if buffer == nil {
				buffer = make([]byte, chunkBytes)
			}
			if !s.readRun(p, buffer, yield) {
				return
			}
		}
	}
}

// readRun yields a run of an object, a buffer at a time; false: the body has ended.
func (s *Store) readRun(p *env.Piece, buffer []byte, yield func([]byte, error) bool) bool {
	dir, name, err := s.locate(p.Key)
	for at := int64(0); at < p.Bytes && err == nil; {
		into := buffer[:min(int64(len(buffer)), p.Bytes-at)]
		n, _, readErr := read(filepath.Join(dir, name), &env.GetObject{Offset: p.Offset + at, Into: into})
		switch {
		case errors.Is(readErr, unix.ENOENT), readErr == nil && n < len(into):
			err = fmt.Errorf("%w: %s", errNoSource, p.Key)
		case readErr != nil:
			err = readErr
		case !yield(into, nil):
			return false
		}
		at += int64(n)
	}
	return err == nil || yield(nil, err)
}
