package wal

import (
	"fmt"

	"weir/core/env"
	"weir/core/telemetry"
)

// device is the medium of a log that lies in a file on a disk: a circular region behind two superblocks.
type device struct {
	log    *Log
	file   env.FileID
	region int64 // size of the circular region from the next superblock on
	supers superblocks
	growth growth
	watch  *watch // nil: the log is not shared
	idle   []*deviceWrite
}

// deviceWrite is one write of a group. The structs are recycled.
type deviceWrite struct {
	device *device
	group  *group
	op     env.DiskWrite
}

func newDevice(l *Log) *device {
	d := &device{log: l, region: l.config.SizeBytes}
	d.supers = superblocks{device: d, last: superblock{identity: l.id, region: d.region, ahead: l.config.aheadBytes(), marks: l.marks}}
	d.growth = growth{device: d}
	if l.config.Shared {
		d.watch = &watch{device: d}
		d.supers.last.flags = superShared
	}
	return d
}

// create makes the file, which must not exist. The fence file comes first, so that the owner of a log that exists has its
// fence file open: a recoverer may remove both then. One that finds no log leaves the fence where the owner will find it.
func (d *device) create(done func(error)) {
	if d.watch == nil {
		d.createLog(done)
		return
	}
	d.openFence(func(file env.FileID, err error) {
		if err != nil {
			done(fmt.Errorf("make the fence file of wal file %q: %w", d.log.name, err))
			return
		}
		d.createLog(func(err error) {
			if err != nil {
				d.log.env.WAL.Close(file)
				done(err)
				return
			}
			d.watch.begin(file)
			done(nil)
		})
	})
}

// openFence opens the fence file, which a recoverer or an earlier attempt may have made, and sees that it has a second block.
func (d *device) openFence(done func(env.FileID, error)) {
	disk := d.log.env.WAL
	disk.Open(&env.DiskOpen{Name: FenceName(d.log.name), Create: true, Direct: true, Done: func(open *env.DiskOpen) {
		if open.Err != nil {
			done(0, open.Err)
			return
		}
		slab := d.log.env.Memory.Alloc(blockBytes)
		data := slab.Data[:blockBytes]
		clear(data)
		disk.Write(&env.DiskWrite{File: open.File, Offset: fenceSecondBlock, Data: data, Durable: true, Done: func(op *env.DiskWrite) {
			slab.Release()
			if op.Err != nil {
				disk.Close(open.File)
			}
			done(open.File, op.Err)
		}})
	}})
}

func (d *device) createLog(done func(error)) {
	name := d.log.name
	d.log.env.WAL.Open(&env.DiskOpen{Name: name, Create: true, Exclusive: true, Direct: true, Done: func(op *env.DiskOpen) {
		if op.Err != nil {
			done(fmt.Errorf("create wal file %q: %w", name, op.Err))
			return
		}
		d.file = op.File
		d.writeHead(done)
	}})
}

// writeHead writes superblock 0 and an empty superblock 1.
func (d *device) writeHead(done func(error)) {
	slab := d.log.env.Memory.Alloc(headBytes)
	data := slab.Data[:headBytes]
	super := d.supers.last
	d.log.env.WAL.Write(&env.DiskWrite{
		File: d.file, Data: data, Durable: true,
		Prepare: func() { clear(data[blockBytes:]); super.encode(data[:blockBytes]) },
		Done: func(op *env.DiskWrite) {
			slab.Release()
			if op.Err != nil {
				d.log.env.WAL.Close(d.file)
				done(fmt.Errorf("write the head of wal file %q: %w", d.log.name, op.Err))
				return
			}
			d.growth.begin()
			d.supers.begin()
			done(nil)
		},
	})
}

// room never lets a group cross the end of the region.
func (d *device) room(at Position) int64 { return toWrap(at, d.region) }

// reserve stays out of what the durable superblock keeps, and of what is not grown yet.
func (d *device) reserve(end Position, spare int64) bool {
	if d.growth.grown < d.region && end > Position(d.growth.grown) {
		d.growth.wanted = max(d.growth.wanted, int64(end))
		return false // placed there, it could not be moved if the device turns out to be full
	}
	if d.supers.saved.region != d.region && end > Position(d.region) {
		return false // nothing wraps before the superblock says where
	}
	return int64(end-d.supers.saved.trim)+spare <= d.region
}

func (d *device) due(g *group) bool { return d.log.commit.mayOverlap(g) }

func (d *device) admits() bool { return d.log.commit.writing < d.log.config.WritesInFlightMax }

func (d *device) write(g *group) {
	d.checkReuse(g)
	w := d.newWrite()
	w.group = g
	w.op.Data, w.op.Offset, w.op.Prepare, w.op.Err = g.data, fileOffset(g.header.at, d.region), g.prepare, nil
	d.log.env.WAL.Write(&w.op)
}

func (d *device) newWrite() *deviceWrite {
	if n := len(d.idle); n > 0 {
		w := d.idle[n-1]
		d.idle = d.idle[:n-1]
		return w
	}
	w := &deviceWrite{device: d}
	w.op = env.DiskWrite{File: d.file, Durable: true, Done: w.done}
	return w
}

func (w *deviceWrite) done(op *env.DiskWrite) {
	d, g, err := w.device, w.group, op.Err
	if err != nil {
		err = fmt.Errorf("write of wal file %q at position %d: %w", d.log.name, g.header.at, err)
	}
	w.group, w.op.Data, w.op.Prepare = nil, nil, nil
	d.idle = append(d.idle, w)
	if d.watch != nil && err == nil && d.log.err == nil {
		g.ticket = d.watch.ask()
	}
	d.log.written(g, err)
}

// confirmed says that the log was not fenced when these tickets were given.
func (d *device) confirmed(upTo uint64) {
	d.supers.confirmed(upTo)
	d.log.confirmed(upTo)
}

// checkReuse asserts that a group leaves alone what the superblock keeps that is durable on the device (I5).
func (d *device) checkReuse(g *group) {
	if kept := &d.supers.saved; g.end() > kept.trim+Position(kept.region) {
		telemetry.Assert(5, false, "a group ends at %d, and the durable superblock of %q keeps positions from %d on in %d bytes", g.end(), d.log.name, kept.trim, kept.region)
	}
}

func (d *device) step() (settled bool) {
	d.supers.step()
	d.growth.step()
	return d.supers.settled() && !d.growth.writing && (d.watch == nil || d.watch.reading == 0)
}

// lowestSlot and recorded do nothing: the superblock says where recovery begins.
func (d *device) lowestSlot() uint64 { return 0 }

func (d *device) recorded(uint64) {}

func (d *device) abandon() {
	d.growth.abandon()
	d.supers.abandon()
	if d.watch != nil {
		d.watch.abandon()
	}
}

func (d *device) close() {
	d.abandon()
	d.log.env.WAL.Close(d.file)
	if d.watch != nil {
		d.log.env.WAL.Close(d.watch.file)
	}
}
