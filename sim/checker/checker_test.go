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

func data(base int64, id, records, epoch int32) Batch {
	return Batch{Base: base, ID: id, Records: records, Epoch: epoch}
}

func (s *story) look(timestamp, offset, found int64) {
	s.Lookups = append(s.Lookups, Lookup{Call: s.stamp(), Return: s.stamp(), Timestamp: timestamp, Offset: offset, Found: found})
}

// mixedMax is the offset, from base 0, of the largest timestamp of a batch.
func mixedMax(a *Append) int64 {
	for i := range a.Records {
		if a.At(i) == a.Max() {
			return int64(i)
		}
	}
	return unknown
}

func (s *story) end(asked, epoch int32, end int64) {
	s.Ends = append(s.Ends, EpochEnd{Call: s.stamp(), Return: s.stamp(), Asked: asked, Epoch: epoch, End: end})
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
			s.read(0, 3, data(0, 0, 2, 0), data(2, 1, 1, 0))
			s.read(1, 3, data(0, 0, 2, 0))
			s.drain(0, 3, data(0, 0, 2, 0), data(2, 1, 1, 0))
		}},
		{"good: an unknown append that happened", "", false, func(s *story) {
			s.append(1, 0)
			s.open(1)
			s.append(1, 2)
			s.drain(0, 3, data(0, 0, 1, 0), data(1, 1, 1, 0), data(2, 2, 1, 0))
		}},
		{"good: an unknown append that happened late", "", false, func(s *story) {
			s.open(1)
			s.append(1, 0)
			s.read(0, 1, data(0, 1, 1, 0))
			s.drain(0, 2, data(0, 1, 1, 0), data(1, 0, 1, 0))
		}},
		{"good: an unknown append that never happened", "", false, func(s *story) {
			s.open(1)
			s.append(1, 0)
			s.drain(0, 1, data(0, 1, 1, 0))
		}},
		{"good: concurrent appends in either order", "", false, func(s *story) {
			a := s.append(1, 1)
			s.append(1, 0)
			s.Appends[0].Return = s.stamp()
			_ = a
			s.drain(0, 2, data(0, 1, 1, 0), data(1, 0, 1, 0))
		}},
		{"good: trimmed on request", "", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.Trims = append(s.Trims, Trim{Outcome: Done, Before: 1, LogStart: 1, Call: s.stamp(), Return: s.stamp()})
			s.read(0, unknown).OutOfRange = true
			s.drain(1, 2, data(1, 1, 1, 0))
		}},
		{"inconsistent offsets, two acknowledgements", "I2", true, func(s *story) {
			s.append(1, 0)
			s.append(1, 0)
			s.drain(0, 1, data(0, 1, 1, 0))
		}},
		{"inconsistent offsets, two reads", "I2", true, func(s *story) {
			s.open(1)
			s.open(1)
			s.read(0, 1, data(0, 0, 1, 0))
			s.drain(0, 1, data(0, 1, 1, 0))
		}},
		{"overlapping batches", "I2", true, func(s *story) {
			s.append(3, 0)
			s.append(1, 2)
			s.drain(0, 3, data(0, 0, 3, 0))
		}},
		{"a value that nobody wrote", "I2", true, func(s *story) {
			s.append(1, 0)
			s.drain(0, 2, data(0, 0, 1, 0), data(1, 7, 1, 0))
		}},
		{"duplicate", "I6", true, func(s *story) {
			s.append(1, 0)
			s.drain(0, 2, data(0, 0, 1, 0), data(1, 0, 1, 0))
		}},
		{"duplicate of an unknown append", "I6", true, func(s *story) {
			s.open(1).Session = 1
			s.append(1, 1)
			s.drain(0, 3, data(0, 0, 1, 0), data(1, 1, 1, 0), data(2, 0, 1, 0))
		}},
		{"lost write at the end", "I1", true, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.drain(0, 1, data(0, 0, 1, 0))
		}},
		{"lost write, acknowledged without an offset", "I1", true, func(s *story) {
			s.append(1, 0)
			s.append(1, unknown)
			s.drain(0, 1, data(0, 0, 1, 0))
		}},
		{"lost write that had been read", "I1", true, func(s *story) {
			s.append(1, 0)
			s.open(1)
			s.read(1, 2, data(1, 1, 1, 0))
			s.drain(0, 1, data(0, 0, 1, 0))
		}},
		{"lost write in a second drain", "I1", true, func(s *story) {
			s.append(1, 0)
			s.drain(0, 1, data(0, 0, 1, 0))
			s.drain(0, 0)
		}},
		{"aborted read", "I6", false, func(s *story) {
			a := s.open(1)
			a.Outcome, a.Return = Failed, s.stamp()
			s.drain(0, 1, data(0, 0, 1, 0))
		}},
		{"read from the future", "I2", true, func(s *story) {
			s.read(0, 1, data(0, 0, 1, 0))
			s.append(1, 0)
		}},
		{"real-time order", "I2", true, func(s *story) {
			s.append(1, 1)
			s.append(1, 0)
			s.drain(0, 2, data(0, 1, 1, 0), data(1, 0, 1, 0))
		}},
		{"stale read", "I3", true, func(s *story) {
			s.append(1, 0)
			s.read(0, 0)
		}},
		{"high watermark goes back", "I3", true, func(s *story) {
			s.open(1)
			s.read(0, 1, data(0, 0, 1, 0))
			s.read(0, 0)
		}},
		{"high watermark ahead", "I3", true, func(s *story) {
			s.read(0, 1)
			s.append(1, 0)
		}},
		{"high watermark above the log", "I1", true, func(s *story) {
			s.append(1, 0)
			s.read(0, 5, data(0, 0, 1, 0))
			s.drain(0, 1, data(0, 0, 1, 0))
		}},
		{"served above the high watermark", "I3", true, func(s *story) {
			s.open(1)
			s.read(0, 0, data(0, 0, 1, 0))
		}},
		{"latest goes back", "I3", false, func(s *story) {
			s.append(1, 0)
			s.Bounds = append(s.Bounds, Bound{Latest: true, Offset: 0, Call: s.stamp(), Return: s.stamp()})
		}},
		{"skip within a read", "I1", true, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.append(1, 2)
			s.read(0, 3, data(0, 0, 1, 0), data(2, 2, 1, 0))
		}},
		{"skip at the start of a read", "I1", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.read(0, 2, data(1, 1, 1, 0))
		}},
		{"a session out of order", "I6", false, func(s *story) {
			a := s.append(1, 1)
			a.Session, a.Sequence = 1, 0
			b := s.append(1, 0)
			b.Session, b.Sequence = 1, 1
			s.Appends[0].Return = s.stamp()
			s.drain(0, 2, data(0, 1, 1, 0), data(1, 0, 1, 0))
		}},
		{"a session with a hole", "I6", false, func(s *story) {
			a := s.open(1)
			a.Session, a.Sequence = 1, 0
			b := s.append(1, 0)
			b.Session, b.Sequence = 1, 1
			s.drain(0, 1, data(0, 1, 1, 0))
		}},
		{"trimmed unasked", "I1", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.Bounds = append(s.Bounds, Bound{Offset: 1, Call: s.stamp(), Return: s.stamp()})
			s.drain(1, 2, data(1, 1, 1, 0))
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
		{"good: the largest timestamp, in a batch of mixed ones", "", false, func(s *story) {
			a := s.append(3, 0)
			a.Timestamp, a.Mixed = 5, 100 // 5, 13, 76 more or less
			s.append(1, 3).Timestamp = 7
			s.look(MaxTimestamp, mixedMax(a), a.Max())
			s.look(6, 1, a.At(1))
		}},
		{"the largest timestamp is not the largest", "lookup", false, func(s *story) {
			a := s.append(3, 0)
			a.Timestamp, a.Mixed = 5, 100
			s.append(1, 3).Timestamp = 7
			s.look(MaxTimestamp, 3, 7)
		}},
		{"a lookup that takes a batch's first timestamp for all", "lookup", false, func(s *story) {
			a := s.append(3, 0)
			a.Timestamp, a.Mixed = 5, 100
			s.look(6, 0, 5)
		}},
		{"a lookup below the log start", "lookup", false, func(s *story) {
			s.append(1, 0).Timestamp = 5
			s.append(1, 1).Timestamp = 6
			s.Trims = append(s.Trims, Trim{Outcome: Done, Before: 1, LogStart: 1, Call: s.stamp(), Return: s.stamp()})
			s.Bounds = append(s.Bounds, Bound{Offset: 1, Call: s.stamp(), Return: s.stamp()})
			s.look(5, 0, 5)
		}},
		{"good: a lookup past what was deleted", "", false, func(s *story) {
			s.Retention.Bytes = 100
			s.append(1, 0).Timestamp = 5
			s.append(1, 1).Timestamp = 6
			s.Appends[1].Bytes = 100
			s.look(5, 1, 6)
			s.Bounds = append(s.Bounds, Bound{Offset: 1, Call: s.stamp(), Return: s.stamp()})
			s.Bounds[0].Call = 0
		}},
		{"good: retention by bytes and by time", "", false, func(s *story) {
			s.Retention = Retention{Millis: 50, Bytes: 100, WallBase: 1000}
			s.append(1, 0).Timestamp = 900 // old
			s.append(1, 1).Timestamp = 1000
			s.append(1, 2).Timestamp = 1000
			s.Appends[2].Bytes = 100
			s.Bounds = append(s.Bounds, Bound{Offset: 2, Call: s.stamp(), Return: s.stamp()})
		}},
		{"retention by bytes goes a batch too far", "I1", false, func(s *story) {
			s.Retention.Bytes = 100
			s.append(1, 0)
			s.append(1, 1)
			s.Appends[1].Bytes = 99
			s.Bounds = append(s.Bounds, Bound{Offset: 1, Call: s.stamp(), Return: s.stamp()})
		}},
		{"retention by time deletes what is young", "I1", false, func(s *story) {
			s.Retention = Retention{Millis: 50, WallBase: 1000}
			s.append(1, 0).Timestamp = 970
			s.append(1, 1).Timestamp = 1000
			s.Bounds = append(s.Bounds, Bound{Offset: 1, Call: s.stamp(), Return: s.stamp()})
		}},
		{"a high watermark above all that was sent", "I3", true, func(s *story) {
			s.append(1, 0)
			s.read(1, 2)
		}},
		{"good: leader epochs and their ends", "", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.read(0, 2, data(0, 0, 1, 3), data(1, 1, 1, 5))
			s.end(3, 3, 1)
			s.end(4, 3, 1)
			s.end(5, 5, 2)
			s.end(6, unknown, unknown)
		}},
		{"leader epochs fall", "epoch", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.read(0, 2, data(0, 0, 1, 5), data(1, 1, 1, 3))
		}},
		{"a batch changes its leader epoch", "epoch", false, func(s *story) {
			s.append(1, 0)
			s.read(0, 1, data(0, 0, 1, 3))
			s.read(0, 1, data(0, 0, 1, 4))
		}},
		{"an epoch ends too late", "epoch", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.read(0, 2, data(0, 0, 1, 3), data(1, 1, 1, 5))
			s.end(3, 3, 2)
		}},
		{"an epoch ends too early", "epoch", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.read(0, 2, data(0, 0, 1, 3), data(1, 1, 1, 3))
			s.end(3, 3, 1)
		}},
		{"the wrong epoch below", "epoch", false, func(s *story) {
			s.append(1, 0)
			s.append(1, 1)
			s.read(0, 2, data(0, 0, 1, 3), data(1, 1, 1, 4))
			s.end(5, 3, 2)
		}},
		{"a known epoch is not known", "epoch", false, func(s *story) {
			s.append(1, 0)
			s.read(0, 1, data(0, 0, 1, 3))
			s.end(3, unknown, unknown)
		}},
		{"an epoch above the one asked for", "epoch", false, func(s *story) {
			s.append(1, 0)
			s.end(3, 4, 1)
		}},
		{"a drain cut short", "I1", true, func(s *story) {
			s.append(1, 0)
			s.drain(0, 2, data(0, 0, 1, 0))
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
