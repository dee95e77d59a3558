// Package disk is the simulated disk.
//
// # Fault model
//
//   - The medium has a volatile cache. A durable write, or one followed by a sync
//     submitted after it completed, survives a power failure. Every other block that
//     was written may afterwards have any of its versions since it was last durable,
//     independently of other blocks: lost, torn at a block boundary, reordered.
//   - Growth of a file that was not synced may be lost at a power failure.
//   - Writes in flight at a crash are torn likewise, durable ones too. A shear may also leave a block
//     of one begun and not ended at a power failure: new bytes, then old ones. A killed
//     process (not a power failure) keeps what the cache has.
//   - Names: create, rename and remove are durable when they complete; in flight
//     at a crash, they happened or not.
//   - Errors: a read may fail, and succeed later; a failed write leaves each of its
//     blocks old or new; after a failed sync the writes that it covered may be lost
//     at the next power failure whatever later syncs say.
//   - Full: a write that grows a file fails, and changes nothing: while the fault lasts, or when
//     the volume has no room. Two disks may share a volume.
//   - Slow: each latency is drawn from the table, scaled, and may stall.
//   - Shared: several machines may have a disk attached, each through a port of its own ([Disk.Port]). Files opened Direct have no
//     cache on a machine: a write that completed is seen by all at once. Of one in flight a reader on
//     another machine sees each block old or new, and what it has seen new stays new unless the writer's crash or a power
//     failure takes it back. A machine's crash ends and tears its own operations, and takes back of its own writes only,
//     and only what nobody wrote over since. A port may be slower than the device, fail, or be cut off: then its operations
//     wait, those in flight too, and take effect when the cut ends, however late that is.
//   - Never: damage to durable data. With a single copy the broker could only fail;
//     [Disk.Corrupt] damages data for scenarios that expect that failure.
//
// It also checks its caller: misaligned direct I/O, a write that overlaps another
// operation in flight, and use of a closed file panic.
package disk

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/latency"
	"weir/sim/machine"
)

// Options configure a disk.
type Options struct {
	// BlockBytes is the unit in which a power failure keeps or loses a write, 512 or 4096.
	BlockBytes int
	// Volume is the volume of the files. Nil: one of the disk's own, without a bound.
	Volume *Volume
}

// Volume is the room that disks share.
type Volume struct {
	number   uint64
	capacity int64
	used     int64
}

// NewVolume returns an empty volume. capacity bounds the sum of the files' sizes; 0 is no bound.
func NewVolume(number uint64, capacity int64) *Volume {
	return &Volume{number: number, capacity: capacity}
}

// unbounded is what a volume without a bound has.
const unbounded = 1 << 40

func (v *Volume) total() int64 {
	if v.capacity == 0 {
		return unbounded
	}
	return v.capacity
}

// usable is the room that is left.
func (v *Volume) usable() int64 { return max(0, v.total()-v.used) }

// TakeAll lets another program take the room that is left, which no disk knows of.
func (v *Volume) TakeAll() { v.used += v.usable() }

// Faults are the faults that are active now; the zero value is none.
type Faults struct {
	SlowPerMille  int64 // scales every latency; 0 and 1000 are once
	Full          bool
	ReadPPM       int64 // reads that fail
	WritePPM      int64 // writes that fail
	ShearPerMille int64 // writes in flight at a power failure that leave a block part new, part old: no device should
	SyncPPM       int64 // syncs that fail
	Stall         time.Duration
	StallPPM      int64 // operations that take Stall longer
}

// Port is a disk as one machine is attached to it.
type Port struct {
	// Faults come on top of those of the device: rates and stalls add up, slowness multiplies. Full and ShearPerMille are the device's alone.
	Faults Faults
	// Cut keeps operations from the device, and completions from the machine, until it is over.
	Cut bool

	disk    *Disk
	machine uint64
	draws   event.Stream
	crashes event.Stream
}

// cutPoll is how often an operation of a port that is cut looks whether the cut is over.
const cutPoll = 10 * time.Millisecond

