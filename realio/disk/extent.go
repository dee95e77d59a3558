package disk

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// extent is an open file of a device.
type extent struct {
	*device
	name string
	*inode
}

func (x *extent) readAt(p []byte, offset int64) (int, error) {
	x.io.RLock()
	defer x.io.RUnlock()
	if x.gone {
		return 0, failure("read", x.name, unix.ENOENT)
	}
	p = p[:max(0, min(int64(len(p)), x.size-offset))]
	return x.eachPiece(x.chunks, p, offset, func(piece []byte, at int64) error {
		n, err := x.file.readAt(piece, at)
		if err == nil && n < len(piece) {
			err = failure("read", x.name, fmt.Errorf("the device ended after %d of %d bytes: %w", n, len(piece), unix.EIO))
		}
		return err
	})
}

func (x *extent) writeAt(p []byte, offset int64, durable bool) error {
	if done, err := x.writeWithin(p, offset, durable); done {
		return err
	}
	x.change.Lock()
	defer x.change.Unlock()
	if done, err := x.writeWithin(p, offset, durable); done {
		return err // it has grown meanwhile
	}
	return x.grow(p, offset)
}

// writeWithin writes if all of p lies within the file.
func (x *extent) writeWithin(p []byte, offset int64, durable bool) (done bool, err error) {
	x.io.RLock()
	defer x.io.RUnlock()
	if x.gone {
		return true, failure("write", x.name, unix.ENOENT)
	}
	if offset+int64(len(p)) > x.size {
		return false, nil
	}
	return true, x.writeChunks(x.chunks, p, offset, durable)
}

func (x *extent) writeChunks(chunks []uint16, p []byte, offset int64, durable bool) error {
	_, err := x.eachPiece(chunks, p, offset, func(piece []byte, at int64) error { return x.file.writeAt(piece, at, durable) })
	return err
}

// grow writes beyond the end, zeros first if p begins there, and then tells the table. Nobody else
// touches what lies beyond the end, since the caller holds change.
func (x *extent) grow(p []byte, offset int64) error {
	i := slices.IndexFunc(x.table.files, func(r row) bool { return r.node == x.inode })
	files := slices.Clone(x.table.files)
	r := &files[i]
	end := offset + int64(len(p))
	var err error
	if r.chunks, err = x.allocate(r.chunks, end); err != nil {
		return err
	}
	for at := r.size; at < offset; {
		n := min(int64(len(zeros())), offset-at)
		if err := x.writeChunks(r.chunks, zeros()[:n], at, true); err != nil {
			return err
		}
		at += n
	}
	if err := x.writeChunks(r.chunks, p, offset, true); err != nil {
		return err
	}
	r.size = end
	return x.save(x.table.with(files))
}

// allocate adds free chunks until a file of end bytes fits, those behind its last ones first.
func (x *extent) allocate(chunks []uint16, end int64) ([]uint16, error) {
	more := int((end+x.table.chunkBytes-1)/x.table.chunkBytes) - len(chunks)
	if more <= 0 {
		return chunks, nil
	}
	free := x.table.free()
	if more > len(free) {
		return nil, failure("grow", x.name, fmt.Errorf("it needs %d chunks of %d bytes more, %d are free: %w", more, x.table.chunkBytes, len(free), unix.ENOSPC))
	}
	from := 0
	if len(chunks) > 0 {
		from, _ = slices.BinarySearch(free, chunks[len(chunks)-1])
	}
	free = append(free[from:], free[:from]...)
	return append(slices.Clone(chunks), free[:more]...), nil
}

// eachPiece calls do for each stretch of p that lies in one piece on the device.
func (x *extent) eachPiece(chunks []uint16, p []byte, offset int64, do func(piece []byte, at int64) error) (int, error) {
	done, size := 0, x.table.chunkBytes
	for done < len(p) {
		at := offset + int64(done)
		first := at / size
		end := first + 1
		for end < int64(len(chunks)) && int64(chunks[end]) == int64(chunks[end-1])+1 && end*size-at < int64(len(p)-done) {
			end++
		}
		n := int(min(end*size-at, int64(len(p)-done)))
		if err := do(p[done:done+n], chunksOffset+int64(chunks[first])*size+at%size); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// sync flushes the device, other files' writes too.
func (x *extent) sync() error { return x.file.sync() }

func (x *extent) close() error { return nil }
