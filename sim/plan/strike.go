package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/faults"
)

// Strike is a fault as the simulator does it. It strikes the machine Node, or the machines of Zone,
// or all if both are 0. The rates of links to the object store are everybody's alone.
//
//	crash, kill, stop    power failure, SIGKILL, clean shutdown; restarted after For
//	crash-put, kill-put  the same, when the next PUT has taken effect and its answer is under way
//	crash-wal, kill-wal, crash-meta, kill-meta  the same, while the next write of that disk is in flight
//	crash-super, kill-super  the same, while the next superblock of the log is being written
//	pause                the loop stops for For
//	clock-step           the wall clock jumps by Amount
//	wal-*, meta-*        slow (Rate thousandths), stall (Rate millionths of operations, by Amount),
//	                     full, read-error, write-error, sync-error (Rate millionths)
//	wal-shear            a power failure leaves a block of a write in flight part new, part old (Rate thousandths)
//	store-*              refuse, lost-before, lost-after, late, short, corrupt, slow, deny-put, deny-get,
//	                     join (Rate thousandths); uplink, downlink (Rate bytes a second of each machine)
//	cut, cut-in, cut-out, stall, net-slow (Rate thousandths), reset    of Client, or of all if -1
//
// Those of a cluster strike the links between the machines that they name and all others:
//
//	peer-cut, peer-cut-in, peer-cut-out, peer-slow (Rate thousandths), peer-reset
//	isolate              cut off from other machines, from clients and from the object store
//	clock-drift          the clock runs Rate parts per million fast
//
// The faults below restore, clone or lose disks. They run one at a time: one that is due during another is
// skipped. Each begins with a power failure, and ends with what an operator would do.
//
//	meta-old     the metadata disk is replaced by its copy of Amount ago; after For, if the broker could not
//	             start from it, by the newer disk
//	disks-old    both disks are copied; Amount later the copies take their place, and after For the newer disks
//	             theirs, unless the copies went on
//	clone        a second machine starts from a copy of both disks; after For the one with the newer log goes on
//	meta-lost    the metadata disk is empty after For, and is rebuilt from the object store; so is the other disk if the
//	             WAL is always in the store
//
// Those of a cluster lose a log for good. After For the machine is switched on again, with what is left of its disks, and waits until an
// administrator gives its log up (R16):
//
//	wal-lost     the log's disk is empty
//	disks-lost   both disks are empty; the node returns as a new member of the quorum (R18). The second time in a run, and while there are less than
//	             three voters, it is wal-lost, since a quorum survives the loss of a minority. Of all machines: the cluster is rebuilt from the object
//	             store, as after the loss of all metadata disks (meta-lost)
//
// A plan's line may give a strike's kind and fields instead of a fault, as plans did before package faults:
// "fault wal-slow at=1s for=2s rate=3000".
type Strike struct {
	Kind   string        // one of FaultKinds, ClusterFaultKinds or LossKinds
	At     time.Duration // when it strikes, after the start of the workloads
	For    time.Duration // how long it lasts, or how long the machine is down
	Client int64         // whose connections; -1: all
	Rate   int64         // unit: see the kind
	Amount time.Duration // see the kind
	Node   int64         // machine; 0: each in Zone
	Zone   int64         // 0: any
	Early  int64         // not 0: At counts from before the broker's first start
}

// FaultKinds are the kinds of strikes, in the order in which the swarm draws them.
var FaultKinds = []string{
	"crash", "kill", "stop", "crash-put", "kill-put", "pause", "clock-step",
	"wal-slow", "wal-stall", "wal-full", "wal-read-error", "wal-write-error", "wal-sync-error",
	"meta-slow", "meta-stall", "meta-full", "meta-read-error", "meta-write-error", "meta-sync-error",
	"store-refuse", "store-lost-before", "store-lost-after", "store-late", "store-short", "store-corrupt", "store-slow",
	"cut", "cut-in", "cut-out", "stall", "net-slow", "reset",
	"crash-wal", "kill-wal", "crash-meta", "kill-meta",
	"store-deny-put", "store-deny-get", "store-join", "store-uplink", "store-downlink",
	"meta-old", "disks-old", "clone", "meta-lost",
	"crash-super", "kill-super", "wal-shear",
}