// Disk is one device and its files, which outlive their node's incarnations.
type Disk struct {
	Faults Faults
	// Injected counts faults that took effect.
	Injected int
	// OnWrite, if set, is asked about each write that begins, until it returns a function, which
	// runs while that write is in flight.
	OnWrite func(name string, offset int64) (during func())
	// OnPrepared, if set, is called for each write that had to be prepared, while it is in flight.
	OnPrepared func(name string, offset int64, data []byte)

	queue    *event.Queue
	options  Options
	name     string
	home     *Port   // of the machine that the disk belongs to
	files    []*file // by name
	inflight []*operation
	free     []*operation
	serial   uint64
}

type file struct {
	name    string
	data    []byte // as the cache has it; its length is the size
	durable int64  // size that survives
	pending map[int64]*block
	removed bool
}

// block is what the medium may hold of a block that has versions not yet durable.
type block struct{ versions []version }

// version is a block's content before a write, and that write's completion.
type version struct {
	before []byte
	by     *Port
	serial uint64 // of the completion of the write that replaced before
	doomed bool   // a failed sync covered it: no sync makes it durable any more
}

// New returns an empty disk.
func New(queue *event.Queue, machineID uint64, name string, options Options) *Disk {
	if options.Volume == nil {
		options.Volume = NewVolume(machineID<<32|event.SumString(name)>>32, 0)
	}
	d := &Disk{queue: queue, options: options, name: name}
	d.home = d.Port(machineID)
	return d
}

// Port attaches a machine. The disk has a port for the machine of New already.
func (d *Disk) Port(machineID uint64) *Port {
	return &Port{
		disk: d, machine: machineID,
		draws:   d.queue.Stream("disk "+d.name, machineID),
		crashes: d.queue.Stream("disk crash "+d.name, machineID),
	}
}

// Attach returns the disk as one incarnation on the machine that it belongs to sees it.
func (d *Disk) Attach(box *machine.Box) env.Disk { return d.home.Attach(box) }

// Attach returns the disk as one incarnation on the port's machine sees it.
func (p *Port) Attach(box *machine.Box) env.Disk { return &view{disk: p.disk, port: p, box: box} }

func (d *Disk) find(name string) (int, bool) {
	return slices.BinarySearchFunc(d.files, name, func(f *file, n string) int { return strings.Compare(f.name, n) })
}

func (d *Disk) lookup(name string) *file {
	if i, ok := d.find(name); ok {
		return d.files[i]
	}
	return nil
}

func (d *Disk) create(name string) *file {
	i, _ := d.find(name)
	f := &file{name: name, pending: map[int64]*block{}}
	d.files = slices.Insert(d.files, i, f)
	return f
}

func (d *Disk) remove(name string) {
	if i, ok := d.find(name); ok {
		d.options.Volume.used -= int64(len(d.files[i].data))
		d.files[i].removed = true
		d.files = slices.Delete(d.files, i, i+1)
	}
}

func (d *Disk) rename(from, to string) bool {
	f := d.lookup(from)
	if f == nil {
		return false
	}
	if from == to {
		return true
	}
	d.remove(to)
	i, _ := d.find(from)
	d.files = slices.Delete(d.files, i, i+1)
	f.name = to
	i, _ = d.find(to)
	d.files = slices.Insert(d.files, i, f)
	return true
}

// Names lists the files.
func (d *Disk) Names() []string {
	var names []string
	for _, f := range d.files {
		names = append(names, f.name)
	}
	return names
}

// Bytes returns a file's content as the cache has it, to read only.
func (d *Disk) Bytes(name string) []byte {
	if f := d.lookup(name); f != nil {
		return f.data
	}
	return nil
}

// Durable returns the block of a file at an offset as a power failure leaves it that takes back all that it
// may; nil if there is none.
func (d *Disk) Durable(name string, offset int64) []byte {
	f := d.lookup(name)
	size := int64(d.options.BlockBytes)
	block := offset / size
	if f == nil || (block+1)*size > f.durable {
		return nil
	}
	if pending := f.pending[block]; pending != nil {
		return pending.versions[0].before
	}
	return f.data[block*size : (block+1)*size]
}

