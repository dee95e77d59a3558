package wal

import (
	"errors"
	"fmt"

	"weir/core/env"
	"weir/core/task"
)

// A fence file lies beside each shared log. Its first block is zero until a recoverer writes a fence there (R8);
// the broker that owns the log never writes that block. The owner writes the second block, before it makes the log,
// so that the first one lies within the file, and a read of it reaches the device.
const (
	fencePrefix      = "fence-"
	fenceBytes       = 40
	fenceMagic       = 0x31636e4672696577 // "weirFnc1", read as little-endian
	fenceBegan       = 1                  // flag: the log had begun when it was fenced
	fenceSecondBlock = blockBytes
)

// FenceName is the name of the fence file of a log.
func FenceName(log string) string { return fencePrefix + log }

// FencedError says that a recoverer has taken the log over: what was appended and not acknowledged may be lost,
// and this incarnation is over.
type FencedError struct {
	File string
	By   uint64 // the nonce that the recoverer gave to Fence; 0 if its fence is not whole yet, or is a seal in an object
}

func (e *FencedError) Error() string {
	by := "a recoverer"
	if e.By != 0 {
		by = fmt.Sprintf("recoverer %016x", e.By)
	}
	return fmt.Sprintf("wal %q was fenced by %s: another broker has taken over what it holds, because this one was taken for dead", e.File, by)
}

// PrivateError says that a log cannot be fenced: its owner looks for no fence. Only the node that wrote it may
// recover it, once the process that did so has ended.
type PrivateError struct{ File string }

func (e *PrivateError) Error() string {
	return fmt.Sprintf("wal file %q was written with weir.wal.shared=false, so that nothing but the end of its broker's process keeps that from writing on: "+
		"start that broker again to recover it", e.File)
}

// fenceBlock is what a recoverer writes.
type fenceBlock struct {
	by    uint64
	began bool
}

// encode fills one whole block. All that counts lies in its first 512 bytes, which even the smallest device writes whole.
func (b *fenceBlock) encode(block []byte) {
	clear(block)
	order.PutUint64(block[0:], fenceMagic)
	order.PutUint32(block[8:], FormatVersion)
	order.PutUint64(block[16:], b.by)
	if b.began {
		order.PutUint64(block[24:], fenceBegan)
	}
	order.PutUint32(block[12:], sumWithout(block[:fenceBytes], 12))
}

// decodeFence reports false for anything that is not a whole fence.
func decodeFence(block []byte) (b fenceBlock, ok bool) {
	if len(block) < fenceBytes || order.Uint64(block) != fenceMagic || order.Uint32(block[12:]) != sumWithout(block[:fenceBytes], 12) {
		return b, false
	}
	return fenceBlock{by: order.Uint64(block[16:]), began: order.Uint64(block[24:])&fenceBegan != 0}, true
}

// Fence ends the shared log of another broker, or of an earlier incarnation, whether its owner still lives or not:
// once done gets no error, the owner acknowledges nothing that Recover, called after that, does not find (R8). It
// needs no clock and no answer of the owner. by names the recoverer in what the owner logs. Several brokers may
// fence a log, at once or one after another; each recovers only after its own call. It works on a log that its owner
// has not made yet, too: that is then Recover's env.ErrNotExist, and the owner can acknowledge nothing in it.
//
// Two recoveries of a fenced log may end differently: what its owner had in flight, and never acknowledged, may
// land between them. The first end that becomes a range's seal counts.
//
// Errors: *PrivateError, and nothing was written; env.ErrDiskFull, make room and try again; an error of the device,
// after which the fence may be there or not. Fencing again is always safe.
func Fence(loop *task.Loop, e env.Env, name string, by uint64, done func(error)) {
	loop.Go("fence wal", func(p *task.Proc) {
		done(fenceLog(&fileProc{disk: e.WAL, memory: e.Memory, proc: p}, name, by))
	})
}

func fenceLog(f *fileProc, name string, by uint64) error {
	began, err := logBegan(f, name)
	if err != nil {
		return err
	}
	file, err := f.open(FenceName(name), true)
	if err != nil {
		return fmt.Errorf("fence wal file %q: %w", name, err)
	}
	defer f.disk.Close(file)
	if err := writeFence(f, file, fenceBlock{by: by, began: began}); err != nil {
		return fmt.Errorf("fence wal file %q: %w", name, err)
	}
	return nil
}