// ClusterFaultKinds are the kinds of strikes that only a cluster of several machines has.
var ClusterFaultKinds = []string{"peer-cut", "peer-cut-in", "peer-cut-out", "peer-slow", "peer-reset", "isolate", "clock-drift"}

// LossKinds are the kinds of strikes by which a cluster loses a log for good.
var LossKinds = []string{"wal-lost", "disks-lost"}

// unit is what a strike's Rate is.
type unit uint8

const (
	none unit = iota
	millionths
	thousandths // of operations
	factor      // in thousandths
	bandwidth   // bytes a second
	drift       // parts per million, which are microseconds a second
)

// kind is a kind of strike, and the fault that it is.
type kind struct {
	name   string
	on     faults.Kind
	disk   string
	effect faults.Effect
	when   faults.Moment
	unit   unit
}

// betweenBrokers is what the names of strikes of links between brokers begin with.
const betweenBrokers = "peer-"

var kinds = strikeKinds()

func strikeKinds() (all []kind) {
	for _, end := range []faults.Effect{faults.Crash, faults.Kill} {
		for moment, suffix := range []string{"", "-put", "-wal", "-meta", "-super"} {
			all = append(all, kind{name: string(end) + suffix, effect: end, when: faults.Moment(moment)})
		}
	}
	for _, effect := range []faults.Effect{faults.Stop, faults.Pause, faults.Clone, faults.Isolate} {
		all = append(all, kind{name: string(effect), effect: effect})
	}
	for _, disk := range []string{faults.WAL, faults.Meta} {
		for effect, unit := range map[faults.Effect]unit{
			faults.Slow: factor, faults.Stall: millionths, faults.Full: none, faults.ReadError: millionths,
			faults.WriteError: millionths, faults.SyncError: millionths,
		} {
			all = append(all, kind{name: disk + "-" + string(effect), on: faults.Disks, disk: disk, effect: effect, unit: unit})
		}
	}
	all = append(all,
		kind{name: "wal-shear", on: faults.Disks, disk: faults.WAL, effect: faults.Shear, unit: thousandths},
		kind{name: "meta-old", on: faults.Disks, disk: faults.Meta, effect: faults.Restore},
		kind{name: "disks-old", on: faults.Disks, disk: faults.AllDisks, effect: faults.Restore},
		kind{name: "meta-lost", on: faults.Disks, disk: faults.Meta, effect: faults.Lose},
		kind{name: "wal-lost", on: faults.Disks, disk: faults.WAL, effect: faults.Lose},
		kind{name: "disks-lost", on: faults.Disks, disk: faults.AllDisks, effect: faults.Lose},
		kind{name: "store-slow", on: faults.Store, effect: faults.Slow, unit: factor},
		kind{name: "store-uplink", on: faults.Store, effect: faults.Uplink, unit: bandwidth},
		kind{name: "store-downlink", on: faults.Store, effect: faults.Downlink, unit: bandwidth},
		kind{name: "clock-step", on: faults.Clock, effect: faults.Step},
		kind{name: "clock-drift", on: faults.Clock, effect: faults.Drift, unit: drift})
	for _, effect := range []faults.Effect{
		faults.Refuse, faults.LostBefore, faults.LostAfter, faults.Late, faults.Short, faults.Corrupt, faults.DenyPut, faults.DenyGet, faults.Join,
	} {
		all = append(all, kind{name: "store-" + string(effect), on: faults.Store, effect: effect, unit: thousandths})
	}
	for _, between := range []string{"", betweenBrokers} {
		all = append(all,
			kind{name: between + "cut", on: faults.Link, effect: faults.Cut}, kind{name: between + "cut-in", on: faults.Link, effect: faults.Cut},
			kind{name: between + "cut-out", on: faults.Link, effect: faults.Cut}, kind{name: between + "reset", on: faults.Link, effect: faults.Reset})
	}
	return append(all, kind{name: "stall", on: faults.Link, effect: faults.Stall},
		kind{name: "net-slow", on: faults.Link, effect: faults.Slow, unit: factor},
		kind{name: "peer-slow", on: faults.Link, effect: faults.Slow, unit: factor})
}

