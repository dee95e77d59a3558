package envtest

import (
	"bytes"
	"errors"
	"testing"

	"weir/core/env"
)

// SharedHarness is one disk as two nodes have it attached.
type SharedHarness struct{ A, B Harness }

// sharedDisk is a harness with the operations of both made synchronous.
type sharedDisk struct {
	testing.TB
	a, b *disk
}

// TestSharedDisk runs the contract tests of a disk that several nodes use at once, with Direct files. fresh gives an
// empty one each time.
func TestSharedDisk(t *testing.T, fresh func(testing.TB) SharedHarness) {
	tests := []struct {
		name string
		run  func(*sharedDisk)
	}{
		{"OneSeesWhatTheOtherWrote", (*sharedDisk).testSeen},
		{"OneSeesTheOthersFiles", (*sharedDisk).testFiles},
		{"OneOfTwoCreatesExclusively", (*sharedDisk).testExclusive},
		{"WritesSideBySide", (*sharedDisk).testSideBySide},
		{"WritesOfOneBlockLeaveOneOfThem", (*sharedDisk).testOneBlock},
		{"AWriteInFlightIsReadOldOrNew", (*sharedDisk).testInFlight},
		{"ARemovedFileIsNeverOlder", (*sharedDisk).testRemoved},
		{"ACrashOfOneLeavesTheOthers", (*sharedDisk).testCrash},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := fresh(t)
			s := &sharedDisk{TB: t}
			s.a, s.b = attach(t, h.A), attach(t, h.B)
			test.run(s)
		})
	}
}

func attach(t testing.TB, h Harness) *disk {
	d := &disk{TB: t, Harness: h, block: h.Disk.BlockBytes()}
	directFiles[true](d)
	return d
}

// file is a file that A made, with n blocks, and B has open.
func (s *sharedDisk) file(n int) (a, b env.FileID) {
	s.Helper()
	a = s.a.create("file")
	s.a.write(a, 0, s.a.blocks(n, 1), true)
	o := s.b.open(env.DiskOpen{Name: "file"})
	if o.Err != nil || o.Size != int64(n*s.a.block) {
		s.Fatalf("the other opens %d bytes, %v", o.Size, o.Err)
	}
	return a, o.File
}

// testSeen: a read that begins after a write completed shows it, whether the reader has the file open, and read it, before or not.
func (s *sharedDisk) testSeen() {
	a, b := s.file(4)
	n := s.a.block
	for i := range byte(20) {
		s.b.read(b, 0, 4*n)
		s.a.write(a, n, s.a.blocks(2, 10+i), true)
		s.b.expect(s.b.read(b, n, 2*n), s.a.blocks(2, 10+i))
		s.b.write(b, 2*n, s.b.blocks(1, 50+i), true)
		s.a.expect(s.a.read(a, 2*n, n), s.b.blocks(1, 50+i))
	}
	s.a.write(a, 9*n, s.a.blocks(1, 3), true) // grows it
	s.b.expect(s.b.read(b, 9*n, 2*n), s.a.blocks(1, 3))
}

func (s *sharedDisk) testFiles() {
	s.file(3)
	if files := s.b.list(""); len(files) != 1 || files[0] != (env.FileInfo{Name: "file", Size: int64(3 * s.a.block)}) {
		s.Fatalf("the other lists %v", files)
	}
	s.b.remove("file")
	if o := s.a.open(env.DiskOpen{Name: "file"}); !errors.Is(o.Err, env.ErrNotExist) {
		s.Fatalf("a file that the other removed: %v", o.Err)
	}
}

func (s *sharedDisk) testExclusive() {
	for _, name := range []string{"x", "y", "z"} {
		s.a.Disk.Close(s.a.create(name))
		if o := s.b.open(env.DiskOpen{Name: name, Create: true, Exclusive: true}); !errors.Is(o.Err, env.ErrExist) {
			s.Fatalf("created twice: %v", o.Err)
		}
	}
}

// testSideBySide: writes of both to one file, of different blocks, all count.
func (s *sharedDisk) testSideBySide() {
	const writes = 16
	a, b := s.file(2 * writes)
	n := s.a.block
	left := map[*disk]int{s.a: writes, s.b: writes}
	for i := range 2 * writes {
		d, file := s.a, a
		if i%2 == 1 {
			d, file = s.b, b
		}
		d.Disk.Write(&env.DiskWrite{File: file, Offset: int64(i * n), Data: d.blocks(1, byte(100+i)), Durable: true, Done: func(o *env.DiskWrite) {
			if left[d]--; o.Err != nil {
				s.Errorf("write %d: %v", i, o.Err)
			}
		}})
	}
	s.pump(left)
	for i := range 2 * writes {
		s.b.expect(s.b.read(b, i*n, n), s.a.blocks(1, byte(100+i)))
	}
}

