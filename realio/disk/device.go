package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"weir/core/env"
)

// device is a disk of files on one block device: a small table in its first blocks, and chunks. It
// is meant for write-ahead logs, of which there is one for each incarnation until it is drained: few
// files, which grow once and are written over ever after.
//
// Every file is direct. A write beyond a file's end is made durable, with zeros before it if it
// leaves a gap, before the table says that the file has grown, so no file ever shows what was there
// before it. Writes within a file's size touch no table.
type device struct {
	file // the device itself
	abilities

	change sync.Mutex // held by whoever changes the table, one at a time
	io     sync.RWMutex
	table  *table // io guards the pointer, and inodes; readers of chunks hold it meanwhile
}

// inode is what handles of one file share: where its name went, and what it has.
type inode struct {
	size   int64
	chunks []uint16
	gone   bool
}

// zeros are written into gaps.
var zeros = sync.OnceValue(func() []byte { return alignedBytes(1 << 20) })

func openDevice(o Options) (*Disk, error) {
	fd, err := retryOpen(o.Path, unix.O_RDWR|unix.O_DIRECT|unix.O_EXCL|unix.O_CLOEXEC)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("device %q is mounted, or in use by another process", o.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open device %q: %w", o.Path, err)
	}
	v, err := loadDevice(fd, o.Path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open device %q: %w", o.Path, err), unix.Close(fd))
	}
	o.say(v.abilities)
	return newDisk(o, v, v.abilities), nil
}

// loadDevice reads the table, or makes one on a device whose first blocks are zero, and then finds
// out what the device can do.
func loadDevice(fd int, path string) (*device, error) {
	v := &device{file: file{fd: fd, name: path}, abilities: abilities{block: blockBytes(path, true), direct: true}}
	bytes, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return nil, err
	}
	tables := alignedBytes(2 * tableBytes)
	if n, err := v.readAt(tables, 0); err != nil || n < len(tables) {
		return nil, errors.Join(fmt.Errorf("read %d bytes of its table", n), err)
	}
	if v.table, err = pickTable(tables, bytes); err != nil {
		return nil, err
	}
	if err := v.probe(); err != nil {
		return nil, fmt.Errorf("a test write failed: %w", err)
	}
	return v, v.save(v.table.with(nil))
}

// pickTable takes the newer of two tables.
func pickTable(tables []byte, deviceBytes int64) (*table, error) {
	if !slices.ContainsFunc(tables, func(b byte) bool { return b != 0 }) {
		return newTable(deviceBytes)
	}
	even, err := decodeTable(tables[:tableBytes])
	odd, oddErr := decodeTable(tables[tableBytes:])
	switch {
	case err != nil && oddErr != nil:
		if errors.Is(err, errNoTable) && errors.Is(oddErr, errNoTable) {
			return nil, errors.New("it holds something that is not weir's: if that may go, write zeros over its first MiB")
		}
		return nil, fmt.Errorf("neither of its tables can be read (%w; %w): restore the device, or write zeros over its first MiB and lose its logs", err, oddErr)
	case err != nil || oddErr == nil && odd.sequence > even.sequence:
		even = odd
	}
	if even.deviceBytes > deviceBytes {
		return nil, fmt.Errorf("it has %d bytes, and had %d when its table was made", deviceBytes, even.deviceBytes)
	}
	return even, nil
}

func (v *device) probe() error {
	block := alignedBlock()
	n, err := v.pwrite(block, probeOffset, unix.RWF_DSYNC)
	if v.abilities.dsync = err == nil; refused(err) {
		n, err = v.pwrite(block, probeOffset, 0)
		err = errors.Join(err, v.file.sync())
	}
	v.file.dsync = v.abilities.dsync
	if err != nil {
		return err
	}
	return shortly(n)
}

// with is the next table, with other files. The rows given are the table's own from now on.
func (t *table) with(files []row) *table {
	if files == nil {
		files = t.files
	}
	return &table{sequence: t.sequence + 1, deviceBytes: t.deviceBytes, chunkBytes: t.chunkBytes, files: files}
}

// save makes the next table durable and then current. The caller holds change. After an error the
// device has either table; the one in memory stays, and the next goes where the failed one went.
func (v *device) save(next *table) error {
	b := alignedBytes(tableBytes)
	next.encode(b)
	if err := v.writeAt(b, int64(next.sequence%2)*tableBytes, true); err != nil {
		return err
	}
	v.io.Lock()
	defer v.io.Unlock()
	for _, r := range v.table.files {
		r.node.gone = true
	}
	v.table = next
	for _, r := range next.files {
		*r.node = inode{size: r.size, chunks: r.chunks}
	}
	return nil
}

func (v *device) open(o *env.DiskOpen) (handle, int64, error) {
	if err := checkName(o.Name); err != nil {
		return nil, 0, err
	}
	v.change.Lock()
	defer v.change.Unlock()
	i, found := v.table.find(o.Name)
	switch {
	case found && o.Create && o.Exclusive:
		return nil, 0, failure("create", o.Name, unix.EEXIST)
	case !found && !o.Create:
		return nil, 0, failure("open", o.Name, unix.ENOENT)
	case !found && (len(v.table.files) == filesMax || len(o.Name) > nameBytesMax):
		return nil, 0, failure("create", o.Name, fmt.Errorf("a device holds %d files with names of %d bytes: %w", filesMax, nameBytesMax, unix.ENOSPC))
	case !found:
		r := row{name: o.Name, node: &inode{}}
		if err := v.save(v.table.with(slices.Insert(slices.Clone(v.table.files), i, r))); err != nil {
			return nil, 0, err
		}
	}
	r := v.table.files[i]
	return &extent{device: v, name: o.Name, inode: r.node}, r.size, nil
}

func (v *device) rename(from, to string) error {
	if err := errors.Join(checkName(from), checkName(to)); err != nil {
		return err
	}
	v.change.Lock()
	defer v.change.Unlock()
	i, found := v.table.find(from)
	if !found {
		return failure("rename", from, unix.ENOENT)
	}
	if from == to {
		return nil
	}
	moved := v.table.files[i]
	moved.name = to
	files := slices.DeleteFunc(slices.Clone(v.table.files), func(r row) bool { return r.name == from || r.name == to })
	files = append(files, moved)
	slices.SortFunc(files, func(a, b row) int { return strings.Compare(a.name, b.name) })
	return v.save(v.table.with(files))
}

func (v *device) remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	v.change.Lock()
	defer v.change.Unlock()
	i, found := v.table.find(name)
	if !found {
		return nil
	}
	return v.save(v.table.with(slices.Delete(slices.Clone(v.table.files), i, i+1)))
}

func (v *device) list(prefix string) (files []env.FileInfo, err error) {
	v.io.RLock()
	defer v.io.RUnlock()
	for _, r := range v.table.files {
		if strings.HasPrefix(r.name, prefix) {
			files = append(files, env.FileInfo{Name: r.name, Size: r.size})
		}
	}
	return files, nil
}

// space tells the room of the device, in chunks. The number of a block device is also that of the
// file systems on it, but one that is used here has none.
func (v *device) space(o *env.DiskSpace) error {
	var stat unix.Stat_t
	if err := unix.Fstat(v.fd, &stat); err != nil {
		return failure("measure the space of", v.name, err)
	}
	v.io.RLock()
	defer v.io.RUnlock()
	o.Volume = stat.Rdev
	o.TotalBytes = v.table.count() * v.table.chunkBytes
	o.UsableBytes = int64(len(v.table.free())) * v.table.chunkBytes
	return nil
}

func (v *device) close() error { return v.file.close() }
