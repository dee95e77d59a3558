package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"weir/core/env"
)

var (
	errEnded = errors.New("the process ends")
	errGone  = errors.New("the directory of the objects is gone, or another one is mounted in its place")
)

// failure makes the error of an operation on a key.
func (s *Store) failure(operation, key string, err error) error {
	cause, advice := s.diagnose(err)
	return &env.StoreError{Cause: cause, Advice: advice, Err: fmt.Errorf("%s %s in %s: %w", operation, key, s.root, err)}
}

// diagnose finds who can mend an error, and how.
func (s *Store) diagnose(err error) (env.StoreCause, string) {
	switch {
	case errors.Is(err, errEnded):
		return env.CauseEnded, ""
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return env.CauseFull, "free space on the file system of " + s.root + ", or let topics keep less (retention.bytes, retention.ms)"
	case errors.Is(err, errGone):
		return env.CauseBucket, "mount it again and restart the broker"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return env.CauseDenied, "let the user that runs weir write in " + s.root
	case errors.Is(err, unix.EIO):
		return env.CauseBroken, "look at the disk under " + s.root
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return env.CauseOther, "raise the limit of open files"
	}
	return env.CauseOther, ""
}

// present returns an error if the directory is not the one that was opened: what is missing there was not
// deleted.
func (s *Store) present() error {
	var stat unix.Stat_t
	if err := retry(func() error { return unix.Stat(s.session.dir, &stat) }); errors.Is(err, unix.ENOENT) {
		return errGone
	}
	return nil
}

// makeRoot makes a directory and those above it, and makes the entries of the new ones durable.
func makeRoot(dir string) error {
	err := retry(func() error { return unix.Mkdir(dir, 0o700) })
	if errors.Is(err, unix.ENOENT) && filepath.Dir(dir) != dir {
		if err := makeRoot(filepath.Dir(dir)); err != nil {
			return err
		}
		err = retry(func() error { return unix.Mkdir(dir, 0o700) })
	}
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return syncDirectory(filepath.Dir(dir))
}
