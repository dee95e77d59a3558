package wal

import (
	"fmt"
	"time"

	"weir/core/env"
)

// Position is a logical byte position in one log; it only grows. Its place in
// the file is Position modulo the circular region.
type Position uint64

// noPosition stands for "none" where a position is stored.
const noPosition = ^Position(0)

// Config bounds a log. Values above a maximum are lowered to it.
type Config struct {
	// SizeBytes is the size of the circular region. Zero: 1 GiB. From 256 KiB to 64 TiB,
	// else Create fails. While nothing is trimmed, about that much is accepted.
	SizeBytes int64
	// SlabBytes is the size of a slab, the memory that groups are laid into one after
	// another. The log cache frees whole slabs. Zero: 8 MiB.
	SlabBytes int
	// GroupBytesMax is the size from which a group takes no further record. Zero: 2 MiB; 8 MiB of the object kind.
	// Maximum: SlabBytes and 1/8 of SizeBytes. A record that is larger is a group alone.
	GroupBytesMax int
	// AppendBytesMax is the largest payload of one Append. Zero: 128 MiB. Maximum: 1/4 of
	// SizeBytes, and 256 MiB. Recovery reads that far past the end, so more makes it longer.
	AppendBytesMax int
	// WritesInFlightMax bounds the groups at the device. Groups that are written and wait
	// for an earlier one do not count. Zero: 4. Maximum: 64. Of the object kind they count, and zero is 8.
	WritesInFlightMax int
	// SummaryEveryBytes is how many bytes of log follow a summary before the next one.
	// Zero: 32 MiB. Maximum: 1/4 of SizeBytes. More makes recovery read more, less makes
	// the log write more.
	SummaryEveryBytes int64
	// GrowBytes is how far ahead of use the file is written with zeros, so that an append
	// writes over allocated blocks. Zero: 64 MiB.
	GrowBytes int64
	// FloorBytes is the free space of the volume that growth leaves to others, such as
	// the metadata. Zero: growth may take all of it.
	FloorBytes int64
	// Shared says that other brokers reach the disk, and recover the log by Fence and Recover when they take this
	// broker for dead, which it may not be. A fence file lies beside the log then, and each group costs
	// a read of 4096 bytes after its write and before it is durable.
	Shared bool

	// LingerMin and LingerMax are of the object kind: how long a group gathers. One that is full goes at once. Others come
	// LingerMax apart on average, which bounds what the log costs while it is busy: a log that writes less often
	// saves up to LingerBurst groups for later, and while it has any saved a group waits only LingerMin. Zero: none, and 250 ms. More
	// makes fewer requests, less makes appends wait less.
	LingerMin, LingerMax time.Duration
	// LingerBurst is how many groups may follow one another LingerMin apart after a pause. Zero: 8. One: none is saved, and each
	// group waits for LingerMax after the one before it. More lets longer chains of appends that wait for each
	// other, as transactions are, pass quickly; the number of requests in a longer time stays the same.
	LingerBurst int
}

// CreateBytes is the room on the device that Create needs. The log grows behind it.
const CreateBytes = headBytes

