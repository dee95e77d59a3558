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

// reserves are small files beside the logs that keep room for what the next starts write before they can
// free any: the head of a log each, and records of the metadata that share the volume.
const (
	reservePrefix = "reserve-"
	reserves      = 8
	reserveBytes  = 64 << 10
	// reservesRoom is what is usable before reserves are made again on a shared volume: as much is left to the
	// metadata, for which they may have been given up a moment ago.
	reservesRoom = 2 * reserves * reserveBytes
)

// The log of a volume that the metadata share grows only as long as an eighth of the volume stays usable: at
// least 16 MiB, which hold the metadata's log until a snapshot replaces it, and small snapshots; at most 128 MiB.
// On a volume below 32 MiB it is half.
const (
	floorPart     = 8
	floorBytesMin = 16 << 20
	floorBytesMax = 128 << 20
)

const (
	roomRetry        = time.Second
	roomLineInterval = 30 * time.Second
)

// volume is what the start found out about the volumes of the log and of the metadata.
type volume struct {
	shared bool  // both lie on one
	floor  int64 // of the log's growth; see wal.Config
	total  int64 // of the log's volume; 0 if its disk cannot tell
	usable int64 // of it
}

// measureVolume asks both disks. One that cannot tell its room is taken to be alone on a large volume.
func (n *Node) measureVolume(p *task.Proc) volume {
	log, meta := n.space(p, n.env.WAL), n.space(p, n.env.Meta)
	if log.Err != nil || meta.Err != nil {
		n.lines.Warn(n.telemetry, "room unknown", n.loop.Now(), "the room on the volumes of log and metadata cannot be told: the log may take all of its own",
			slog.Any("log", log.Err), slog.Any("metadata", meta.Err))
		return volume{}
	}
	v := volume{shared: log.Volume == meta.Volume, total: log.TotalBytes, usable: log.UsableBytes}
	if v.shared {
		v.floor = min(max(v.total/floorPart, floorBytesMin), floorBytesMax, v.total/2)
	}
	return v
}

func (n *Node) space(p *task.Proc, d env.Disk) *env.DiskSpace {
	op := &env.DiskSpace{}
	p.Await(func(wake func()) {
		op.Done = func(*env.DiskSpace) { wake() }
		d.Space(op)
	})
	return op
}

// checkSize says if the volume cannot hold a log of the configured size.
func (n *Node) checkSize(v volume) {
	room := v.total - v.floor - reserves*reserveBytes - wal.CreateBytes
	if v.total == 0 || n.config.WALBytes <= room {
		return
	}
	n.telemetry.Hit("node: the volume is too small for the log")
	n.telemetry.Warn("the volume is too small for the log, which goes on with what there is: move weir.wal.path to a volume of twice weir.wal.size.bytes, or lower that",
		slog.String("path", n.config.WALPath), slog.Int64("volume_bytes", v.total), slog.Int64("log_bytes", max(room, 0)),
		slog.Int64("size_bytes", n.config.WALBytes))
}

// makeRoom gives up a reserve because the disk is full; if none is left it waits, says so now and then, and
// lets recovered logs be uploaded and removed meanwhile.
func (n *Node) makeRoom(p *task.Proc, full error) error {
	if err := n.removeFromWAL(p, logName(n.epoch)); err != nil {
		return err
	}
	given, err := n.giveUpReserve(p)
	if given || err != nil {
		return err
	}
	n.lines.Warn(n.telemetry, "no room for a log", n.loop.Now(),
		"the log's disk is full, and the start waits for room: free some space there, or move weir.wal.path to a larger disk with all of its files",
		slog.String("path", n.config.WALPath), slog.String("error", full.Error()))
	n.engine.UploadTails()
	p.Sleep(roomRetry)
	return nil
}

// reservePrefix is what the names of this node's reserves begin with. In a shared directory each node has its own.
func (n *Node) reservePrefix() string {
	if n.config.WALShared {
		return fmt.Sprintf("%s%d-", reservePrefix, n.config.NodeID)
	}
	return reservePrefix
}