// Strikes are the plan's faults as the simulator does them. An error names a fault that it cannot do.
func (p *Plan) Strikes() ([]Strike, error) {
	strikes := make([]Strike, len(p.Faults))
	for i := range p.Faults {
		var err error
		if strikes[i], err = strikeOf(&p.Faults[i]); err != nil {
			return nil, err
		}
	}
	return strikes, nil
}

// strikeOf is a fault as the simulator does it.
func strikeOf(f *faults.Fault) (Strike, error) {
	s := Strike{At: f.At, For: f.For, Amount: f.By, Early: int64(f.Since)}
	err := f.Validate()
	if err == nil {
		err = s.aim(f)
	}
	if err == nil {
		err = s.measure(f)
	}
	if err != nil {
		return s, fmt.Errorf("the simulator cannot do %q: %w", f, err)
	}
	return s, nil
}

// aim finds the kind, and whom it strikes.
func (s *Strike) aim(f *faults.Fault) error {
	at := f.Target.At
	if f.Target.Kind == faults.Link {
		var err error
		if at, err = s.aimLink(f); err != nil {
			return err
		}
	} else {
		i := slices.IndexFunc(kinds, func(k kind) bool {
			return k.on == f.Target.Kind && k.disk == f.Target.Disk && k.effect == f.Effect && k.when == f.When
		})
		if i < 0 {
			return errors.New("it has no such fault for that target")
		}
		s.Kind = kinds[i].name
	}
	switch {
	case forAll(s.Kind) && at != (faults.Party{}):
		return errors.New("its links to the store are as wide for all brokers")
	case at.Role == faults.Node && at.Number < 1:
		return errors.New("its machines are numbered from 1 on")
	case at.Role == faults.Node:
		s.Node = at.Number
	case at.Role == faults.Zone:
		var err error
		if s.Zone, err = strconv.ParseInt(at.Zone, 10, 64); err != nil || s.Zone < 1 || strconv.FormatInt(s.Zone, 10) != at.Zone {
			return errors.New("its zones are numbers from 1 on")
		}
	}
	return nil
}

// forAll reports whether a kind of strikes is everybody's, or nobody's.
func forAll(kind string) bool { return kind == "store-uplink" || kind == "store-downlink" }

// aimLink finds which direction of which clients' links is struck, and of which brokers.
func (s *Strike) aimLink(f *faults.Fault) (brokers faults.Party, err error) {
	t := f.Target
	if t.At.Role <= faults.Zone && t.To.Role <= faults.Zone {
		return s.aimPeers(f)
	}
	inwards := t.At.Role == faults.Clients || t.At.Role == faults.Client
	client, brokers := t.To, t.At
	if inwards {
		client, brokers = t.At, t.To
	}
	switch client.Role {
	case faults.Client:
		s.Client = client.Number
	case faults.Clients:
		s.Client = -1
	default:
		return brokers, errNotAnyone
	}
	if brokers.Role > faults.Zone {
		return brokers, errNotAnyone
	}
	s.Kind, err = linkKind(f.Effect, t.Both, inwards)
	return brokers, err
}

var errNotAnyone = errors.New("its links are either between clients and brokers, or between brokers")

// aimPeers finds which direction of the links between brokers is struck, and those of which brokers with all others.
func (s *Strike) aimPeers(f *faults.Fault) (brokers faults.Party, err error) {
	t := f.Target
	brokers, others, inwards := t.At, t.To, false
	if brokers.Role == faults.Nodes {
		brokers, others, inwards = t.To, t.At, true
	}
	if brokers.Role == faults.Nodes || others.Role != faults.Nodes {
		return brokers, errors.New("its links between brokers are those of one, or of a zone, with all others: link:node:2<->nodes")
	}
	if f.Effect == faults.Stall {
		return brokers, errors.New("it stalls only what clients read: link:nodes->client:N")
	}
	kind, err := linkKind(f.Effect, t.Both, inwards)
	s.Kind = betweenBrokers + strings.TrimPrefix(kind, "net-")
	return brokers, err
}

