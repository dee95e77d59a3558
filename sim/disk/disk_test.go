package disk

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/env/envtest"
	"weir/sim/event"
	"weir/sim/machine"
)

// rig is a disk with the mailbox of its present incarnation.
type rig struct {
	queue   *event.Queue
	disk    *Disk
	port    *Port // nil: the disk is the machine's own
	box     *machine.Box
	mailbox []env.Event
}

func newRig(seed uint64) *rig {
	r := &rig{queue: event.NewQueue(seed)}
	r.disk = New(r.queue, 0, "wal", Options{BlockBytes: 512})
	return r
}

func (r *rig) boot() env.Disk {
	r.box = machine.NewBox(0, 1, func(e env.Event) { r.mailbox = append(r.mailbox, e) })
	if r.port != nil {
		return r.port.Attach(r.box)
	}
	return r.disk.Attach(r.box)
}

func (r *rig) crash(power bool) env.Disk {
	r.box.Kill()
	r.mailbox = nil
	if r.port != nil {
		r.port.Crash(power)
	} else {
		r.disk.Crash(power)
	}
	return r.boot()
}

func (r *rig) pump() {
	for len(r.mailbox) == 0 && r.queue.Step() {
	}
	events := r.mailbox
	r.mailbox = nil
	for _, e := range events {
		e.Deliver()
	}
}

func TestContract(t *testing.T) {
	seed := uint64(0)
	envtest.TestDisk(t, func(testing.TB) envtest.Harness {
		seed++
		r := newRig(seed)
		return envtest.Harness{
			Disk: r.boot(), Memory: &machine.Memory{}, Pump: r.pump,
			Crash: func() (env.Disk, env.Memory) { return r.crash(true), &machine.Memory{} },
		}
	})
}

func TestMemoryContract(t *testing.T) {
	envtest.TestMemory(t, func(testing.TB) env.Memory { return &machine.Memory{} })
}

func open(r *rig, d env.Disk, name string) env.FileID {
	var id env.FileID
	d.Open(&env.DiskOpen{Name: name, Create: true, Done: func(o *env.DiskOpen) { id = o.File }})
	for id == 0 {
		r.pump()
	}
	return id
}

func write(r *rig, d env.Disk, id env.FileID, offset int64, data []byte, durable bool) error {
	done := false
	var err error
	d.Write(&env.DiskWrite{File: id, Offset: offset, Data: data, Durable: durable, Done: func(o *env.DiskWrite) { done, err = true, o.Err }})
	for !done {
		r.pump()
	}
	return err
}

func sync(r *rig, d env.Disk, id env.FileID) error {
	done := false
	var err error
	d.Sync(&env.DiskSync{File: id, Done: func(o *env.DiskSync) { done, err = true, o.Err }})
	for !done {
		r.pump()
	}
	return err
}

// TestCrashIsAsBadAsAllowed sees every fate of an unsynced write of two blocks:
// whole, absent, and torn both ways.
func TestCrashIsAsBadAsAllowed(t *testing.T) {
	seen := map[string]bool{}
	for seed := uint64(1); seed <= 200; seed++ {
		r := newRig(seed)
		d := r.boot()
		id := open(r, d, "f")
		write(r, d, id, 0, bytes.Repeat([]byte{'o'}, 1024), true)
		write(r, d, id, 0, bytes.Repeat([]byte{'n'}, 1024), false)
		r.crash(true)
		got := r.disk.Bytes("f")
		for _, half := range [][]byte{got[:512], got[512:1024]} {
			if !bytes.Equal(half, bytes.Repeat(half[:1], 512)) {
				t.Fatal("a block was torn within")
			}
		}
		seen[string([]byte{got[0], got[512]})] = true
	}
	for _, want := range []string{"oo", "nn", "on", "no"} {
		if !seen[want] {
			t.Errorf("never saw %q after a crash", want)
		}
	}
}

func TestKillKeepsTheCache(t *testing.T) {
	r := newRig(1)
	d := r.boot()
	id := open(r, d, "f")
	write(r, d, id, 0, bytes.Repeat([]byte{'n'}, 512), false)
	r.crash(false)
	if got := r.disk.Bytes("f"); len(got) != 512 || got[0] != 'n' {
		t.Fatal("a killed process lost the page cache")
	}
}