// pump pumps each until nothing of it is left.
func (s *sharedDisk) pump(left map[*disk]int) {
	s.Helper()
	for _, d := range []*disk{s.a, s.b} {
		for n := 0; left[d] > 0; n++ {
			if n > 1_000_000 {
				s.Fatal("an operation never completed")
			}
			d.Pump()
		}
	}
}

func (s *sharedDisk) testOneBlock() {
	a, b := s.file(1)
	left := map[*disk]int{s.a: 1, s.b: 1}
	s.a.Disk.Write(&env.DiskWrite{File: a, Data: s.a.blocks(1, 20), Durable: true, Done: func(*env.DiskWrite) { left[s.a]-- }})
	s.b.Disk.Write(&env.DiskWrite{File: b, Data: s.b.blocks(1, 30), Durable: true, Done: func(*env.DiskWrite) { left[s.b]-- }})
	s.pump(left)
	got := s.a.read(a, 0, s.a.block)
	if !bytes.Equal(got, s.a.blocks(1, 20)) && !bytes.Equal(got, s.a.blocks(1, 30)) {
		s.Fatal("a block is neither the one nor the other")
	}
	s.b.expect(s.b.read(b, 0, s.b.block), got)
}

// testInFlight: what a reader sees of another's write in flight is old or new, block by block, and new once it is done.
func (s *sharedDisk) testInFlight() {
	const n = 16
	a, b := s.file(n)
	before, after := s.a.blocks(n, 1), s.a.blocks(n, 101)
	done := false
	s.a.Disk.Write(&env.DiskWrite{File: a, Data: after, Durable: true, Done: func(*env.DiskWrite) { done = true }})
	got := s.b.read(b, 0, n*s.b.block)
	for i := range n {
		from, to := i*s.b.block, (i+1)*s.b.block
		if !bytes.Equal(got[from:to], before[from:to]) && !bytes.Equal(got[from:to], after[from:to]) {
			s.Fatalf("block %d is neither old nor new", i)
		}
	}
	s.a.wait(&done)
	s.b.expect(s.b.read(b, 0, n*s.b.block), after)
}

// testRemoved: who has a file open that the other removed reads what it held last, or fails; never anything older.
func (s *sharedDisk) testRemoved() {
	a, b := s.file(2)
	s.b.write(b, 0, s.b.blocks(1, 60), true)
	s.b.Disk.Close(b)
	s.b.remove("file")
	s.b.Disk.Close(s.b.create("file")) // another
	done := false
	o := &env.DiskRead{File: a, Data: s.a.aligned(s.a.block), Done: func(*env.DiskRead) { done = true }}
	s.a.Disk.Read(o)
	s.a.wait(&done)
	if o.Err == nil {
		s.a.expect(o.Data[:o.N], s.b.blocks(1, 60))
	}
}

// testCrash: what one wrote durably, and what it has open and in flight, outlives the other's crash.
func (s *sharedDisk) testCrash() {
	if s.b.Crash == nil {
		s.Skip("this world does not crash")
	}
	a, b := s.file(4)
	n := s.a.block
	s.b.write(b, 2*n, s.b.blocks(1, 70), true)
	done := false
	var err error
	s.a.Disk.Write(&env.DiskWrite{File: a, Data: s.a.blocks(1, 80), Durable: true, Done: func(o *env.DiskWrite) { done, err = true, o.Err }})
	s.b.Disk.Write(&env.DiskWrite{File: b, Offset: int64(3 * n), Data: s.b.blocks(1, 90), Durable: true, Done: func(*env.DiskWrite) {}})
	s.b.crash()
	s.a.wait(&done)
	if err != nil {
		s.Fatal(err)
	}
	s.a.expect(s.a.read(a, 0, n), s.a.blocks(1, 80))
	s.a.expect(s.a.read(a, 2*n, n), s.a.blocks(1, 70))
	o := s.b.open(env.DiskOpen{Name: "file"})
	if o.Err != nil {
		s.Fatal(o.Err)
	}
	s.b.expect(s.b.read(o.File, 0, n), s.b.blocks(1, 80))
}
