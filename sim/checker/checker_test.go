package checker

import (
	"math"
	"strings"
	"testing"
)

// story builds a history by hand; each operation takes two stamps unless given.
type story struct {
	Partition
	now int64
}

func newStory() *story { return &story{Partition: Partition{Name: "t-0"}} }

func (s *story) stamp() int64 { s.now += 10; return s.now }

// append records an acknowledged batch of n records at base; session 0 is plain.
func (s *story) append(n int32, base int64) *Append {
	call := s.stamp()
	s.Appends = append(s.Appends, Append{Records: n, Base: base, Outcome: Done, Call: call, Return: s.stamp()})
	return &s.Appends[len(s.Appends)-1]
}

func (s *story) open(n int32) *Append {
	s.Appends = append(s.Appends, Append{Records: n, Base: unknown, Call: s.stamp(), Return: math.MaxInt64})
	return &s.Appends[len(s.Appends)-1]
}

func (s *story) read(from, high int64, batches ...Batch) *Read {
	call := s.stamp()
	s.AddRead(Read{From: from, HighWatermark: high, LogStart: -1, Call: call, Return: s.stamp()}, batches)
	return &s.Reads[len(s.Reads)-1]
}

func (s *story) look(timestamp, offset, found int64) {
	s.Lookups = append(s.Lookups, Lookup{Call: s.stamp(), Return: s.stamp(), Timestamp: timestamp, Offset: offset, Found: found})
}

func (s *story) drain(start, end int64, batches ...Batch) {
	call := s.stamp()
	s.AddRead(Read{From: start, HighWatermark: end, LogStart: -1, Drain: int32(len(s.Drains) + 1), Call: s.stamp(), Return: s.stamp()}, batches)
	s.Drains = append(s.Drains, Drain{Call: call, Return: s.stamp(), Start: start, End: end})
}

