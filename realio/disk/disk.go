package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"

	"weir/core/env"
	"weir/realio/workers"
)

// SpareProcessors is how far GOMAXPROCS should lie above the number of processors in a program that
// writes a log through this package. A write that blocks keeps one of the runtime's processors until
// the runtime notices; on two of them, four writes in flight left none for the loop. Measured there,
// with other load on the machine: groups of 64 KiB went from 434 to 621 MB/s. One spare processor
// measured as two do; none gave a higher latency.
const SpareProcessors = 2

// Options configure a Disk.
type Options struct {
	// Path is a directory, created if it is absent, or a block device, used whole. A device
	// that holds anything but weir's table or zeros is refused, untouched. Required.
	Path string
	// Shared lets other processes use the directory, on this machine or another, if they open it shared too. It
	// needs direct I/O, so that each reads what the others wrote. A block device cannot be shared.
	Shared bool
	// Deliver puts a completed operation into the node's mailbox. It is called from many goroutines
	// and may run a turn of the loop. Required.
	Deliver func(env.Event)
	// Log takes what an operator should know of the device. Nil: none.
	Log env.Logger
	// InFlightMax bounds the operations at the kernel; further ones wait in order. Zero: 16.
	// Each in flight occupies a thread.
	InFlightMax int
}

// storage is what the two kinds of disk, directory and block device, differ in. Its methods block
// and may be called from many goroutines.
type storage interface {
	open(o *env.DiskOpen) (handle, int64, error)
	rename(from, to string) error
	remove(name string) error
	list(prefix string) ([]env.FileInfo, error)
	space(o *env.DiskSpace) error
	close() error
}

// handle is an open file. Reads and writes of different bytes may run at once.
type handle interface {
	readAt(p []byte, offset int64) (int, error)
	writeAt(p []byte, offset int64, durable bool) error
	sync() error
	close() error
}

// Disk implements env.Disk. Its methods may be called from any goroutine, and never block.
type Disk struct {
	deliver func(env.Event)
	storage storage
	abilities
	pool *workers.Pool[env.Event]

	mu    sync.Mutex
	files map[env.FileID]handle
	last  env.FileID
}

var _ env.Disk = (*Disk)(nil)

// Open locks the directory or device, tests with real writes whether it supports direct and durable
// writes, and logs the result. Nobody else may use it until Shutdown, unless it is shared.
func Open(o Options) (*Disk, error) {
	var stat unix.Stat_t
	err := unix.Stat(o.Path, &stat)
	if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFBLK {
		if o.Shared {
			return nil, fmt.Errorf("device %q cannot be shared: make a cluster file system on it, or use a directory on a shared volume", o.Path)
		}
		return openDevice(o)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("open disk %q: %w", o.Path, err)
	}
	d, err := openDirectory(o.Path, o.Shared)
	if err != nil {
		return nil, err
	}
	o.say(d.abilities)
	return newDisk(o, d, d.abilities), nil
}

func newDisk(o Options, s storage, a abilities) *Disk {
	if o.InFlightMax <= 0 {
		o.InFlightMax = 16
	}
	d := &Disk{deliver: o.Deliver, storage: s, abilities: a, files: map[env.FileID]handle{}}
	d.pool = workers.New(o.InFlightMax, d.run, d.complete)
	return d
}

func (o *Options) say(a abilities) {
	if o.Log == nil {
		return
	}
	attrs := []slog.Attr{slog.String("path", o.Path), slog.Int("block_bytes", a.block), slog.Bool("direct", a.direct)}
	if a.direct {
		o.Log.Log(slog.LevelInfo, "disk opened", attrs...)
		return
	}
	attrs = append(attrs, slog.String("reason", a.whyNot.Error()))
	o.Log.Log(slog.LevelWarn, "no direct I/O: writes go through the page cache, "+
		"which costs memory and makes latencies uneven; they are as durable", attrs...)
}

// Shutdown waits for operations in flight, closes every file and releases the lock. Operations
// submitted afterwards are never completed.
func (d *Disk) Shutdown() error {
	d.pool.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for id, f := range d.files {
		errs = append(errs, f.close())
		delete(d.files, id)
	}
	return errors.Join(append(errs, d.storage.close())...)
}

