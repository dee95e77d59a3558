package env

import (
	"errors"
	"log/slog"
	"time"
)

// Env is a node's environment: everything outside of the core. All fields are set before the node is built and
// never change.
type Env struct {
	Clock   Clock
	WAL     Disk // the device that acknowledged writes wait for
	Meta    Disk // the disk of the quorum's log and snapshots; may be the same device
	Network Network
	Store   ObjectStore
	Rand    Rand
	Compute Computer
	Memory  Memory
	Log     Logger
	Metrics Metrics
}

// Event is something the world delivers to a node's loop: a completed
// operation, or something that happened on a connection. Deliver is called by
// the loop, once.
type Event interface{ Deliver() }

// Time is nanoseconds on a node's monotonic clock. Its zero is arbitrary; it
// counts time that the machine was suspended; it never goes back within one
// incarnation.
type Time int64

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Clock reads a node's clocks and asks to be woken.
type Clock interface {
	// Now reads the monotonic clock.
	Now() Time
	// WallMillis reads the wall clock, in milliseconds since the Unix epoch.
	// It may jump in either direction: use it only for what clients see.
	WallMillis() int64
	// WakeAt asks for a turn of the loop at or after t, even if no event
	// arrives. Only the last call counts.
	WakeAt(t Time)
}

// Rand gives random draws that are keyed instead of sequential, so that adding
// or removing one draw moves no other.
type Rand interface {
	// Uint64 returns a uniformly distributed value. In the simulator it is a
	// pure function of (seed, node, purpose, entity, counter).
	Uint64(purpose string, entity, counter uint64) uint64
}

// Computer runs pure functions off the loop.
type Computer interface {
	// Submit runs c.Work once, elsewhere, and delivers c.
	Submit(c *Compute)
}

// Compute is a pure function over lent inputs. Work must not touch anything
// the loop may change meanwhile.
type Compute struct {
	// Class says what waits for it; what is unstated is the most urgent.
	Class ComputeClass
	Work  func()
	Done  func(*Compute)
}

// ComputeClass says how urgent a computation is: a world that cannot run all at once prefers the lower class. No order is promised, neither
// within a class nor between classes.
type ComputeClass uint8

// The classes, the most urgent first.
const (
	ComputeAck        ComputeClass = iota // somebody waits for an acknowledgement, or for an answer about groups or offsets
	ComputeTail                           // reads of recent records; snapshots of the metadata, for which all that is committed waits
	ComputeUpload                         // uploads
	ComputeCatchUp                        // reads of what is in the object store
	ComputeCompaction                     // nobody waits
	ComputeClasses    = iota              // number of them
)

// String names a class, as metrics do.
func (c ComputeClass) String() string {
	return [ComputeClasses]string{"ack", "tail", "upload", "catch_up", "compaction"}[c]
}

// Deliver implements Event.
func (c *Compute) Deliver() { c.Done(c) }

// Logger takes structured log lines. It adds the time and never blocks.
type Logger interface {
	Log(level slog.Level, message string, attrs ...slog.Attr)
}

// Metrics makes handles, once, at start. Handles are cheap and never block.
// Names follow Prometheus (snake case, base units, _total for counters). The name of a counter
// or gauge may end in labels: name{label="value"}, sorted, without spaces.
type Metrics interface {
	Counter(name, help string) Counter
	Gauge(name, help string) Gauge
	Histogram(name, help string) Histogram
}

// Counter only grows.
type Counter interface{ Add(n int64) }

// Gauge is a value at this moment.
type Gauge interface{ Set(v int64) }

// Histogram records values in nanoseconds or bytes, as its name says.
type Histogram interface{ Observe(v int64) }

// Errors that callers branch on.
var (
	ErrNotExist  = errors.New("no such file")
	ErrExist     = errors.New("file exists")
	ErrDiskFull  = errors.New("disk is full")
	ErrDiskIO    = errors.New("disk I/O failed") // durability of what was in flight is unknown; never retry a write
	ErrConnGone  = errors.New("connection is closed")
	ErrAddrInUse = errors.New("address is in use")
)
