package filestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// session is the folder of files that one open store has not named yet. Its lock says that the
// store lives; what is not locked is swept by the next store that opens. Several processes may
// share a store.
type session struct {
	dir    string
	fd     int
	serial atomic.Uint64
}

func openSession(sessions string) (*session, error) {
	if err := os.MkdirAll(sessions, 0o700); err != nil {
		return nil, err
	}
	if err := sweep(sessions); err != nil {
		return nil, err
	}
	for {
		dir, err := os.MkdirTemp(sessions, fmt.Sprintf("%d-", os.Getpid()))
		if err != nil {
			return nil, err
		}
		fd, err := lock(dir, 0)
		if err == nil {
			var stat unix.Stat_t
			if unix.Stat(dir, &stat) == nil {
				return &session{dir: dir, fd: fd}, nil
			}
			err = errors.Join(unix.ENOENT, unix.Close(fd))
		}
		if !errors.Is(err, unix.ENOENT) { // else another store swept it before it was locked
			return nil, err
		}
	}
}

func lock(dir string, flags int) (int, error) {
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return 0, err
	}
	if err := retry(func() error { return unix.Flock(fd, unix.LOCK_EX|flags) }); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// sweep removes the sessions of stores that are gone.
func sweep(sessions string) error {
	entries, err := os.ReadDir(sessions)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		dir := filepath.Join(sessions, entry.Name())
		fd, err := lock(dir, unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(dir), unix.Close(fd)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) path(name string) string { return filepath.Join(s.dir, name) }

// next is a name that was never used.
func (s *session) next() string { return s.path(fmt.Sprintf("%d", s.serial.Add(1))) }

func (s *session) close() error { return errors.Join(os.RemoveAll(s.dir), unix.Close(s.fd)) }

// folders makes folders whose own entries are durable, and remembers which.
type folders struct {
	mu      sync.Mutex
	durable map[string]bool
}

func (f *folders) make(root, dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.makeLocked(root, dir)
}

func (f *folders) makeLocked(root, dir string) error {
	if f.durable[dir] || dir == root {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := f.makeLocked(root, parent); err != nil {
		return err
	}
	if err := unix.Mkdir(dir, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	if err := syncDirectory(parent); err != nil {
		return err
	}
	f.durable[dir] = true
	return nil
}

// forget makes the next put into dir look again, after somebody tidied up by hand.
func (f *folders) forget(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ; f.durable[dir]; dir = filepath.Dir(dir) {
		delete(f.durable, dir)
	}
}

func syncDirectory(dir string) error {
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return errors.Join(retry(func() error { return unix.Fsync(fd) }), unix.Close(fd))
}

func open(name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Open(name, flags|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
