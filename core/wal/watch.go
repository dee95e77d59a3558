package wal

import (
	"fmt"

	"weir/core/env"
)

// watch is how the owner of a shared log learns that a recoverer has fenced it (R8). Whoever must not go on in a log that
// was fenced asks, gets a ticket, and waits until that is cleared: a read of the fence that began after it asked
// has found none. Then the recoverer reads the log only later, and finds there what was written before the question.
//
// A read begins for each question, while at most as many are in flight as groups are written at a time; a question
// that comes then shares the next read. A read clears the tickets of earlier ones as well, so that one which the
// device delays holds nothing up.
type watch struct {
	device  *device
	file    env.FileID
	slab    *env.Slab // a block for each read
	idle    []*watchRead
	reading int
	asked   uint64 // tickets given; the first is 1
	read    uint64 // tickets that a read which has begun will clear
	cleared uint64
}

// watchRead is one read of the fence. The structs are recycled.
type watchRead struct {
	watch  *watch
	ticket uint64 // what it clears
	op     env.DiskRead
}

// begin takes over the fence file once the log has its head.
func (w *watch) begin(file env.FileID) {
	n := w.device.log.config.WritesInFlightMax
	w.file, w.slab = file, w.device.log.env.Memory.Alloc(n*blockBytes)
	for i := range n {
		r := &watchRead{watch: w}
		r.op = env.DiskRead{File: file, Data: w.slab.Data[i*blockBytes : (i+1)*blockBytes], Done: r.done}
		w.idle = append(w.idle, r)
	}
}

// ask returns the ticket that must be cleared before what has been written may count.
func (w *watch) ask() (ticket uint64) {
	w.asked++
	w.submit()
	return w.asked
}

func (w *watch) submit() {
	n := len(w.idle)
	if n == 0 || w.read == w.asked {
		return
	}
	r := w.idle[n-1]
	w.idle = w.idle[:n-1]
	w.reading++
	w.read = w.asked
	r.ticket, r.op.N, r.op.Err = w.asked, 0, nil
	w.device.log.env.WAL.Read(&r.op)
}

func (r *watchRead) done(op *env.DiskRead) {
	w, l := r.watch, r.watch.device.log
	w.reading--
	w.idle = append(w.idle, r)
	if l.err != nil {
		w.abandon()
		return
	}
	if err := w.found(op); err != nil {
		l.fail(err)
		return
	}
	w.cleared = max(w.cleared, r.ticket)
	w.submit()
	w.device.confirmed(w.cleared)
}

// found is the error that a read of the fence ends the log with. Any byte that is not zero counts: a fence that is being
// written is one already.
func (w *watch) found(op *env.DiskRead) error {
	name := w.device.log.name
	switch {
	case op.Err != nil:
		return fmt.Errorf("read the fence of wal file %q: %w", name, op.Err)
	case op.N < len(op.Data):
		return fmt.Errorf("read the fence of wal file %q: %w: the file holds %d bytes, and had more", name, env.ErrDiskIO, op.N)
	case !allZero(op.Data):
		fence, _ := decodeFence(op.Data)
		return &FencedError{File: name, By: fence.by}
	}
	return nil
}

// abandon gives the memory up, now or when the last read has ended.
func (w *watch) abandon() {
	if w.slab != nil && w.reading == 0 {
		w.slab.Release()
		w.slab = nil
	}
}
