package quorum

import (
	"fmt"

	"weir/core/env"
	"weir/core/task"
)

// pieceBytes is what is read or written at a time.
const pieceBytes = 1 << 20

// files is a disk in direct style, for one proc.
type files struct {
	proc *task.Proc
	env  env.Env
}

func (f files) list() ([]env.FileInfo, error) {
	op := &env.DiskList{Prefix: directory}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskList) { wake() }
		f.env.Meta.List(op)
	})
	if op.Err != nil {
		return nil, fmt.Errorf("list the quorum's files: %w", op.Err)
	}
	return op.Files, nil
}

func (f files) open(name string, create bool) (env.FileID, int64, error) {
	op := &env.DiskOpen{Name: name, Create: create, Direct: true}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskOpen) { wake() }
		f.env.Meta.Open(op)
	})
	if op.Err != nil {
		return 0, 0, fmt.Errorf("open %q: %w", name, op.Err)
	}
	return op.File, op.Size, nil
}

func (f files) sync(file env.FileID, name string) error {
	op := &env.DiskSync{File: file}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskSync) { wake() }
		f.env.Meta.Sync(op)
	})
	if op.Err != nil {
		return fmt.Errorf("sync %q: %w", name, op.Err)
	}
	return nil
}

// write writes one piece, which prepare fills off the loop.
func (f files) write(file env.FileID, name string, offset int64, data []byte, prepare func()) error {
	op := &env.DiskWrite{File: file, Offset: offset, Data: data, Prepare: prepare}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskWrite) { wake() }
		f.env.Meta.Write(op)
	})
	if op.Err != nil {
		return fmt.Errorf("write %d bytes at %d of %q: %w", len(data), offset, name, op.Err)
	}
	return nil
}

func (f files) rename(from, to string) error {
	op := &env.DiskRename{From: from, To: to}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskRename) { wake() }
		f.env.Meta.Rename(op)
	})
	if op.Err != nil {
		return fmt.Errorf("rename %q to %q: %w", from, to, op.Err)
	}
	return nil
}

func (f files) remove(name string) error {
	op := &env.DiskRemove{Name: name}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskRemove) { wake() }
		f.env.Meta.Remove(op)
	})
	if op.Err != nil {
		return fmt.Errorf("remove %q: %w", name, op.Err)
	}
	return nil
}

// readAll reads the whole blocks of an open file, after a sync, into a slab of the caller's.
func (f files) readAll(file env.FileID, name string, size int64) (*env.Slab, []byte, error) {
	if err := f.sync(file, name); err != nil {
		return nil, nil, err
	}
	bytes := int(size) / blockBytes * blockBytes
	slab := f.env.Memory.Alloc(max(bytes, blockBytes))
	for at := 0; at < bytes; at += pieceBytes {
		if err := f.read(file, name, int64(at), slab.Data[at:min(at+pieceBytes, bytes)]); err != nil {
			slab.Release()
			return nil, nil, err
		}
	}
	return slab, slab.Data[:bytes], nil
}

func (f files) read(file env.FileID, name string, offset int64, data []byte) error {
	op := &env.DiskRead{File: file, Offset: offset, Data: data}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskRead) { wake() }
		f.env.Meta.Read(op)
	})
	if op.Err == nil && op.N < len(data) {
		return fmt.Errorf("read %d bytes at %d of %q: the file ended early", len(data), offset, name)
	}
	if op.Err != nil {
		return fmt.Errorf("read %d bytes at %d of %q: %w", len(data), offset, name, op.Err)
	}
	return nil
}

// publish makes a file appear whole under its name: one block of head, then data, written under a
// temporary name, synced, renamed. What a crash leaves of it is found and removed at the next start.
func (f files) publish(name string, head func(block []byte), data []byte) error {
	temp := name + temporary
	if err := f.remove(temp); err != nil {
		return err
	}
	file, _, err := f.open(temp, true)
	if err != nil {
		return err
	}
	err = f.fill(file, temp, head, data)
	f.env.Meta.Close(file)
	if err != nil {
		return err
	}
	return f.rename(temp, name)
}

func (f files) fill(file env.FileID, name string, head func([]byte), data []byte) error {
	slab := f.env.Memory.Alloc(max(blockBytes, min(pieceBytes, roundUp(len(data)))))
	defer slab.Release()
	for at := 0; at < len(data); at += pieceBytes {
		piece := data[at:min(at+pieceBytes, len(data))]
		into := slab.Data[:roundUp(len(piece))]
		prepare := func() { clear(into[copy(into, piece):]) }
		if err := f.write(file, name, int64(blockBytes+at), into, prepare); err != nil {
			return err
		}
	}
	block := slab.Data[:blockBytes]
	if err := f.write(file, name, 0, block, func() { head(block) }); err != nil {
		return err
	}
	return f.sync(file, name)
}