// Corrupt flips bits of a byte of a file, unknown to the node.
func (d *Disk) Corrupt(name string, offset int64, mask byte) {
	f := d.lookup(name)
	if f == nil || offset >= int64(len(f.data)) {
		panic(fmt.Sprintf("sim: nothing to corrupt at %d of %s", offset, name))
	}
	f.data[offset] ^= mask
	d.Injected++
}

// CopyFrom replaces what the disk holds by what a power failure at this moment would
// leave of another: a snapshot of its volume, consistent in time.
func (d *Disk) CopyFrom(of *Disk) {
	d.Wipe()
	for _, f := range of.files {
		c := &file{name: f.name, data: slices.Clone(f.data), durable: f.durable, pending: map[int64]*block{}}
		for at, b := range f.pending {
			c.pending[at] = &block{versions: slices.Clone(b.versions)}
		}
		d.files = append(d.files, c)
		d.options.Volume.used += int64(len(f.data))
	}
	d.serial = of.serial
	d.Crash(true)
}

// Snapshot is a new disk, on a volume of its own, that holds what CopyFrom copies. serial keys its draws.
func (d *Disk) Snapshot(serial uint64) *Disk {
	s := New(d.queue, serial, "copy of "+d.name, Options{BlockBytes: d.options.BlockBytes})
	s.CopyFrom(d)
	return s
}

// Lose takes a file away.
func (d *Disk) Lose(name string) { d.remove(name) }

// Volume is where the disk's files lie.
func (d *Disk) Volume() *Volume { return d.options.Volume }

// Wipe empties the disk.
func (d *Disk) Wipe() {
	for _, f := range d.files {
		d.options.Volume.used -= int64(len(f.data))
	}
	d.files = nil
}

// full reports whether a file cannot grow by that many bytes.
func (d *Disk) full(grow int64) bool {
	return grow > 0 && (d.Faults.Full || grow > d.options.Volume.usable())
}

// write applies bytes to the cache. Blocks [first, last] of it that keep is
// false for stay as they were.
func (f *file) write(p *Port, offset int64, data []byte, durable bool, keep func(block int64) bool) {
	d := p.disk
	size := int64(d.options.BlockBytes)
	end := offset + int64(len(data))
	if end > int64(len(f.data)) {
		f.grow(d, end)
	}
	for b := offset / size; b*size < end; b++ {
		if keep != nil && !keep(b) {
			continue
		}
		from, to := max(offset, b*size), min(end, (b+1)*size)
		if durable {
			delete(f.pending, b)
		} else {
			f.remember(p, b)
		}
		copy(f.data[from:to], data[from-offset:to-offset])
	}
	if durable {
		f.durable = max(f.durable, end)
	}
}

func (f *file) grow(d *Disk, size int64) {
	d.options.Volume.used += size - int64(len(f.data))
	if size <= int64(cap(f.data)) {
		f.data = f.data[:size]
		return
	}
	grown := make([]byte, size, max(size, 2*int64(cap(f.data))))
	copy(grown, f.data)
	f.data = grown
}

func (f *file) truncate(d *Disk, size int64) {
	d.options.Volume.used -= int64(len(f.data)) - size
	clear(f.data[size:])
	f.data = f.data[:size]
}

// remember keeps a block's content as one that may come back at a crash.
func (f *file) remember(p *Port, b int64) {
	pending := f.pending[b]
	if pending == nil {
		pending = &block{}
		f.pending[b] = pending
	}
	pending.versions = append(pending.versions, version{before: f.block(p.disk, b), by: p, serial: p.disk.serial})
}

func (f *file) block(d *Disk, b int64) []byte {
	size := int64(d.options.BlockBytes)
	content := make([]byte, size)
	if b*size < int64(len(f.data)) {
		copy(content, f.data[b*size:])
	}
	return content
}