// BlockBytes implements env.Disk.
func (d *Disk) BlockBytes() int { return d.block }

// Direct says whether Direct files bypass the page cache here.
func (d *Disk) Direct() bool { return d.direct }

// Open implements env.Disk.
func (d *Disk) Open(o *env.DiskOpen) { d.pool.Submit(o) }

// Read implements env.Disk.
func (d *Disk) Read(o *env.DiskRead) { d.pool.Submit(o) }

// Write implements env.Disk.
func (d *Disk) Write(o *env.DiskWrite) { d.pool.Submit(o) }

// Sync implements env.Disk.
func (d *Disk) Sync(o *env.DiskSync) { d.pool.Submit(o) }

// Rename implements env.Disk.
func (d *Disk) Rename(o *env.DiskRename) { d.pool.Submit(o) }

// Remove implements env.Disk.
func (d *Disk) Remove(o *env.DiskRemove) { d.pool.Submit(o) }

// List implements env.Disk.
func (d *Disk) List(o *env.DiskList) { d.pool.Submit(o) }

// Space implements env.Disk.
func (d *Disk) Space(o *env.DiskSpace) { d.pool.Submit(o) }

// Close implements env.Disk.
func (d *Disk) Close(id env.FileID) {
	d.mu.Lock()
	f := d.files[id]
	delete(d.files, id)
	d.mu.Unlock()
	if f != nil {
		d.pool.Submit(closing{f})
	}
}

// closing is the close of a file, which a worker does and nobody hears of.
type closing struct{ handle }

// Deliver implements env.Event, so that a close travels with the operations. It is never called.
func (closing) Deliver() {}

// run does one operation, on a worker.
func (d *Disk) run(e env.Event) {
	switch o := e.(type) {
	case *env.DiskOpen:
		d.runOpen(o)
	case *env.DiskRead:
		o.N, o.Err = d.runRead(o)
	case *env.DiskWrite:
		o.Err = d.runWrite(o)
	case *env.DiskSync:
		o.Err = d.runSync(o)
	case *env.DiskRename:
		o.Err = d.storage.rename(o.From, o.To)
	case *env.DiskRemove:
		o.Err = d.storage.remove(o.Name)
	case *env.DiskList:
		o.Files, o.Err = d.storage.list(o.Prefix)
	case *env.DiskSpace:
		o.Err = d.storage.space(o)
	case closing:
		_ = o.close() // it never syncs, so it has nothing to say
	}
}

// complete delivers an operation that was run.
func (d *Disk) complete(e env.Event) {
	if _, unheard := e.(closing); !unheard {
		d.deliver(e)
	}
}

func (d *Disk) runOpen(o *env.DiskOpen) {
	f, size, err := d.storage.open(o)
	o.File, o.Size, o.Err = 0, size, err
	if err != nil {
		return
	}
	d.mu.Lock()
	d.last++
	o.File = d.last
	d.files[o.File] = f
	d.mu.Unlock()
}

func (d *Disk) runRead(o *env.DiskRead) (int, error) {
	f, err := d.file(o.File)
	if err != nil {
		return 0, err
	}
	return f.readAt(o.Data, o.Offset)
}

func (d *Disk) runWrite(o *env.DiskWrite) error {
	if o.Prepare != nil {
		o.Prepare()
	}
	f, err := d.file(o.File)
	if err != nil {
		return err
	}
	return f.writeAt(o.Data, o.Offset, o.Durable)
}

func (d *Disk) runSync(o *env.DiskSync) error {
	f, err := d.file(o.File)
	if err != nil {
		return err
	}
	return f.sync()
}

func (d *Disk) file(id env.FileID) (handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[id]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("%w: file %d is not open", env.ErrDiskIO, id)
}

// failure gives an error of the kernel the sentinel that the core branches on. The kernel's own
// stays within it, for people.
func failure(what, name string, err error) error {
	sentinel := env.ErrDiskIO
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		sentinel = env.ErrNotExist
	case errors.Is(err, unix.EEXIST):
		sentinel = env.ErrExist
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		sentinel = env.ErrDiskFull
	}
	return fmt.Errorf("%s %q: %w (%w)", what, name, sentinel, err)
}