// TestFailedSyncIsNeverMended: a later sync says nothing of what a failed one covered.
func TestFailedSyncIsNeverMended(t *testing.T) {
	lost := false
	for seed := uint64(1); seed <= 50 && !lost; seed++ {
		r := newRig(seed)
		d := r.boot()
		id := open(r, d, "f")
		write(r, d, id, 0, bytes.Repeat([]byte{'o'}, 512), true)
		write(r, d, id, 0, bytes.Repeat([]byte{'n'}, 512), false)
		r.disk.Faults.SyncPPM = 1_000_000
		if err := sync(r, d, id); !errors.Is(err, env.ErrDiskIO) {
			t.Fatalf("sync: %v", err)
		}
		r.disk.Faults = Faults{}
		if err := sync(r, d, id); err != nil {
			t.Fatal(err)
		}
		r.crash(true)
		lost = r.disk.Bytes("f")[0] == 'o'
	}
	if !lost {
		t.Fatal("the second sync made durable what the first failed to")
	}
}

func TestFull(t *testing.T) {
	r := newRig(1)
	d := r.boot()
	id := open(r, d, "f")
	write(r, d, id, 0, make([]byte, 1024), true)
	r.disk.Faults.Full = true
	if err := write(r, d, id, 512, make([]byte, 1024), true); !errors.Is(err, env.ErrDiskFull) {
		t.Fatalf("growing on a full disk: %v", err)
	}
	if err := write(r, d, id, 0, make([]byte, 1024), true); err != nil {
		t.Fatalf("overwriting on a full disk: %v", err)
	}
}

func TestOverlapPanics(t *testing.T) {
	r := newRig(1)
	d := r.boot()
	id := open(r, d, "f")
	d.Write(&env.DiskWrite{File: id, Data: make([]byte, 512), Done: func(*env.DiskWrite) {}})
	defer func() {
		if recover() == nil {
			t.Fatal("an overlapping write was taken")
		}
	}()
	d.Write(&env.DiskWrite{File: id, Data: make([]byte, 512), Done: func(*env.DiskWrite) {}})
}

func space(r *rig, d env.Disk) *env.DiskSpace {
	done := false
	o := &env.DiskSpace{Done: func(*env.DiskSpace) { done = true }}
	d.Space(o)
	for !done {
		r.pump()
	}
	return o
}

// TestDisksShareAVolume: what one disk takes is missing to the other, and comes back when a file goes.
func TestDisksShareAVolume(t *testing.T) {
	r := newRig(1)
	volume := NewVolume(7, 4096)
	r.disk = New(r.queue, 0, "wal", Options{BlockBytes: 512, Volume: volume})
	other := New(r.queue, 0, "meta", Options{BlockBytes: 512, Volume: volume})
	a := r.boot()
	b := other.Attach(r.box)
	require.NoError(t, write(r, a, open(r, a, "f"), 0, make([]byte, 3072), true))
	id := open(r, b, "g")
	require.ErrorIs(t, write(r, b, id, 0, make([]byte, 2048), true), env.ErrDiskFull)
	require.NoError(t, write(r, b, id, 0, make([]byte, 512), true))
	got := space(r, b)
	require.Equal(t, []int64{7, 4096, 512}, []int64{int64(got.Volume), got.TotalBytes, got.UsableBytes})
	r.disk.Wipe()
	require.EqualValues(t, 3584, space(r, b).UsableBytes)
	other.CopyFrom(r.disk)
	require.EqualValues(t, 4096, space(r, a).UsableBytes)
}

// TestAPowerFailureShearsABlock: with the fault a block of a write in flight is part new, part old.
func TestAPowerFailureShearsABlock(t *testing.T) {
	sheared := false
	for seed := uint64(1); seed <= 50 && !sheared; seed++ {
		r := newRig(seed)
		d := r.boot()
		id := open(r, d, "f")
		require.NoError(t, write(r, d, id, 0, bytes.Repeat([]byte{'o'}, 512), true))
		r.disk.Faults.ShearPerMille = 1000
		d.Write(&env.DiskWrite{File: id, Data: bytes.Repeat([]byte{'n'}, 512), Durable: true})
		r.crash(true)
		got := r.disk.Bytes("f")
		sheared = got[0] == 'n' && got[511] == 'o'
	}
	require.True(t, sheared)
}