// logBegan reports whether the log has a superblock: then its owner has the fence file open, and needs its name no more.
func logBegan(f *fileProc, name string) (began bool, err error) {
	slab, err := f.start(name, headBytes)
	if err != nil || slab == nil {
		return false, err
	}
	defer slab.Release()
	for at := 0; at < headBytes; at += blockBytes {
		super, ok := decodeSuperblock(slab.Data[at : at+blockBytes])
		if ok && !super.shared() {
			return false, &PrivateError{File: name}
		}
		began = began || ok
	}
	return began, nil
}

// writeFence writes the fence even over another recoverer's, since what that one wrote may not be durable yet, and reads it back.
// Of two that write at once either stays: each is whole in its first bytes.
func writeFence(f *fileProc, file env.FileID, fence fenceBlock) error {
	slab := f.memory.Alloc(blockBytes)
	defer slab.Release()
	block := slab.Data[:blockBytes]
	if err := f.read(file, block); err != nil {
		return err
	}
	if earlier, ok := decodeFence(block); ok {
		fence.began = fence.began || earlier.began
	}
	fence.encode(block)
	if err := f.write(file, block); err != nil {
		return err
	}
	if err := f.read(file, block); err != nil {
		return err
	}
	if _, ok := decodeFence(block); !ok {
		return fmt.Errorf("%w: the fence reads back as something else", env.ErrDiskIO)
	}
	return nil
}

// SweepFences removes the fence files of logs that are gone, which a recoverer leaves that dies between the two removals.
// A fence stays whose log had not begun when it was fenced, and so does a fence file that holds no fence: their owner may only be
// about to open it, and must find it then. Only in a directory of shared logs.
func SweepFences(loop *task.Loop, e env.Env, done func(error)) {
	loop.Go("sweep fences", func(p *task.Proc) {
		f := &fileProc{disk: e.WAL, memory: e.Memory, proc: p}
		fences, err := f.list(fencePrefix)
		for i := 0; i < len(fences) && err == nil; i++ {
			err = sweepFence(f, fences[i].Name)
		}
		if err != nil {
			err = fmt.Errorf("sweep fences of logs that are gone: %w", err)
		}
		done(err)
	})
}

func sweepFence(f *fileProc, name string) error {
	log, err := f.open(name[len(fencePrefix):], false)
	if err == nil {
		f.disk.Close(log)
		return nil
	}
	if !errors.Is(err, env.ErrNotExist) {
		return err
	}
	if fence, whole, err := f.fence(name); err != nil || !whole || !fence.began {
		return err
	}
	return f.remove(name)
}

// fileProc makes operations on a disk synchronous, for a proc.
type fileProc struct {
	disk   env.Disk
	memory env.Memory
	proc   *task.Proc
}

func (f *fileProc) open(name string, create bool) (env.FileID, error) {
	op := &env.DiskOpen{Name: name, Create: create, Direct: true}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskOpen) { wake() }
		f.disk.Open(op)
	})
	return op.File, op.Err
}

// read fills data with the start of a file. What lies beyond its end is zero.
func (f *fileProc) read(file env.FileID, data []byte) error {
	op := &env.DiskRead{File: file, Data: data}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskRead) { wake() }
		f.disk.Read(op)
	})
	clear(data[op.N:])
	return op.Err
}

// write writes the start of a file, durably.
func (f *fileProc) write(file env.FileID, data []byte) error {
	op := &env.DiskWrite{File: file, Data: data, Durable: true}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskWrite) { wake() }
		f.disk.Write(op)
	})
	return op.Err
}

// start reads the start of a file into a slab, which is the caller's; nil: there is no such file.
func (f *fileProc) start(name string, bytes int) (*env.Slab, error) {
	file, err := f.open(name, false)
	if errors.Is(err, env.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.disk.Close(file)
	slab := f.memory.Alloc(bytes)
	if err := f.read(file, slab.Data[:bytes]); err != nil {
		slab.Release()
		return nil, fmt.Errorf("read the start of %q: %w", name, err)
	}
	return slab, nil
}

// fence reads a fence file. whole is false if it holds no whole fence, or is not there.
func (f *fileProc) fence(name string) (fence fenceBlock, whole bool, err error) {
	slab, err := f.start(name, blockBytes)
	if err != nil || slab == nil {
		return fence, false, err
	}
	defer slab.Release()
	fence, whole = decodeFence(slab.Data[:blockBytes])
	return fence, whole, nil
}

func (f *fileProc) list(prefix string) ([]env.FileInfo, error) {
	op := &env.DiskList{Prefix: prefix}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskList) { wake() }
		f.disk.List(op)
	})
	return op.Files, op.Err
}

func (f *fileProc) remove(name string) error {
	op := &env.DiskRemove{Name: name}
	f.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskRemove) { wake() }
		f.disk.Remove(op)
	})
	return op.Err
}