// giveUpReserve removes the last reserve; false: there is none.
func (n *Node) giveUpReserve(p *task.Proc) (given bool, err error) {
	list := &env.DiskList{Prefix: n.reservePrefix()}
	p.Await(func(wake func()) {
		list.Done = func(*env.DiskList) { wake() }
		n.env.WAL.List(list)
	})
	if list.Err != nil || len(list.Files) == 0 {
		return false, list.Err
	}
	n.telemetry.Hit("node: a reserve was given up")
	return true, n.removeFromWAL(p, list.Files[len(list.Files)-1].Name)
}

func (n *Node) removeFromWAL(p *task.Proc, name string) error {
	remove := &env.DiskRemove{Name: name}
	p.Await(func(wake func()) {
		remove.Done = func(*env.DiskRemove) { wake() }
		n.env.WAL.Remove(remove)
	})
	return remove.Err
}

// metadataFull gives up a reserve for the metadata, if they share the log's volume.
func (n *Node) metadataFull() {
	if n.failed || n.shutting || n.freeing {
		return
	}
	n.freeing = true
	n.loop.Go("make room for the metadata", func(p *task.Proc) {
		err := n.freeForMetadata(p)
		n.freeing = false
		if err != nil {
			n.fail(err)
		}
	})
}

func (n *Node) freeForMetadata(p *task.Proc) error {
	if !n.measureVolume(p).shared {
		return nil
	}
	given, err := n.giveUpReserve(p)
	if given {
		n.telemetry.Hit("node: a reserve was given up for the metadata")
	}
	if given && n.log != nil {
		n.keepLogSmall()
	}
	return err
}

// keepLogSmall keeps the log from growing until all reserves are there again.
func (n *Node) keepLogSmall() {
	n.log.HoldGrowth(true)
	if !n.reserving {
		n.reserving = true
		n.loop.Go("keep reserves", n.waitForReserves)
	}
}

// waitForReserves lets the log grow once the reserves are there: a start that finds the disk full counts on them.
func (n *Node) waitForReserves(p *task.Proc) {
	for !n.failed && !n.shutting {
		n.writing = true
		kept, err := false, error(nil)
		if v := n.measureVolume(p); !v.shared || v.usable >= reservesRoom {
			kept, err = n.keepReserves(p)
		}
		n.writing = false
		if n.written != nil {
			n.written()
			return
		}
		if err != nil {
			n.fail(err)
			return
		}
		if kept {
			n.reserving = false
			n.log.HoldGrowth(false)
			return
		}
		n.telemetry.Hit("node: the reserves are made later")
		n.lines.Warn(n.telemetry, "no room for reserves", n.loop.Now(),
			"the log's disk is full, and the log may not grow before the reserves for the next starts are there: producers may be held up until uploads free a log, or somebody frees some space",
			slog.String("path", n.config.WALPath))
		p.Sleep(roomRetry)
	}
}

// awaitReserves waits until nothing of the reserves is in flight.
func (n *Node) awaitReserves(p *task.Proc) {
	if n.writing {
		p.Await(func(wake func()) { n.written = wake })
	}
}

// keepReserves sees that all reserves are there; kept is false if there is no room.
func (n *Node) keepReserves(p *task.Proc) (kept bool, err error) {
	kept = true
	for i := 0; i < reserves && kept && err == nil; i++ {
		kept, err = n.keepReserve(p, fmt.Sprintf("%s%d", n.reservePrefix(), i))
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
	if open.Size < reserveBytes {
		slab := n.env.Memory.Alloc(reserveBytes)
		write.Data = slab.Data[:reserveBytes]
		write.Prepare = func() { clear(write.Data) }
		p.Await(func(wake func()) {
			write.Done = func(*env.DiskWrite) { wake() }
			n.env.WAL.Write(write)
		})
		slab.Release()
	}
	n.env.WAL.Close(open.File)
	if errors.Is(write.Err, env.ErrDiskFull) {
		return false, n.removeFromWAL(p, name) // one that holds no room would be given up in vain
	}
	if write.Err != nil {
		return false, fmt.Errorf("write a reserve on the log's disk: %w", write.Err)
	}
	return true, nil
}
