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

// Reserves are files of zeros on the log's disk, each with the room that a log needs to begin. A start that finds the
// disk full gives one up: its log must begin before the logs of ended epochs, which may have filled the disk, can be
// uploaded and removed. There are several, since a start may end before it has made its own again.
const (
	reservePrefix   = "reserve-"
	reservesMax     = 8
	reserveLogBytes = 64 << 20 // of the log's size, for each reserve
)

const (
	createRetry     = time.Second
	createWarnEvery = 30 // of such tries
)

// reserves is how many there are to be: a small log has one.
func (n *Node) reserves() int {
	return int(min(max(n.config.WALBytes/reserveLogBytes, 1), reservesMax))
}

// makeRoom runs after a log could not be created because the disk is full. It removes what the try left, and gives
// a reserve up; if there is none, it waits for somebody to free space.
func (n *Node) makeRoom(p *task.Proc, try int, full error) error {
	if err := n.removeFromWAL(p, logName(n.epoch)); err != nil {
		return err
	}
	list := &env.DiskList{Prefix: reservePrefix}
	p.Await(func(wake func()) {
		list.Done = func(*env.DiskList) { wake() }
		n.env.WAL.List(list)
	})
	if list.Err != nil {
		return list.Err
	}
	if last := len(list.Files) - 1; last >= 0 {
		n.telemetry.Hit("node: a reserve was given up")
		return n.removeFromWAL(p, list.Files[last].Name)
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

// waitForReserves makes the reserves once there is room for them: the first that the logs of ended epochs give
// back. Until then the log does not grow, or it would take that room, and the next start would find none.
func (n *Node) waitForReserves(p *task.Proc) {
	for {
		p.Sleep(createRetry)
		if n.failed || n.shutting {
			return
		}
		kept, err := n.keepReserves(p)
		if err != nil {
			n.fail(err)
			return
		}
		if kept {
			n.telemetry.Hit("node: the reserves were made later")
			n.log.HoldGrowth(false)
			return
		}
	}
}

// keepReserves makes the reserves that are missing. False means that the disk is full.
func (n *Node) keepReserves(p *task.Proc) (kept bool, err error) {
	kept = true
	for i := 0; i < n.reserves() && kept && err == nil; i++ {
		kept, err = n.keepReserve(p, fmt.Sprintf("%s%d", reservePrefix, i))
	}
	return kept, err
}

func (n *Node) keepReserve(p *task.Proc, name string) (kept bool, err error) {
	open := &env.DiskOpen{Name: name, Create: true}
	p.Await(func(wake func()) {
		open.Done = func(*env.DiskOpen) { wake() }
		n.env.WAL.Open(open)
	})
	if errors.Is(open.Err, env.ErrDiskFull) {
		return false, nil
	}
	if open.Err != nil {
		return false, fmt.Errorf("open a reserve on the log's disk: %w", open.Err)
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
		return false, fmt.Errorf("write a reserve on the log's disk: %w", write.Err)
	}
	return write.Err == nil, nil
}
