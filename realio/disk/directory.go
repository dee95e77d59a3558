package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weir/core/env"
)

const (
	lockName  = "LOCK"
	probeName = ".probe" // no file of the core's begins with a dot
)

// directory is a disk of files under one directory.
type directory struct {
	root string
	lock *os.File
	abilities
}

func openDirectory(root string, shared bool) (*directory, error) {
	d := &directory{root: filepath.Clean(root)}
	if err := d.makeDirectory(d.root); err != nil {
		return nil, fmt.Errorf("make disk directory: %w", err)
	}
	if err := d.takeLock(shared); err != nil {
		return nil, err
	}
	var err error
	if d.abilities, err = probe(filepath.Join(d.root, probeName)); err == nil && shared {
		err = d.needDirect()
	}
	if err != nil {
		_ = d.close()
		return nil, fmt.Errorf("open disk directory %q: %w", root, err)
	}
	return d, nil
}

// needDirect refuses a page cache, in which one machine would not see what another wrote. A full file system was not tried;
// opening a file shows what it can.
func (d *directory) needDirect() error {
	if !d.direct && !errors.Is(d.whyNot, unix.ENOSPC) {
		return fmt.Errorf("a shared directory needs direct I/O: %w", d.whyNot)
	}
	d.direct = true
	return nil
}

// takeLock keeps other processes out for as long as this one lives, but for those that share the directory as this one does.
func (d *directory) takeLock(shared bool) error {
	name := filepath.Join(d.root, lockName)
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open disk lock: %w", err)
	}
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	if err := unix.Flock(int(lock.Fd()), how|unix.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(name)
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("disk directory %q is in use by %s: end it, or give this one a directory of its own",
				d.root, user(strings.TrimSpace(string(owner))))
		}
		return fmt.Errorf("lock %q: %w", name, err)
	}
	err = lock.Truncate(0)
	if err == nil && !shared {
		_, err = fmt.Fprintf(lock, "%d\n", os.Getpid())
	}
	if err != nil {
		_ = lock.Close()
		return fmt.Errorf("write disk lock: %w", err)
	}
	d.lock = lock
	return nil
}

// user names who holds the lock.
func user(process string) string {
	if process == "" {
		return "processes that share it"
	}
	return "process " + process
}

func (d *directory) close() error { return d.lock.Close() }

// checkName refuses what could leave the directory or meet this package's own files.
func checkName(name string) error {
	ok := name != "" && name != lockName && len(name) <= 1024
	for segment := range strings.SplitSeq(name, "/") {
		ok = ok && segment != "" && segment[0] != '.' && len(segment) <= 255
	}
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '/')
	}
	if !ok {
		return fmt.Errorf("%q is not a file name: letters, digits, '-', '.' and '/', no segment empty or with a leading dot", name)
	}
	return nil
}

func (d *directory) path(name string) (string, error) {
	return filepath.Join(d.root, filepath.FromSlash(name)), checkName(name)
}

func (d *directory) open(o *env.DiskOpen) (handle, int64, error) {
	name, err := d.path(o.Name)
	if err != nil {
		return nil, 0, err
	}
	if o.Create {
		if err := d.makeDirectory(filepath.Dir(name)); err != nil {
			return nil, 0, failure("create", o.Name, err)
		}
	}
	fd, err := retryOpen(name, d.openFlags(o))
	if err != nil {
		return nil, 0, failure("open", o.Name, err)
	}
	f := &file{fd: fd, name: o.Name, dsync: d.dsync}
	size, err := d.settle(f, name, o.Create)
	if err != nil {
		_ = f.close()
		return nil, 0, failure("open", o.Name, err)
	}
	return f, size, nil
}

func (d *directory) openFlags(o *env.DiskOpen) int {
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if o.Create {
		flags |= unix.O_CREAT
		if o.Exclusive {
			flags |= unix.O_EXCL
		}
	}
	if o.Direct && d.direct {
		flags |= unix.O_DIRECT
	}
	return flags
}

