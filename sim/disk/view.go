package disk

import (
	"errors"
	"fmt"
	"strings"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/latency"
	"weir/sim/machine"
)

// view is a disk as one incarnation has it open.
type view struct {
	disk *Disk
	port *Port
	box  *machine.Box
	open []*handle
}

type handle struct {
	file   *file
	direct bool
	closed bool
}

type verb uint8

const (
	opOpen verb = iota + 1
	opRead
	opWrite
	opSync
	opRename
	opRemove
	opList
	opSpace
)

// operation is one submitted operation. It fires once to start a write (which
// prepares its bytes) and once to complete.
type operation struct {
	view    *view
	verb    verb
	started bool
	ended   bool
	serial  uint64
	size    int64
	handle  *handle
	offset  int64
	length  int64
	event   env.Event
	disk    *Disk
}

func (v *view) BlockBytes() int { return v.disk.options.BlockBytes }

func (v *view) submit(verb verb, e env.Event) *operation {
	d := v.disk
	if v.box.Dead() {
		panic("sim: a dead incarnation used its disk")
	}
	var o *operation
	if n := len(d.free); n > 0 {
		o, d.free = d.free[n-1], d.free[:n-1]
	} else {
		o = &operation{}
	}
	*o = operation{view: v, verb: verb, serial: d.serial, event: e, disk: d}
	d.inflight = append(d.inflight, o)
	return o
}

func (v *view) handle(id env.FileID) *handle {
	if id < 1 || int(id) > len(v.open) || v.open[id-1].closed {
		panic(fmt.Sprintf("sim: file %d is not open", id))
	}
	return v.open[id-1]
}

func (v *view) Open(e *env.DiskOpen) {
	checkName(e.Name)
	v.disk.queue.After(v.port.delay(&latency.DiskMeta, 0), v.submit(opOpen, e), 1)
}

func (v *view) Read(e *env.DiskRead) {
	h := v.handle(e.File)
	v.checkDirect(h, e.Offset, e.Data)
	v.checkOverlap(h, e.Offset, int64(len(e.Data)), false)
	o := v.submit(opRead, e)
	o.handle, o.offset, o.length = h, e.Offset, int64(len(e.Data))
	v.disk.queue.After(v.port.delay(&latency.DiskRead, len(e.Data)), o, 1)
}

func (v *view) Write(e *env.DiskWrite) {
	h := v.handle(e.File)
	v.checkDirect(h, e.Offset, e.Data)
	v.checkOverlap(h, e.Offset, int64(len(e.Data)), true)
	o := v.submit(opWrite, e)
	o.handle, o.offset, o.length = h, e.Offset, int64(len(e.Data))
	total := v.port.delay(&latency.DiskWrite, len(e.Data))
	if !e.Durable {
		total /= 4
	}
	if e.Prepare == nil {
		o.started = true
	} else {
		v.disk.queue.After(total/4, o, 0)
	}
	v.disk.queue.After(total, o, 1)
	if v.disk.OnWrite == nil {
		return
	}
	if during := v.disk.OnWrite(h.file.name, e.Offset); during != nil {
		v.disk.OnWrite = nil
		v.disk.queue.Call(total*3/4, during)
	}
}

func (v *view) Sync(e *env.DiskSync) {
	o := v.submit(opSync, e)
	o.handle = v.handle(e.File)
	o.size = int64(len(o.handle.file.data))
	v.disk.queue.After(v.port.delay(&latency.DiskSync, 0), o, 1)
}

func (v *view) Rename(e *env.DiskRename) {
	checkName(e.To)
	v.disk.queue.After(v.port.delay(&latency.DiskMeta, 0), v.submit(opRename, e), 1)
}

func (v *view) Remove(e *env.DiskRemove) {
	v.disk.queue.After(v.port.delay(&latency.DiskMeta, 0), v.submit(opRemove, e), 1)
}

func (v *view) List(e *env.DiskList) {
	v.disk.queue.After(v.port.delay(&latency.DiskMeta, 0), v.submit(opList, e), 1)
}

func (v *view) Space(e *env.DiskSpace) {
	v.disk.queue.After(v.port.delay(&latency.DiskMeta, 0), v.submit(opSpace, e), 1)
}

func (v *view) Close(id env.FileID) {
	h := v.handle(id)
	for _, o := range v.disk.inflight {
		if o.handle == h {
			panic(fmt.Sprintf("sim: %s closed with an operation in flight", h.file.name))
		}
	}
	h.closed = true
}

func (v *view) checkDirect(h *handle, offset int64, data []byte) {
	block := v.disk.options.BlockBytes
	if h.direct && (offset%int64(block) != 0 || len(data)%block != 0 || !machine.Aligned(data, block)) {
		panic(fmt.Sprintf("sim: misaligned direct I/O on %s: offset %d, %d bytes", h.file.name, offset, len(data)))
	}
	if offset < 0 {
		panic(fmt.Sprintf("sim: negative offset on %s", h.file.name))
	}
}