func linkKind(effect faults.Effect, both, inwards bool) (string, error) {
	switch {
	case effect == faults.Cut && both:
		return "cut", nil
	case effect == faults.Cut && inwards:
		return "cut-in", nil
	case effect == faults.Cut:
		return "cut-out", nil
	case effect == faults.Stall && !both && !inwards:
		return "stall", nil
	case effect == faults.Stall:
		return "", errors.New("it stalls only what clients read: link:nodes->client:N")
	case !both:
		return "", errors.New("it does that both ways only: link:A<->B")
	case effect == faults.Slow:
		return "net-slow", nil
	}
	return string(effect), nil
}

// measure finds the rate in the kind's unit.
func (s *Strike) measure(f *faults.Fault) error {
	k := kindOf(s.Kind)
	if f.Rate != 0 && k.unit != millionths && k.unit != thousandths {
		return errors.New("it strikes all operations there, or none")
	}
	switch k.unit {
	case millionths:
		s.Rate = f.Rate.PPM()
	case thousandths:
		if s.Rate = f.Rate.PPM() / 1000; s.Rate*1000 != f.Rate.PPM() {
			return errors.New("its rate there is in tenths of a percent")
		}
	case factor:
		s.Rate = int64(f.Times)
	case bandwidth:
		s.Rate = f.Bytes
	case drift:
		if s.Rate, s.Amount = int64(f.By/time.Microsecond), 0; f.By%time.Microsecond != 0 {
			return errors.New("its clocks drift by whole millionths: by=1µs")
		}
	}
	return nil
}

func kindOf(name string) *kind {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	return &kinds[i]
}

// fault is the strike as a fault: strikeOf undoes it.
func (s *Strike) fault() (faults.Fault, error) {
	k := kindOf(s.Kind)
	f := faults.Fault{
		Target: faults.Target{Kind: k.on, Disk: k.disk}, Effect: k.effect, When: k.when,
		At: s.At, For: s.For, Since: faults.Origin(min(s.Early, 1)),
	}
	switch {
	case s.Node != 0:
		f.Target.At = faults.Party{Role: faults.Node, Number: s.Node}
	case s.Zone != 0:
		f.Target.At = faults.Party{Role: faults.Zone, Zone: strconv.FormatInt(s.Zone, 10)}
	}
	switch k.unit {
	case millionths:
		f.Rate = faults.Rate(s.Rate)
	case thousandths:
		f.Rate = faults.Rate(s.Rate * 1000)
	case factor:
		f.Times = faults.Times(s.Rate)
	case bandwidth:
		f.Bytes = s.Rate
	case drift:
		f.By = time.Duration(s.Rate) * time.Microsecond
	}
	if k.effect == faults.Step || k.effect == faults.Restore || k.on == faults.Disks && k.effect == faults.Stall {
		f.By = s.Amount
	}
	if k.on == faults.Link {
		f.Target = s.link(f.Target.At)
	}
	if strings.HasPrefix(s.Kind, betweenBrokers) && s.Node == 0 && s.Zone == 0 {
		return f, fmt.Errorf("%s: it needs a node or a zone, which is one side", s.Kind)
	}
	if (k.unit == millionths || k.unit == thousandths) && s.Rate == 0 {
		return f, fmt.Errorf("%s: a rate of 0 strikes nothing", s.Kind)
	}
	if f.Rate == faults.All {
		f.Rate = 0
	}
	return f, f.Validate()
}

// link is the path that is struck between brokers and their clients, or the other brokers.
func (s *Strike) link(brokers faults.Party) faults.Target {
	kind, between := strings.CutPrefix(s.Kind, betweenBrokers)
	far := faults.Party{Role: faults.Client, Number: s.Client}
	switch {
	case between:
		far = faults.Party{Role: faults.Nodes}
	case s.Client < 0:
		far = faults.Party{Role: faults.Clients}
	}
	if kind == "cut-out" || kind == "stall" {
		return faults.Target{Kind: faults.Link, At: brokers, To: far}
	}
	return faults.Target{Kind: faults.Link, At: far, To: brokers, Both: kind != "cut-in"}
}
