package quorum

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// storage is what is durable, as raft reads it: the entries since the snapshot, in memory. It
// implements raft.Storage.
type storage struct {
	hard    hardState
	members members // as of the last entry applied
	index   uint64  // of the snapshot
	term    uint64
	entries []*raftpb.Entry // index+1 ...

	// snapshot gives what is sent to a member that needs entries which are no longer here. Nil: nothing.
	snapshot func() (*raftpb.Snapshot, error)
}

func (s *storage) last() uint64 { return s.index + uint64(len(s.entries)) }

// changesUpTo reports whether a change of the members is committed by an index, and was not before.
func (s *storage) changesUpTo(commit uint64) bool {
	from, to := max(s.hard.commit, s.index), min(commit, s.last())
	return from < to && slices.ContainsFunc(s.entries[from-s.index:to-s.index], func(e *raftpb.Entry) bool { return e.GetType() != raftpb.EntryNormal })
}

// append adds entries that became durable. An entry at an index that is taken replaces it and
// everything after it; what the snapshot holds is passed over. Not ok if there is a gap.
func (s *storage) append(entries []*raftpb.Entry) (ok bool) {
	for _, e := range entries {
		switch i := e.GetIndex(); {
		case i <= s.index:
		case i > s.last()+1:
			return false
		case i <= s.last():
			// Into a new array: messages that are being sent hold parts of the old one.
			s.entries = append(slices.Clone(s.entries[:i-s.index-1]), e)
		default:
			s.entries = append(s.entries, e)
		}
	}
	return true
}

// restore replaces everything by a durable snapshot.
func (s *storage) restore(h *snapshotHeader) {
	s.members, s.index, s.term, s.entries = h.members, h.index, h.term, nil
}

// compact forgets the entries up to index, which a durable snapshot holds.
func (s *storage) compact(index, term uint64) {
	if index <= s.index {
		return
	}
	s.entries = append([]*raftpb.Entry(nil), s.entries[index-s.index:]...)
	s.index, s.term = index, term
}

func (s *storage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	hard := &raftpb.HardState{Term: new(s.hard.term), Vote: new(s.hard.vote), Commit: new(s.hard.commit)}
	return hard, s.members.confState(), nil
}

func (s *storage) FirstIndex() (uint64, error) { return s.index + 1, nil }
func (s *storage) LastIndex() (uint64, error)  { return s.last(), nil }

func (s *storage) Term(i uint64) (uint64, error) {
	switch {
	case i < s.index:
		return 0, raft.ErrCompacted
	case i == s.index:
		return s.term, nil
	case i > s.last():
		return 0, raft.ErrUnavailable
	}
	return s.entries[i-s.index-1].GetTerm(), nil
}

func (s *storage) Entries(low, high, bytesMax uint64) ([]*raftpb.Entry, error) {
	if low <= s.index {
		return nil, raft.ErrCompacted
	}
	if high > s.last()+1 {
		return nil, raft.ErrUnavailable
	}
	entries := s.entries[low-s.index-1 : high-s.index-1]
	n, bytes := 0, uint64(0)
	for n < len(entries) {
		bytes += uint64(proto.Size(entries[n]))
		if n > 0 && bytes > bytesMax {
			break
		}
		n++
	}
	return entries[:n:n], nil
}

// Snapshot implements raft.Storage.
func (s *storage) Snapshot() (*raftpb.Snapshot, error) {
	if s.snapshot == nil {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return s.snapshot()
}
