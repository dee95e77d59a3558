package broker

import (
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/wire"
)

// Codes of fetch sessions (KIP-227).
const (
	sessionEpochInitial = 0
	sessionEpochFinal   = -1
	sessionEvictionIdle = 2 * time.Minute // as Kafka's min.incremental.fetch.session.eviction.ms
	sessionPartsMax     = 1 << 19         // partitions of all sessions together: each costs some 200 bytes, and its topic's name
	maxEpoch            = 1<<31 - 1
)

// fetchKey names a partition in a session: by topic id from version 13 on, by
// name before.
type fetchKey struct {
	id    metadata.TopicID
	name  string
	index int32
}

// fetchPart is what a client asks of one partition, and what it was told last.
type fetchPart struct {
	fetchKey
	offset           int64
	maxBytes         int32
	leaderEpoch      int32 // -1: unknown to the client
	lastFetchedEpoch int32

	sentHighWatermark int64
	sentLogStart      int64
	foundAs           string // its topic's name when it was there last; empty: never
	previous, next    *fetchPart
	listed            bool
}

// ask takes over what a later request says of the partition.
func (p *fetchPart) ask(q *fetchPart) {
	p.offset, p.maxBytes, p.leaderEpoch, p.lastFetchedEpoch = q.offset, q.maxBytes, q.leaderEpoch, q.lastFetchedEpoch
}

// fetchSession is one client's set of partitions, in the order in which they are
// served. A partition that returned data goes to the end, so that none starves.
type fetchSession struct {
	id, epoch   int32
	byID        bool // by topic id
	parts       map[fetchKey]*fetchPart
	first, last *fetchPart
	used        env.Time
	newer       *fetchSession
	older       *fetchSession
}

func (s *fetchSession) link(p *fetchPart) {
	p.previous, p.next, p.listed = s.last, nil, true
	if s.last == nil {
		s.first = p
	} else {
		s.last.next = p
	}
	s.last = p
}

func (s *fetchSession) unlink(p *fetchPart) {
	if !p.listed {
		return
	}
	if p.previous == nil {
		s.first = p.next
	} else {
		p.previous.next = p.next
	}
	if p.next == nil {
		s.last = p.previous
	} else {
		p.next.previous = p.previous
	}
	p.previous, p.next, p.listed = nil, nil, false
}

// toEnd moves a partition behind the others.
func (s *fetchSession) toEnd(p *fetchPart) {
	if p.listed && s.last != p {
		s.unlink(p)
		s.link(p)
	}
}

// fetchSessions is the cache of sessions: a bounded number of slots, and a
// bounded number of partitions in all of them.
type fetchSessions struct {
	slots          int
	parts          int
	byID           map[int32]*fetchSession
	newest, oldest *fetchSession
	rand           env.Rand
	drawn          uint64
}

func newFetchSessions(slots int, rand env.Rand) *fetchSessions {
	return &fetchSessions{slots: slots, byID: make(map[int32]*fetchSession), rand: rand}
}

// open makes a session of the parts, or returns nil if there is no room: the
// client then goes on without one.
func (c *fetchSessions) open(parts []fetchPart, byID bool, now env.Time) *fetchSession {
	if c.parts+len(parts) > sessionPartsMax || !keepable(parts) || !c.makeRoom(now) {
		return nil
	}
	s := &fetchSession{id: c.draw(), epoch: 1, byID: byID, parts: make(map[fetchKey]*fetchPart, len(parts))}
	for i := range parts {
		s.put(&parts[i])
	}
	c.parts += len(s.parts)
	c.byID[s.id] = s
	c.touch(s, now)
	return s
}

// keepable reports whether all names can be those of topics: a session keeps them, and looks each up with every fetch.
func keepable(parts []fetchPart) bool {
	return !slices.ContainsFunc(parts, func(p fetchPart) bool { return len(p.name) > metadata.TopicNameBytesMax })
}

// put adds a partition or changes what is asked of it; true if it is new.
func (s *fetchSession) put(q *fetchPart) bool {
	if p := s.parts[q.fetchKey]; p != nil {
		p.ask(q)
		return false
	}
	p := *q
	p.sentHighWatermark, p.sentLogStart = -1, -1
	s.parts[p.fetchKey] = &p
	s.link(&p)
	return true
}

func (c *fetchSessions) draw() int32 {
	for {
		c.drawn++
		id := int32(c.rand.Uint64("fetch session", 0, c.drawn) & maxEpoch)
		if _, taken := c.byID[id]; id != 0 && !taken {
			return id
		}
	}
}

// makeRoom evicts the session that was used longest ago, if it idles.
func (c *fetchSessions) makeRoom(now env.Time) bool {
	if len(c.byID) < c.slots {
		return true
	}
	if c.oldest == nil || now.Sub(c.oldest.used) <= sessionEvictionIdle {
		return false
	}
	c.drop(c.oldest)
	return true
}

func (c *fetchSessions) drop(s *fetchSession) {
	if c.byID[s.id] != s {
		return
	}
	delete(c.byID, s.id)
	c.parts -= len(s.parts)
	c.unlink(s)
}

func (c *fetchSessions) unlink(s *fetchSession) {
	if s.newer != nil {
		s.newer.older = s.older
	} else if c.newest == s {
		c.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else if c.oldest == s {
		c.oldest = s.newer
	}
	s.newer, s.older = nil, nil
}

// touch makes s the newest.
func (c *fetchSessions) touch(s *fetchSession, now env.Time) {
	c.unlink(s)
	s.used = now
	s.older = c.newest
	if c.newest != nil {
		c.newest.newer = s
	}
	c.newest = s
	if c.oldest == nil {
		c.oldest = s
	}
}

// resume finds the session of an incremental fetch and applies its changes.
func (c *fetchSessions) resume(id, epoch int32, byID bool, changed []fetchPart, forgotten []fetchKey, now env.Time) (*fetchSession, wire.Code) {
	s := c.byID[id]
	switch {
	case s == nil:
		return nil, wire.FetchSessionIDNotFound
	case s.epoch != epoch:
		return nil, wire.InvalidFetchSessionEpoch
	case s.byID != byID:
		return nil, wire.FetchSessionTopicIDError
	case !keepable(changed):
		c.drop(s)
		return nil, wire.FetchSessionIDNotFound
	}
	for i := range changed {
		if s.put(&changed[i]) {
			c.parts++
		}
	}
	for _, key := range forgotten { // also what was just added
		if p := s.parts[key]; p != nil {
			s.unlink(p)
			delete(s.parts, key)
			c.parts--
		}
	}
	if c.parts > sessionPartsMax {
		c.drop(s)
		return nil, wire.FetchSessionIDNotFound
	}
	if s.epoch++; s.epoch < 0 {
		s.epoch = 1
	}
	c.touch(s, now)
	return s, wire.None
}

// goneCode is the code for a partition whose session knows its topic id, while the topic is gone.
func (f *fetching) goneCode(p *fetchPart) wire.Code {
	if _, code := f.plane.partitions.ByName(p.foundAs, p.index); code == wire.None {
		return wire.InconsistentTopicID // it was made again under its name
	}
	return wire.UnknownTopicOrPartition
}
