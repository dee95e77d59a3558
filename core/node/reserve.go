package node

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/task"
	"weir/core/wal"
)

// reserveName is a file of zeros on the log's disk. It is given up at a start that finds the disk full: a new log
// must begin before the logs of ended epochs, which may have filled the disk, can be uploaded and removed.
const reserveName = "reserve"

const (
	createRetry     = time.Second
	createWarnEvery = 30 // of such tries
)

// makeRoom runs after a log could not be created because the disk is full. It removes what the try left, and gives
// the reserve up; once there is none left, it waits for somebody to free space.
func (n *Node) makeRoom(p *task.Proc, try int, full error) error {
	if err := n.removeFromWAL(p, logName(n.epoch)); err != nil {
		return err
	}
	if try == 0 {
		n.telemetry.Hit("node: the reserve was given up")
		return n.removeFromWAL(p, reserveName)
	}
	if try%createWarnEvery == 1 {
		n.telemetry.Warn("the log's disk is full, and the start waits for room: free some space there, or move weir.wal.path to a larger disk with all of its files",
			slog.String("path", n.config.WALPath), slog.String("error", full.Error()))
	}
	p.Sleep(createRetry)
	return nil
}

func (n *Node) removeFromWAL(p *task.Proc, name string) error {
	remove := &env.DiskRemove{Name: name}
	p.Await(func(wake func()) {
		remove.Done = func(*env.DiskRemove) { wake() }
		n.env.WAL.Remove(remove)
	})
	return remove.Err
}

// waitForReserve makes the reserve once there is room for it: the first that the logs of ended epochs give back. Until
// then the log does not grow, or it would take that room, and the next start would find none.
func (n *Node) waitForReserve(p *task.Proc) {
	for {
		p.Sleep(createRetry)
		if n.failed || n.shutting {
			return
		}
		kept, err := n.keepReserve(p)
		if err != nil {
			n.fail(err)
			return
		}
		if kept {
			n.telemetry.Hit("node: the reserve was made later")
			n.log.HoldGrowth(false)
			return
		}
	}
}

// keepReserve makes the reserve, or what is missing of it. False means that the disk is full.
func (n *Node) keepReserve(p *task.Proc) (kept bool, err error) {
	open := &env.DiskOpen{Name: reserveName, Create: true}
	p.Await(func(wake func()) {
		open.Done = func(*env.DiskOpen) { wake() }
		n.env.WAL.Open(open)
	})
	if errors.Is(open.Err, env.ErrDiskFull) {
		return false, nil
	}
	if open.Err != nil {
		return false, fmt.Errorf("open the reserve on the log's disk: %w", open.Err)
	}
	write := &env.DiskWrite{File: open.File, Durable: true}
	if open.Size < wal.CreateBytes {
		slab := n.env.Memory.Alloc(wal.CreateBytes)
		write.Data = slab.Data[:wal.CreateBytes]
		write.Prepare = func() { clear(write.Data) }
		p.Await(func(wake func()) {
			write.Done = func(*env.DiskWrite) { wake() }
			n.env.WAL.Write(write)
		})
		slab.Release()
	}
	n.env.WAL.Close(open.File)
	if write.Err != nil && !errors.Is(write.Err, env.ErrDiskFull) {
		return false, fmt.Errorf("write the reserve on the log's disk: %w", write.Err)
	}
	return write.Err == nil, nil
}