const (
	regionBytesMin     = 256 << 10
	regionBytesMax     = 1 << 46
	appendBytesMaxHard = 256 << 20 // bounds what recovery allocates for one group
	inFlightMaxHard    = 64
)

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// resolve fills defaults in and rounds everything to blocks.
func (c Config) resolve() (Config, error) {
	c.SizeBytes = orDefault(c.SizeBytes, 1<<30) / blockBytes * blockBytes
	if c.SizeBytes < regionBytesMin || c.SizeBytes > regionBytesMax {
		return c, fmt.Errorf("create wal: size of %d bytes is outside [%d, %d]; change the configured size",
			c.SizeBytes, int64(regionBytesMin), int64(regionBytesMax))
	}
	c.SlabBytes = roundUp(orDefault(c.SlabBytes, 8<<20), blockBytes)
	c.GroupBytesMax = roundUp(orDefault(c.GroupBytesMax, 2<<20), blockBytes)
	c.GroupBytesMax = min(c.GroupBytesMax, c.SlabBytes, int(min(c.SizeBytes/8, appendBytesMaxHard))/blockBytes*blockBytes)
	c.AppendBytesMax = min(orDefault(c.AppendBytesMax, 128<<20), int(min(c.SizeBytes/4, appendBytesMaxHard)))
	c.WritesInFlightMax = min(orDefault(c.WritesInFlightMax, 4), inFlightMaxHard)
	c.SummaryEveryBytes = min(orDefault(c.SummaryEveryBytes, 32<<20), c.SizeBytes/4)
	c.LingerMax = orDefault(c.LingerMax, 250*time.Millisecond)
	c.LingerMin = min(c.LingerMin, c.LingerMax)
	c.LingerBurst = orDefault(c.LingerBurst, 8)
	c.GrowBytes = max(orDefault(c.GrowBytes, 64<<20)/blockBytes*blockBytes, blockBytes)
	return c, nil
}

// inFlightBytes bounds the groups in flight, unless one alone is larger. It is several times what
// the device has at once, so that one slow write does not leave it idle.
func (c *Config) inFlightBytes() int64 {
	return 4 * int64(c.WritesInFlightMax) * int64(c.GroupBytesMax)
}

// aheadBytes bounds how far beyond the start of a lost group recovery must look for later ones.
func (c *Config) aheadBytes() int64 {
	largest := max(c.GroupBytesMax, roundUp(groupHeaderBytes+recordBytes(c.AppendBytesMax), blockBytes))
	return c.inFlightBytes() + int64(largest) + blockBytes
}

// Owner is called when its append is durable, on the loop, in the order of all appends of
// the log; never for appends that are in flight when the log fails.
type Owner interface {
	// Durable says that the append is durable. It may append and trim.
	Durable(a *Append)
}

// Returner is an Owner that gets its append back if the log is given up because the process ends: the append is not
// durable, may be found by recovery or not, and nothing of it is lent any more.
type Returner interface{ Returned(a *Append) }

// Append is one batch to log. The caller owns the struct again at Durable, and
// changes nothing of it before.
type Append struct {
	Stream        uint64
	LeaderEpoch   int32
	BaseOffset    int64
	Offsets       int32  // how many offsets the batch takes
	Payload       []byte // lent until Durable, its CRC right: copied off the loop into the slab, patched there with BaseOffset and LeaderEpoch
	LogAppendTime int64  // milliseconds to stamp into the batch, or -1
	Owner         Owner

	// Set by Log.Append.
	At     Position
	Slab   *env.Slab // the slab that will hold the batch; valid to read once durable; whoever keeps it retains it
	Offset int       // of the batch in Slab.Data

	kind uint8
}

// Summarizer appends to dst what a recoverer needs to know without payloads:
// stream ends, producers, open transactions (R4), as of everything appended.
// Called at the end of a turn, never inside Append.
type Summarizer interface{ AppendSummary(dst []byte) []byte }

// CorruptError says that bytes which were acknowledged as durable cannot be
// read back. Nothing was changed; going on would lose acknowledged records.
type CorruptError struct {
	File    string   // or the name of an object log, or the key of an object of it
	At      Position // of the damage
	Durable Position // everything below it was acknowledged; the highest there is: nothing is known of that
	Reason  string
}

func (e *CorruptError) Error() string {
	if e.Durable == noPosition {
		return fmt.Sprintf("wal file %q is damaged: %s; recover the device, or restore the file or object, and start again. There is no way yet to give its records up",
			e.File, e.Reason)
	}
	return fmt.Sprintf("wal file %q is damaged at position %d: %s, yet everything below position %d was durable; "+
		"recover the device or restore the file, and start again. There is no way yet to give these records up",
		e.File, e.At, e.Reason, e.Durable)
}

// VersionError says that the file was written by another version of the format.
type VersionError struct {
	File    string
	Version uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("wal file %q has format version %d, this program reads version %d: start the version that wrote it",
		e.File, e.Version, FormatVersion)
}