// checkOverlap holds the core to "never overlaps a write with another operation
// on the same bytes". What another machine does is not its to know.
func (v *view) checkOverlap(h *handle, offset, length int64, write bool) {
	for _, o := range v.disk.inflight {
		overlaps := o.view.port == v.port && o.handle != nil && o.handle.file == h.file && offset < o.offset+o.length && o.offset < offset+length
		if overlaps && (write && (o.verb == opRead || o.verb == opWrite) || o.verb == opWrite) {
			panic(fmt.Sprintf("sim: overlapping I/O on %s: [%d, +%d) and [%d, +%d)", h.file.name, o.offset, o.length, offset, length))
		}
	}
}

func checkName(name string) {
	ok := name != "" && name[0] != '/' && !strings.Contains(name, "..")
	for i := 0; i < len(name); i++ {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '/' || c == '_')
	}
	if !ok {
		panic(fmt.Sprintf("sim: bad file name %q", name))
	}
}

// Fire implements event.Handler.
func (o *operation) Fire(last uint64) {
	if o.ended {
		o.recycle(last)
		return
	}
	if o.view.port.Cut && last == 1 {
		o.disk.queue.After(cutPoll, o, last)
		return
	}
	if last == 0 {
		o.started = true
		e := o.event.(*env.DiskWrite)
		e.Prepare()
		if o.disk.OnPrepared != nil {
			o.disk.OnPrepared(o.handle.file.name, e.Offset, e.Data)
		}
		return
	}
	o.ended = true
	d := o.disk
	d.drop(o)
	d.serial++
	sum, err := o.complete(d)
	d.queue.Note(event.KindDisk, o.view.port.machine, uint64(o.verb), uint64(o.offset)^uint64(o.length)<<40, sum^errorCode(err))
	o.view.box.Deliver(o.event)
	o.recycle(last)
}

// recycle keeps the struct for reuse once its last event has fired.
func (o *operation) recycle(last uint64) {
	if last == 1 {
		d := o.disk
		*o = operation{}
		d.free = append(d.free, o)
	}
}

func (d *Disk) drop(o *operation) {
	for i, p := range d.inflight {
		if p == o {
			d.inflight = append(d.inflight[:i], d.inflight[i+1:]...)
			return
		}
	}
}

func errorCode(err error) uint64 {
	for i, known := range []error{env.ErrNotExist, env.ErrExist, env.ErrDiskFull, env.ErrDiskIO} {
		if errors.Is(err, known) {
			return uint64(i + 1)
		}
	}
	return 0
}

func (o *operation) complete(d *Disk) (uint64, error) {
	switch e := o.event.(type) {
	case *env.DiskOpen:
		o.completeOpen(d, e)
		return uint64(e.Size), e.Err
	case *env.DiskRead:
		o.completeRead(d, e)
		return uint64(e.N), e.Err
	case *env.DiskWrite:
		e.Err = o.completeWrite(d, e)
		return event.Sum(e.Data), e.Err
	case *env.DiskSync:
		e.Err = o.completeSync(d)
		return 0, e.Err
	case *env.DiskRename:
		e.Err = nil
		if !d.rename(e.From, e.To) {
			e.Err = env.ErrNotExist
		}
		return event.SumString(e.To), e.Err
	case *env.DiskRemove:
		d.remove(e.Name)
		e.Err = nil
		return event.SumString(e.Name), nil
	case *env.DiskList:
		e.Files, e.Err = nil, nil
		for _, f := range d.files {
			if strings.HasPrefix(f.name, e.Prefix) {
				e.Files = append(e.Files, env.FileInfo{Name: f.name, Size: int64(len(f.data))})
			}
		}
		return uint64(len(e.Files)), nil
	case *env.DiskSpace:
		volume := d.options.Volume
		e.Volume, e.TotalBytes, e.UsableBytes, e.Err = volume.number, volume.total(), volume.usable(), nil
		if d.Faults.Full {
			e.UsableBytes = 0
		}
		return uint64(e.UsableBytes), nil
	}
	panic("sim: unknown disk operation")
}

func (o *operation) completeOpen(d *Disk, e *env.DiskOpen) {
	f := d.lookup(e.Name)
	e.Err = nil
	switch {
	case f == nil && !e.Create:
		e.Err = fmt.Errorf("open %s: %w", e.Name, env.ErrNotExist)
		return
	case f != nil && e.Create && e.Exclusive:
		e.Err = fmt.Errorf("create %s: %w", e.Name, env.ErrExist)
		return
	case f == nil:
		f = d.create(e.Name)
	}
	o.view.open = append(o.view.open, &handle{file: f, direct: e.Direct})
	e.File, e.Size = env.FileID(len(o.view.open)), int64(len(f.data))
}

