package faults

import (
	"fmt"
	"time"

	"weir/core/env"
)

// disk decorates an env.Disk.
type disk struct {
	*Injector
	name  string
	disk  env.Disk
	sizes map[env.FileID]int64 // of open files, as far as they are known
}

func newDisk(i *Injector, name string, d env.Disk) disk {
	return disk{Injector: i, name: name, disk: d, sizes: map[env.FileID]int64{}}
}

// struck draws whether an operation is struck by an effect.
func (d *disk) struck(effect Effect) *planned {
	return d.strikes(effect, func(t *Target) bool { return t.OnDisk(d.name, d.options.Place) })
}

// ended delivers an operation that took as long as it did since it began, and longer if the disk is slow or stalls.
func (d *disk) ended(began env.Time, e env.Event) {
	d.hold(d.delay(d.clock.Now().Sub(began), d.struck(Slow), d.struck(Stall)), e)
}

// delay is how much longer an operation takes that is slow or stalls.
func (i *Injector) delay(took time.Duration, slow, stall *planned) (more time.Duration) {
	if slow != nil {
		more = max(0, slow.Times.Of(took)-took)
	}
	if stall != nil {
		more += stall.By
	}
	return more
}

// hold delivers an event, after a time if there is one.
func (i *Injector) hold(d time.Duration, e env.Event) {
	if d > 0 {
		i.after(d, e)
		return
	}
	e.Deliver()
}

func (d *disk) failed(what string, err error) error {
	return fmt.Errorf("injected: %s of the %s disk: %w", what, d.name, err)
}

// BlockBytes implements env.Disk.
func (d *disk) BlockBytes() int { return d.disk.BlockBytes() }

// Open implements env.Disk.
func (d *disk) Open(o *env.DiskOpen) {
	done, began := o.Done, d.clock.Now()
	o.Done = func(o *env.DiskOpen) {
		if o.Err == nil {
			d.sizes[o.File] = o.Size
		}
		o.Done = done
		d.ended(began, o)
	}
	d.disk.Open(o)
}

// Read implements env.Disk.
func (d *disk) Read(o *env.DiskRead) {
	if d.struck(ReadError) != nil {
		o.N, o.Err = 0, d.failed("a read", env.ErrDiskIO)
		d.later(o)
		return
	}
	done, began := o.Done, d.clock.Now()
	o.Done = func(o *env.DiskRead) {
		o.Done = done
		d.ended(began, o)
	}
	d.disk.Read(o)
}

// Write implements env.Disk. Of a write that fails, the medium has all or nothing.
func (d *disk) Write(o *env.DiskWrite) {
	end := o.Offset + int64(len(o.Data))
	if end > d.sizes[o.File] && d.struck(Full) != nil {
		o.Err = d.failed("a write", env.ErrDiskFull)
		d.later(o)
		return
	}
	failure := d.struck(WriteError)
	if failure == nil && o.Durable {
		failure = d.struck(SyncError)
	}
	if failure != nil && failure.Effect == WriteError && d.random(failure)%2 == 0 {
		o.Err = d.failed("a write", env.ErrDiskIO)
		d.later(o)
		return
	}
	done, began := o.Done, d.clock.Now()
	o.Done = func(o *env.DiskWrite) {
		o.Done = done
		if o.Err == nil {
			d.sizes[o.File] = max(d.sizes[o.File], end)
		}
		if failure != nil {
			o.Err = d.failed("a write", env.ErrDiskIO)
		}
		d.ended(began, o)
	}
	d.disk.Write(o)
}

// Sync implements env.Disk.
func (d *disk) Sync(o *env.DiskSync) {
	if d.struck(SyncError) != nil {
		o.Err = d.failed("a sync", env.ErrDiskIO)
		d.later(o)
		return
	}
	done, began := o.Done, d.clock.Now()
	o.Done = func(o *env.DiskSync) {
		o.Done = done
		d.ended(began, o)
	}
	d.disk.Sync(o)
}

// Rename implements env.Disk.
func (d *disk) Rename(o *env.DiskRename) {
	done, began := o.Done, d.clock.Now()
	o.Done = func(o *env.DiskRename) {
		o.Done = done
		d.ended(began, o)
	}
	d.disk.Rename(o)
}

// Remove implements env.Disk.
func (d *disk) Remove(o *env.DiskRemove) {
	done, began := o.Done, d.clock.Now()
	o.Done = func(o *env.DiskRemove) {
		o.Done = done
		d.ended(began, o)
	}
	d.disk.Remove(o)
}

// List implements env.Disk.
func (d *disk) List(o *env.DiskList) {
	done, began := o.Done, d.clock.Now()
	o.Done = func(o *env.DiskList) {
		o.Done = done
		d.ended(began, o)
	}
	d.disk.List(o)
}

// Space implements env.Disk.
func (d *disk) Space(o *env.DiskSpace) {
	done, began := o.Done, d.clock.Now()
	o.Done = func(o *env.DiskSpace) {
		o.Done = done
		if d.struck(Full) != nil {
			o.UsableBytes = 0
		}
		d.ended(began, o)
	}
	d.disk.Space(o)
}

// Close implements env.Disk.
func (d *disk) Close(id env.FileID) {
	delete(d.sizes, id)
	d.disk.Close(id)
}
