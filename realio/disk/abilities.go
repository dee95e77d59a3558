package disk

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	blockBytesMin = 512
	blockBytesMax = 4096
)

// abilities are what a probe found.
type abilities struct {
	block  int   // alignment, and what the device writes whole
	direct bool  // direct I/O works
	whyNot error // else
	dsync  bool  // single writes can be made durable by a flag
}

var errDirect = errors.New("direct I/O refused")

// probe does on the file at path what the WAL will do: direct, durable writes, read back. The file
// is kept, so that the next probe overwrites its block and needs no space. An error means that the
// disk cannot be used at all.
func probe(path string) (abilities, error) {
	a := abilities{block: blockBytesMax}
	a.direct, a.whyNot = true, nil
	err := tryWrite(path, unix.O_DIRECT, unix.RWF_DSYNC)
	if refused(err) {
		a.direct, a.whyNot = false, fmt.Errorf("%w: %w", errDirect, err)
		err = tryWrite(path, 0, unix.RWF_DSYNC)
	}
	a.dsync = err == nil
	if refused(err) {
		err = tryWrite(path, 0, 0)
	}
	if errors.Is(err, unix.ENOSPC) {
		return probeFull(path), nil
	}
	if err != nil {
		return a, fmt.Errorf("a test write failed: %w", err)
	}
	a.block = blockBytes(path, a.direct)
	return a, nil
}

// probeFull takes what works on every file system, because a full one allows no test write. The
// start must go on: it may be what frees the space.
func probeFull(path string) abilities {
	return abilities{block: blockBytes(path, true), whyNot: fmt.Errorf("no test write to %s: %w", path, unix.ENOSPC)}
}

// refused reports whether err says that a way of writing is not offered, rather than that it failed.
func refused(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

func tryWrite(path string, openFlags, writeFlags int) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|openFlags, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	block := alignedBlock()
	copy(block, "weir probes direct and durable writes\n")
	f := &file{fd: fd, name: path}
	if n, err := f.pwrite(block, 0, writeFlags); err != nil || n != len(block) {
		return errors.Join(err, shortly(n))
	}
	back := alignedBlock()
	if n, err := f.readAt(back, 0); err != nil || n != len(back) || string(back) != string(block) {
		return fmt.Errorf("read back %d bytes that differ: %w", n, errors.Join(unix.EIO, err))
	}
	return unix.Fdatasync(fd)
}

func shortly(n int) error {
	if n == blockBytesMax {
		return nil
	}
	return fmt.Errorf("%d of %d bytes written", n, blockBytesMax)
}

// alignedBlock is one block of memory that direct I/O takes.
func alignedBlock() []byte { return alignedBytes(blockBytesMax) }

func alignedBytes(size int) []byte {
	raw := make([]byte, size+blockBytesMax)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & (blockBytesMax - 1))
	return raw[skip : skip+size : skip+size]
}

// blockBytes is 512 only where the device is known to write just 512 bytes whole and the file
// system takes I/O as fine as that; else 4096.
func blockBytes(path string, direct bool) int {
	var stat unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS|unix.STATX_DIOALIGN, &stat); err != nil {
		return blockBytesMax
	}
	fine := !direct || stat.Mask&unix.STATX_DIOALIGN != 0 && stat.Dio_offset_align <= blockBytesMin && stat.Dio_mem_align <= blockBytesMin
	major, minor := stat.Dev_major, stat.Dev_minor
	if stat.Mode&unix.S_IFMT == unix.S_IFBLK {
		major, minor = stat.Rdev_major, stat.Rdev_minor
	}
	if physical := physicalBytes(major, minor); fine && physical > 0 && physical < blockBytesMax {
		return blockBytesMin
	}
	return blockBytesMax
}

// physicalBytes asks the kernel for the block size of a device or of the disk it is a part of; 0 is
// unknown.
func physicalBytes(major, minor uint32) int {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d/", major, minor)
	for _, name := range []string{"queue/physical_block_size", "../queue/physical_block_size"} {
		if text, err := os.ReadFile(dir + name); err == nil {
			n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
			return n
		}
	}
	return 0
}