func retryOpen(name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Open(name, flags, 0o600)
		return err
	})
	return fd, err
}

// settle returns the file's size. A file opened for creation has a durable entry afterwards, even if
// an earlier process made it and died before it could say so.
func (d *directory) settle(f *file, name string, create bool) (int64, error) {
	if create {
		if err := errors.Join(unix.Fsync(f.fd), d.syncUpwards(filepath.Dir(name))); err != nil {
			return 0, err
		}
	}
	var stat unix.Stat_t
	err := unix.Fstat(f.fd, &stat)
	if err == nil && stat.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.EISDIR
	}
	return stat.Size, err
}

// makeDirectory makes what is missing of a path of directories. The entries of those that it makes
// are durable.
func (d *directory) makeDirectory(dir string) error {
	err := os.Mkdir(dir, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if err := d.makeDirectory(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDirectory(filepath.Dir(dir))
}

// syncUpwards makes the entries of dir, and of its parents up to the root, durable.
func (d *directory) syncUpwards(dir string) error {
	for {
		if err := syncDirectory(dir); err != nil || dir == d.root {
			return err
		}
		dir = filepath.Dir(dir)
	}
}

func syncDirectory(dir string) error {
	fd, err := retryOpen(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	return errors.Join(retry(func() error { return unix.Fsync(fd) }), unix.Close(fd))
}

func (d *directory) rename(from, to string) error {
	source, err := d.path(from)
	if err != nil {
		return err
	}
	target, err := d.path(to)
	if err != nil {
		return err
	}
	if err := d.makeDirectory(filepath.Dir(target)); err != nil {
		return failure("rename", from, err)
	}
	if err := unix.Rename(source, target); err != nil {
		return failure("rename", from, err)
	}
	err = d.syncUpwards(filepath.Dir(target))
	if filepath.Dir(source) != filepath.Dir(target) {
		err = errors.Join(err, syncDirectory(filepath.Dir(source)))
	}
	return failure("rename", from, err)
}

// remove syncs even if the file is absent: whoever removed it may have died before that.
func (d *directory) remove(name string) error {
	target, err := d.path(name)
	if err != nil {
		return err
	}
	if err := unix.Unlink(target); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
		return failure("remove", name, err)
	}
	err = syncDirectory(filepath.Dir(target))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return failure("remove", name, err)
}

func (d *directory) list(prefix string) ([]env.FileInfo, error) {
	var files []env.FileInfo
	if err := d.listUnder("", prefix, &files); err != nil {
		return nil, failure("list", prefix, err)
	}
	slices.SortFunc(files, func(a, b env.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// space tells the room of the directory's file system. A volume is named by the number of its device.
func (d *directory) space(o *env.DiskSpace) error {
	var stat unix.Stat_t
	var fs unix.Statfs_t
	err := unix.Stat(d.root, &stat)
	if err == nil {
		err = retry(func() error { return unix.Statfs(d.root, &fs) })
	}
	o.Volume = stat.Dev
	o.TotalBytes, o.UsableBytes = int64(fs.Blocks)*fs.Bsize, int64(fs.Bavail)*fs.Bsize
	return failure("measure the space of", d.root, err)
}

// listUnder adds the regular files under a directory whose names start with prefix.
func (d *directory) listUnder(dir, prefix string, files *[]env.FileInfo) error {
	entries, err := os.ReadDir(filepath.Join(d.root, filepath.FromSlash(dir)))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if entry.IsDir() {
			if inside := name + "/"; strings.HasPrefix(inside, prefix) || strings.HasPrefix(prefix, inside) {
				err = d.listUnder(name, prefix, files)
			}
		} else if strings.HasPrefix(name, prefix) && checkName(name) == nil && entry.Type().IsRegular() {
			err = addFile(files, name, entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addFile adds a row, unless the file was removed meanwhile.
func addFile(files *[]env.FileInfo, name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		*files = append(*files, env.FileInfo{Name: name, Size: info.Size()})
	}
	return err
}
