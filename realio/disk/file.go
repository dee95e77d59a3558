package disk

import (
	"io"

	"golang.org/x/sys/unix"
)

// file is an open descriptor.
type file struct {
	fd    int
	name  string
	dsync bool // single writes can be made durable by a flag
}

// readAt fills p, or as much of it as there is before the end of the file.
func (f *file) readAt(p []byte, offset int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], offset+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, failure("read", f.name, err)
		}
		if n == 0 {
			break
		}
		if done += n; n%blockBytesMin != 0 {
			break // only the end of the file ends a read within a block; direct I/O cannot go on from there
		}
	}
	return done, nil
}

// writeAt writes all of p. RWF_DSYNC does for one write what O_DSYNC does for all of a descriptor:
// on preallocated, already written space a direct one costs a single request to the device.
func (f *file) writeAt(p []byte, offset int64, durable bool) error {
	flags := 0
	if durable && f.dsync {
		flags = unix.RWF_DSYNC
	}
	for len(p) > 0 {
		n, err := f.pwrite(p, offset, flags)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return failure("write", f.name, err)
		}
		p, offset = p[n:], offset+int64(n)
	}
	if durable && !f.dsync {
		return f.sync()
	}
	return nil
}

func (f *file) pwrite(p []byte, offset int64, flags int) (int, error) {
	if flags == 0 {
		return unix.Pwrite(f.fd, p, offset)
	}
	vector := [1][]byte{p}
	return unix.Pwritev2(f.fd, vector[:], offset, flags)
}

func (f *file) sync() error {
	return failure("sync", f.name, retry(func() error { return unix.Fdatasync(f.fd) }))
}

func (f *file) close() error { return unix.Close(f.fd) }

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
