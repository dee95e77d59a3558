package faults

import (
	"slices"
	"time"
)

// Fault is one fault and its time. Its zero value is none; see the package comment for what the fields mean.
type Fault struct {
	Target Target
	Effect Effect
	At     time.Duration // from Since on
	For    time.Duration // 0: to the end
	Rate   Rate
	Since  Origin
	When   Moment        // of crash and kill
	By     time.Duration // what it is depends on the effect, never what its unit is; so with Times and Bytes
	Times  Times
	Bytes  int64 // a second
}

// Rate is a share of operations, in millionths. 0 is all of them.
type Rate int64

// All is the rate of a fault that strikes every operation.
const All Rate = 1_000_000

// PPM is the share in millionths, 1 to 1,000,000.
func (r Rate) PPM() int64 {
	if r == 0 {
		return int64(All)
	}
	return int64(r)
}

// Times is a factor, in thousandths.
type Times int64

// Of scales a time.
func (t Times) Of(d time.Duration) time.Duration { return d / 1000 * time.Duration(t) }

// Origin is what a fault's At counts from.
type Origin uint8

const (
	// Serving is when the broker serves; in the simulator, when the clients' workloads start.
	Serving Origin = iota
	// Boot is when the broker's process starts; in the simulator, its first start.
	Boot
)

// Moment is what a broker must be at for a fault to strike it.
type Moment uint8

const (
	// AtOnce is no particular moment.
	AtOnce Moment = iota
	// NextPut is when the next PUT has taken effect and its answer is under way.
	NextPut
	// NextWALWrite is while the next write of the log is in flight.
	NextWALWrite
	// NextMetaWrite is while the next write of the metadata disk is in flight.
	NextMetaWrite
	// NextSuperblock is while the next superblock of the log is being written.
	NextSuperblock
)

var (
	originNames = []string{"serving", "boot"}
	momentNames = []string{"", "put", "wal", "meta", "super"}
)

// Kind is a kind of target.
type Kind uint8

const (
	// Brokers are processes or the machines that they run on.
	Brokers Kind = iota
	// Disks are a broker's disks.
	Disks
	// Store is the object store.
	Store
	// Link is a direction of a network path, or both.
	Link
	// Clock is a broker's clock.
	Clock
)

// Target is what a fault strikes.
type Target struct {
	Kind Kind
	Disk string // of Disks: wal, meta, or * for both
	At   Party  // which brokers' process, disk, store or clock it is; of a Link: from whom
	To   Party  // of a Link: to whom
	Both bool   // of a Link: the other way, too
}

// Disk names.
const (
	WAL      = "wal"
	Meta     = "meta"
	AllDisks = "*"
)

// Role is what sort of a party one is.
type Role uint8

const (
	// Nodes are all brokers.
	Nodes Role = iota
	// Node is one broker, by Party.Number.
	Node
	// Zone is the brokers of a zone, by Party.Zone.
	Zone
	// Clients are all that are no brokers. Of links only, as are the following.
	Clients
	// Client is one client, by Party.Number; clients are numbered in the simulator only.
	Client
	// Anyone is brokers and clients.
	Anyone
)

// Party is one end of a link, or the brokers whose part of the world a fault strikes.
type Party struct {
	Role   Role
	Number int64  // of a Node (its node.id; in the simulator its machine, from 1 on) or of a Client; 0 and up
	Zone   string // letters, digits, and . _ - within
}

// Place is where a broker is: by it a fault's target is recognised.
type Place struct {
	Node int64
	Zone string
}

// Has reports whether a broker is among the party.
func (p Party) Has(at Place) bool {
	switch p.Role {
	case Nodes, Anyone:
		return true
	case Node:
		return p.Number == at.Node
	case Zone:
		return p.Zone == at.Zone
	}
	return false
}

// OnDisk reports whether the target is that disk of a broker.
func (t *Target) OnDisk(disk string, at Place) bool {
	return t.Kind == Disks && (t.Disk == disk || t.Disk == AllDisks) && t.At.Has(at)
}

// Effect is what a fault does to its target.
type Effect string

// The effects; see the package comment.
const (
	Crash      Effect = "crash"
	Kill       Effect = "kill"
	Stop       Effect = "stop"
	Pause      Effect = "pause"
	Clone      Effect = "clone"
	Isolate    Effect = "isolate"
	Slow       Effect = "slow"
	Stall      Effect = "stall"
	Full       Effect = "full"
	ReadError  Effect = "read-error"
	WriteError Effect = "write-error"
	SyncError  Effect = "sync-error"
	Shear      Effect = "shear"
	Restore    Effect = "restore"
	Lose       Effect = "lose"
	Refuse     Effect = "refuse"
	LostBefore Effect = "lost-before"
	LostAfter  Effect = "lost-after"
	Late       Effect = "late"
	Short      Effect = "short"
	Corrupt    Effect = "corrupt"
	DenyPut    Effect = "deny-put"
	DenyGet    Effect = "deny-get"
	Join       Effect = "join"
	Uplink     Effect = "uplink"
	Downlink   Effect = "downlink"
	Cut        Effect = "cut"
	Reset      Effect = "reset"
	Step       Effect = "step"
	Drift      Effect = "drift"
)

// traits say which fields an effect takes beside At and Since.
type traits struct {
	rate    bool // it strikes operations, one by one
	instant bool // it does not last: no For
	when    bool
	by      bool // needed, as are the others below
	times   bool
	bytes   bool
}

// effects are the effects of each kind of target.
var effects = [...]map[Effect]traits{
	Brokers: {Crash: {when: true}, Kill: {when: true}, Stop: {}, Pause: {}, Clone: {}, Isolate: {}},
	Disks: {
		Slow: {rate: true, times: true}, Stall: {rate: true, by: true}, Full: {}, ReadError: {rate: true}, WriteError: {rate: true},
		SyncError: {rate: true}, Shear: {rate: true}, Restore: {by: true}, Lose: {},
	},
	Store: {
		Refuse: {rate: true}, LostBefore: {rate: true}, LostAfter: {rate: true}, Late: {rate: true}, Short: {rate: true},
		Corrupt: {rate: true}, Slow: {rate: true, times: true}, Stall: {rate: true, by: true}, DenyPut: {rate: true},
		DenyGet: {rate: true}, Join: {rate: true}, Uplink: {bytes: true}, Downlink: {bytes: true},
	},
	Link:  {Cut: {}, Stall: {}, Slow: {rate: true, times: true}, Reset: {instant: true}},
	Clock: {Step: {instant: true, by: true}, Drift: {by: true}},
}

// effectsOf lists the names of a target's effects.
func effectsOf(k Kind) (names []string) {
	for e := range effects[k] {
		names = append(names, string(e))
	}
	slices.Sort(names)
	return names
}