func (o *operation) completeRead(d *Disk, e *env.DiskRead) {
	e.N, e.Err = 0, nil
	if p := o.view.port; p.draws.PPM(d.Faults.ReadPPM + p.Faults.ReadPPM) {
		d.Injected++
		e.Err = fmt.Errorf("read %s at %d: %w", o.handle.file.name, e.Offset, env.ErrDiskIO)
		return
	}
	o.meet(d)
	if e.Offset < int64(len(o.handle.file.data)) {
		e.N = copy(e.Data, o.handle.file.data[e.Offset:])
	}
}

func (o *operation) completeWrite(d *Disk, e *env.DiskWrite) error {
	f := o.handle.file
	end := e.Offset + int64(len(e.Data))
	if d.full(end - int64(len(f.data))) {
		d.Injected++
		d.queue.Hit("disk: full: " + d.name)
		return fmt.Errorf("write %s at %d: %w", f.name, e.Offset, env.ErrDiskFull)
	}
	if p := o.view.port; p.draws.PPM(d.Faults.WritePPM + p.Faults.WritePPM) {
		d.Injected++
		o.tear(d, e)
		return fmt.Errorf("write %s at %d: %w", f.name, e.Offset, env.ErrDiskIO)
	}
	f.write(o.view.port, e.Offset, e.Data, e.Durable, nil)
	return nil
}

func (o *operation) completeSync(d *Disk) error {
	f := o.handle.file
	if p := o.view.port; p.draws.PPM(d.Faults.SyncPPM + p.Faults.SyncPPM) {
		d.Injected++
		f.doom(o.serial)
		return fmt.Errorf("sync %s: %w", f.name, env.ErrDiskIO)
	}
	f.synced(o.serial, o.size)
	return nil
}

// tear applies some of a write's blocks, none of them durable.
func (o *operation) tear(d *Disk, e *env.DiskWrite) {
	crashes := &o.view.port.crashes
	odds := crashes.Between(0, 4) * 250
	o.handle.file.write(o.view.port, e.Offset, e.Data, false, func(int64) bool { return crashes.PerMille(odds) })
}

// meet lets blocks of other machines' writes in flight, of what is read, reach the device before those complete.
func (o *operation) meet(d *Disk) {
	for _, w := range d.inflight {
		write, ok := w.event.(*env.DiskWrite)
		if !ok || w.view.port == o.view.port || w.handle.file != o.handle.file || !w.started || w.view.port.Cut {
			continue
		}
		if end := w.offset + w.length; w.offset < o.offset+o.length && o.offset < end && end <= int64(len(w.handle.file.data)) {
			d.queue.Hit("disk: a read met another machine's write")
			w.tear(d, write)
		}
	}
}

// shear leaves the first bytes of one of a write's blocks new, and the rest of it old. The first bytes are
// where structures have their headers.
func (o *operation) shear(d *Disk, e *env.DiskWrite) {
	crashes := &o.view.port.crashes
	size := int64(d.options.BlockBytes)
	at := crashes.Below((int64(len(e.Data))+size-1)/size) * size
	bytes := crashes.Between(1, size-1)
	if crashes.PerMille(500) {
		bytes = crashes.Between(1, 127)
	}
	d.Injected++
	d.queue.Hit("disk: a power failure sheared a block of " + d.name)
	o.handle.file.write(o.view.port, e.Offset+at, e.Data[at:min(at+bytes, int64(len(e.Data)))], false, nil)
}

// crash settles an operation that was in flight when its node died.
func (o *operation) crash(d *Disk, power bool) {
	crashes := &o.view.port.crashes
	o.ended = true
	happened := crashes.PerMille(500)
	switch e := o.event.(type) {
	case *env.DiskWrite:
		if grow := e.Offset + int64(len(e.Data)) - int64(len(o.handle.file.data)); o.started && !d.full(grow) {
			d.queue.Hit("disk: a crash tore a write of " + d.name)
			if power && crashes.PerMille(d.Faults.ShearPerMille) {
				o.shear(d, e)
			} else {
				o.tear(d, e)
			}
		}
	case *env.DiskOpen:
		if happened && e.Create && d.lookup(e.Name) == nil {
			d.create(e.Name)
		}
	case *env.DiskSync:
		if happened {
			o.handle.file.synced(o.serial, o.size)
		}
	case *env.DiskRename:
		if happened {
			d.rename(e.From, e.To)
		}
	case *env.DiskRemove:
		if happened {
			d.remove(e.Name)
		}
	}
}