// synced makes durable what completed before serial.
func (f *file) synced(serial uint64, size int64) {
	for b, pending := range f.pending {
		last := -1
		for i, v := range pending.versions {
			if v.serial <= serial && !v.doomed {
				last = i
			}
		}
		pending.versions = pending.versions[last+1:]
		if len(pending.versions) == 0 {
			delete(f.pending, b)
		}
	}
	f.durable = max(f.durable, min(size, int64(len(f.data))))
}

func (f *file) doom(serial uint64) {
	for _, pending := range f.pending {
		for i := range pending.versions {
			if pending.versions[i].serial <= serial {
				pending.versions[i].doomed = true
			}
		}
	}
}

// Crash ends all operations, of every machine. With power it also loses what
// was volatile.
func (d *Disk) Crash(power bool) {
	for _, o := range d.inflight {
		o.crash(d, power)
	}
	d.inflight = d.inflight[:0]
	if !power {
		return
	}
	for _, f := range d.files {
		f.lose(d)
	}
}

// Crash ends the operations of the port's machine. With power it also loses what that wrote and was volatile.
func (p *Port) Crash(power bool) {
	d := p.disk
	for _, o := range slices.Clone(d.inflight) {
		if o.view.port == p {
			o.crash(d, power)
			d.drop(o)
		}
	}
	if !power {
		return
	}
	for _, f := range d.files {
		f.loseOf(p)
	}
}

// loseOf settles what one machine wrote last of each block and was not durable. Nobody else's bytes go with it.
func (f *file) loseOf(p *Port) {
	size := int64(p.disk.options.BlockBytes)
	for _, b := range f.pendingBlocks() {
		versions := f.pending[b].versions
		own := len(versions)
		for own > 0 && versions[own-1].by == p {
			own--
		}
		if own == len(versions) || p.crashes.PerMille(500) {
			continue
		}
		p.disk.Injected++
		p.disk.queue.Hit("disk: the crash of a machine took a block back from a shared disk")
		survivor := own + int(p.crashes.Below(int64(len(versions)-own)))
		copy(f.data[min(b*size, int64(len(f.data))):], versions[survivor].before)
		if f.pending[b].versions = versions[:survivor]; survivor == 0 {
			delete(f.pending, b)
		}
	}
}

// pendingBlocks are the blocks with versions that are not durable, ascending.
func (f *file) pendingBlocks() []int64 {
	return slices.Sorted(maps.Keys(f.pending))
}

// lose settles every block that was not durable.
func (f *file) lose(d *Disk) {
	blocks := f.pendingBlocks()
	size := int64(d.options.BlockBytes)
	// A crash often takes all or nothing; in between lie the torn ones.
	odds := [...]int64{0, 100, 500, 900, 1000}[d.home.crashes.Below(5)]
	for _, b := range blocks {
		versions := f.pending[b].versions
		if d.home.crashes.PerMille(odds) {
			continue
		}
		d.Injected++
		d.queue.Hit("disk: a power failure took a block back")
		survivor := versions[d.home.crashes.Below(int64(len(versions)))].before
		copy(f.data[min(b*size, int64(len(f.data))):], survivor)
	}
	f.pending = map[int64]*block{}
	if int64(len(f.data)) > f.durable {
		if d.home.crashes.PerMille(500) {
			f.truncate(d, f.durable)
		}
		f.durable = int64(len(f.data))
	}
}

// perMille is a scale whose zero is once.
func perMille(scale int64) int64 {
	if scale == 0 {
		return 1000
	}
	return scale
}

func (p *Port) delay(row *latency.Profile, bytes int) time.Duration {
	d := p.disk
	t := row.Scaled(&p.draws, perMille(d.Faults.SlowPerMille)*perMille(p.Faults.SlowPerMille)/1000)
	t += time.Duration(bytes) // about 1 GB/s
	if p.draws.PPM(d.Faults.StallPPM + p.Faults.StallPPM) {
		d.Injected++
		t += d.Faults.Stall + p.Faults.Stall
	}
	return t
}
