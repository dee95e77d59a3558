package disk

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/env/envtest"
	"weir/sim/machine"
)

// through is a rig of another machine, at a port of the same disk.
func (r *rig) through(p *Port) *rig { return &rig{queue: r.queue, disk: r.disk, port: p} }

func (r *rig) harness() envtest.Harness {
	return envtest.Harness{
		Disk: r.boot(), Memory: &machine.Memory{}, Pump: r.pump,
		Crash: func() (env.Disk, env.Memory) { return r.crash(true), &machine.Memory{} },
	}
}

func TestSharedContract(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		envtest.TestSharedDisk(t, func(testing.TB) envtest.SharedHarness {
			r := newRig(seed)
			return envtest.SharedHarness{A: r.through(r.disk.home).harness(), B: r.through(r.disk.Port(1)).harness()}
		})
	}
}

func TestContractThroughAPort(t *testing.T) {
	seed := uint64(0)
	envtest.TestDisk(t, func(testing.TB) envtest.Harness {
		seed++
		r := newRig(seed)
		return r.through(r.disk.Port(1)).harness()
	})
}

// two is a file of one disk that two machines have open.
type two struct {
	a, b         *rig
	diskA, diskB env.Disk
	fileA, fileB env.FileID
}

func newTwo(t *testing.T, seed uint64) *two {
	r := newRig(seed)
	s := &two{a: r.through(r.disk.home), b: r.through(r.disk.Port(1))}
	s.diskA, s.diskB = s.a.boot(), s.b.boot()
	s.fileA = open(s.a, s.diskA, "f")
	require.NoError(t, write(s.a, s.diskA, s.fileA, 0, bytes.Repeat([]byte{'o'}, 1024), true))
	s.fileB = open(s.b, s.diskB, "f")
	return s
}

func read(r *rig, d env.Disk, id env.FileID) (data []byte) {
	done := false
	o := &env.DiskRead{File: id, Data: make([]byte, 1024), Done: func(*env.DiskRead) { done = true }}
	for d.Read(o); !done; {
		r.pump()
	}
	return o.Data
}

// TestAReaderMeetsAWriteInFlight: of two blocks it sees every mixture, and what it has seen stays.
func TestAReaderMeetsAWriteInFlight(t *testing.T) {
	seen := map[string]bool{}
	for seed := uint64(1); seed <= 300; seed++ {
		s := newTwo(t, seed)
		s.a.disk.home.Faults.SlowPerMille = 50_000
		s.diskA.Write(&env.DiskWrite{File: s.fileA, Data: bytes.Repeat([]byte{'n'}, 1024), Durable: true, Done: func(*env.DiskWrite) {}})
		first, second := read(s.b, s.diskB, s.fileB), read(s.b, s.diskB, s.fileB)
		for _, at := range []int{0, 512} {
			require.Equal(t, bytes.Repeat(first[at:at+1], 512), first[at:at+512])
			require.False(t, first[at] == 'n' && second[at] == 'o', "a block went back")
		}
		seen[string([]byte{first[0], first[512]})] = true
	}
	require.Len(t, seen, 4)
}

// TestAPortThatIsCut: the zombie's write reaches the device when the cut ends, long after the other has read.
func TestAPortThatIsCut(t *testing.T) {
	s := newTwo(t, 1)
	s.a.disk.home.Cut = true
	done := false
	s.diskA.Write(&env.DiskWrite{File: s.fileA, Data: bytes.Repeat([]byte{'n'}, 1024), Durable: true, Done: func(*env.DiskWrite) { done = true }})
	for range 100 {
		require.EqualValues(t, 'o', read(s.b, s.diskB, s.fileB)[0])
	}
	s.a.queue.RunUntil(s.a.queue.Now().Add(time.Minute), func() bool { return false })
	require.Empty(t, s.a.mailbox)
	s.a.disk.home.Cut = false
	for !done {
		s.a.pump()
	}
	require.EqualValues(t, 'n', read(s.b, s.diskB, s.fileB)[0])
}

// TestACrashTakesBackItsOwnOnly: what a machine wrote and did not make durable may go with it, but not what the other wrote since.
func TestACrashTakesBackItsOwnOnly(t *testing.T) {
	seen := map[string]bool{}
	for seed := uint64(1); seed <= 100; seed++ {
		s := newTwo(t, seed)
		require.NoError(t, write(s.a, s.diskA, s.fileA, 0, bytes.Repeat([]byte{'a'}, 1024), false))
		require.NoError(t, write(s.b, s.diskB, s.fileB, 512, bytes.Repeat([]byte{'b'}, 512), false))
		s.a.crash(true)
		got := read(s.b, s.diskB, s.fileB)
		require.EqualValues(t, 'b', got[512])
		seen[string(got[:1])] = true
		require.NoError(t, write(s.b, s.diskB, s.fileB, 0, bytes.Repeat([]byte{'b'}, 512), true), "it is there still")
	}
	require.Equal(t, map[string]bool{"a": true, "o": true}, seen)
}

// TestFaultsOfAPort strike its machine alone.
func TestFaultsOfAPort(t *testing.T) {
	s := newTwo(t, 1)
	s.a.disk.home.Faults = Faults{WritePPM: 1_000_000, StallPPM: 1_000_000, Stall: time.Hour}
	began := s.a.queue.Now()
	require.NoError(t, write(s.b, s.diskB, s.fileB, 0, make([]byte, 512), true))
	require.Less(t, s.a.queue.Now().Sub(began), time.Hour)
	require.ErrorIs(t, write(s.a, s.diskA, s.fileA, 0, make([]byte, 512), true), env.ErrDiskIO)
	require.GreaterOrEqual(t, s.a.queue.Now().Sub(began), time.Hour)
}