func TestPlantedHistories(t *testing.T) {
	tests := []struct {
		name   string
		want   string // invariant; empty: good
		linear bool   // porcupine finds it too
		tell   func(s *story)
	}{
		{"good", "", false, func(s *story) {
			s.append(2, 0)
			s.append(1, 2)
			s.read(0, 3, Batch{0, 0, 2}, Batch{2, 1, 1})
			s.read(1, 3, Batch{0, 0, 2})
			s.drain(0, 3, Batch{0, 0, 2}, Batch{2, 1, 1})
		}},
		{"good: an unknown append that happened", "", false, func(s *story) {
			s.append(1, 0)
			s.open(1)
			s.append(1, 2)
			s.drain(0, 3, Batch{0, 0, 1}, Batch{1, 1, 1}, Batch{2, 2, 1})
		}},
		{"good: an unknown append that happened late", "", false, func(s *story) {
			s.open(1)
			s.append(1, 0)
			s.read(0, 1, Batch{0, 1, 1})
			s.drain(0, 2, Batch{0, 1, 1}, Batch{1, 0, 1})
		}},
		{"good: an unknown append that never happened", "", false, func(s *story) {
			s.open(1)
			s.append(1, 0)
			s.drain(0, 1, Batch{0, 1, 1})
		}},
		{"good: concurrent appends in either order", "", false, func(s *story) {
			a := s.append(1, 1)
			s.append(1, 0)
			s.Appends[0].Return = s.stamp()
			_ = a
			s.drain(0, 2, Batch{0, 1, 1}, Batch{1, 0, 1})
		}},
		{"good: trimmed on request", "", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.Trims = append(s.Trims, Trim{Outcome: Done, Before: 1, LogStart: 1, Call: s.stamp(), Return: s.stamp()})
			s.read(0, unknown).OutOfRange = true
			s.drain(1, 2, Batch{1, 1, 1})
		}},
		{"inconsistent offsets, two acknowledgements", "I2", true, func(s *story) {
			s.append(1, 0)
			s.append(1, 0)
			s.drain(0, 1, Batch{0, 1, 1})
		}},
		{"inconsistent offsets, two reads", "I2", true, func(s *story) {
			s.open(1)
			s.open(1)
			s.read(0, 1, Batch{0, 0, 1})
			s.drain(0, 1, Batch{0, 1, 1})
		}},
		{"overlapping batches", "I2", true, func(s *story) {
			s.append(3, 0)
			s.append(1, 2)
			s.drain(0, 3, Batch{0, 0, 3})
		}},
		{"a value that nobody wrote", "I2", true, func(s *story) {
			s.append(1, 0)
			s.drain(0, 2, Batch{0, 0, 1}, Batch{1, 7, 1})
		}},
		{"duplicate", "I6", true, func(s *story) {
			s.append(1, 0)
			s.drain(0, 2, Batch{0, 0, 1}, Batch{1, 0, 1})
		}},
		{"duplicate of an unknown append", "I6", true, func(s *story) {
			s.open(1).Session = 1
			s.append(1, 1)
			s.drain(0, 3, Batch{0, 0, 1}, Batch{1, 1, 1}, Batch{2, 0, 1})
		}},
		{"lost write at the end", "I1", true, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.drain(0, 1, Batch{0, 0, 1})
		}},
		{"lost write, acknowledged without an offset", "I1", true, func(s *story) {
			s.append(1, 0)
			s.append(1, unknown)
			s.drain(0, 1, Batch{0, 0, 1})
		}},
		{"lost write that had been read", "I1", true, func(s *story) {
			s.append(1, 0)
			s.open(1)
			s.read(1, 2, Batch{1, 1, 1})
			s.drain(0, 1, Batch{0, 0, 1})
		}},
		{"lost write in a second drain", "I1", true, func(s *story) {
			s.append(1, 0)
			s.drain(0, 1, Batch{0, 0, 1})
			s.drain(0, 0)
		}},
		{"aborted read", "I6", false, func(s *story) {
			a := s.open(1)
			a.Outcome, a.Return = Failed, s.stamp()
			s.drain(0, 1, Batch{0, 0, 1})
		}},
		{"read from the future", "I2", true, func(s *story) {
			s.read(0, 1, Batch{0, 0, 1})
			s.append(1, 0)
		}},
		{"real-time order", "I2", true, func(s *story) {
			s.append(1, 1)
			s.append(1, 0)
			s.drain(0, 2, Batch{0, 1, 1}, Batch{1, 0, 1})
		}},
		{"stale read", "I3", true, func(s *story) {
			s.append(1, 0)
			s.read(0, 0)
		}},
		{"high watermark goes back", "I3", true, func(s *story) {
			s.open(1)
			s.read(0, 1, Batch{0, 0, 1})
			s.read(0, 0)
		}},
		{"high watermark ahead", "I3", true, func(s *story) {
			s.read(0, 1)
			s.append(1, 0)
		}},
		{"high watermark above the log", "I1", true, func(s *story) {
			s.append(1, 0)
			s.read(0, 5, Batch{0, 0, 1})
			s.drain(0, 1, Batch{0, 0, 1})
		}},
		{"served above the high watermark", "I3", true, func(s *story) {
			s.open(1)
			s.read(0, 0, Batch{0, 0, 1})
		}},
		{"latest goes back", "I3", false, func(s *story) {
			s.append(1, 0)
			s.Bounds = append(s.Bounds, Bound{Latest: true, Offset: 0, Call: s.stamp(), Return: s.stamp()})
		}},
		{"skip within a read", "I1", true, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.append(1, 2)
			s.read(0, 3, Batch{0, 0, 1}, Batch{2, 2, 1})
		}},
		{"skip at the start of a read", "I1", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.read(0, 2, Batch{1, 1, 1})
		}},
		{"a session out of order", "I6", false, func(s *story) {
			a := s.append(1, 1)
			a.Session, a.Sequence = 1, 0
			b := s.append(1, 0)
			b.Session, b.Sequence = 1, 1
			s.Appends[0].Return = s.stamp()
			s.drain(0, 2, Batch{0, 1, 1}, Batch{1, 0, 1})
		}},
		{"a session with a hole", "I6", false, func(s *story) {
			a := s.open(1)
			a.Session, a.Sequence = 1, 0
			b := s.append(1, 0)
			b.Session, b.Sequence = 1, 1
			s.drain(0, 1, Batch{0, 1, 1})
		}},
		{"trimmed unasked", "I1", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.Bounds = append(s.Bounds, Bound{Offset: 1, Call: s.stamp(), Return: s.stamp()})
			s.drain(1, 2, Batch{1, 1, 1})
		}},
		{"log start goes back", "trim", false, func(s *story) {
			s.append(2, 0)
			s.Trims = append(s.Trims, Trim{Outcome: Done, Before: 2, LogStart: 2, Call: s.stamp(), Return: s.stamp()})
			s.Bounds = append(s.Bounds, Bound{Offset: 0, Call: s.stamp(), Return: s.stamp()})
		}},
		{"out of range though there", "I1", false, func(s *story) {
			s.append(2, 0)
			s.read(0, unknown).OutOfRange = true
		}},
		{"good: timestamps looked up", "", false, func(s *story) {
			s.append(2, 0).Timestamp = 5
			s.append(1, 2).Timestamp = 9
			s.look(4, 0, 5)
			s.look(6, 2, 9)
			s.look(10, -1, -1)
		}},
		{"a lookup that leads past", "lookup", false, func(s *story) {
			s.append(1, 0).Timestamp = 5
			s.append(1, 1).Timestamp = 9
			s.look(4, 1, 9)
		}},
		{"a lookup that finds nothing", "lookup", false, func(s *story) {
			s.append(1, 0).Timestamp = 5
			s.look(4, -1, -1)
		}},
		{"a lookup that leads too low", "lookup", false, func(s *story) {
			s.append(1, 0).Timestamp = 5
			s.look(6, 0, 5)
		}},
		{"a drain cut short", "I1", true, func(s *story) {
			s.append(1, 0)
			s.drain(0, 2, Batch{0, 0, 1})
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStory()
			test.tell(s)
			found := CheckLog(&s.Partition)
			switch {
			case test.want == "" && len(found) > 0:
				t.Errorf("a good history was judged bad: %v", found)
			case test.want != "" && len(found) == 0:
				t.Errorf("not found")
			case test.want != "" && found[0].Invariant != test.want && !strings.Contains(names(found), test.want):
				t.Errorf("found %v, want %s", found, test.want)
			}
			violation, took := CheckLinear(&s.Partition)
			if took && (violation != nil) != test.linear {
				t.Errorf("porcupine says %v", violation)
			}
		})
	}
}

func names(found []Violation) string {
	var b strings.Builder
	for _, v := range found {
		b.WriteString(v.Invariant + " ")
	}
	return b.String()
}
