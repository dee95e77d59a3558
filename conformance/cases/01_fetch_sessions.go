package cases

import (
	"time"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchSessions are cases of KIP-227.
func fetchSessions() []suite.Case {
	return suite.OfAPI(1,
		suite.Case{Name: "session opens and sends changes only", Versions: from(7), Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			s := openSession(c, t, 0, 1)
			r := s.next(nil)
			c.Equal("Topics", len(r.Topics), 0)
			write(c, t, 1, 3)
			r = s.next(nil)
			c.Equal("Topics", len(r.Topics), 1)
			c.Equal("Partition", r.Topics[0].Partitions[0].Partition, 1)
			c.Equal("visible records", visible(r.Topics[0].Partitions[0]), 3)
		}},
		suite.Case{Name: "session forgets a partition", Versions: from(7), Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			s := openSession(c, t, 0, 1)
			forget := kmsg.NewFetchRequestForgottenTopic()
			forget.Topic, forget.TopicID, forget.Partitions = t.name, t.id, []int32{1}
			s.next(func(r *kmsg.FetchRequest) { r.ForgottenTopics = append(r.ForgottenTopics, forget) })
			write(c, t, 1, 3)
			write(c, t, 0, 1)
			r := s.next(nil)
			c.Equal("Topics", len(r.Topics), 1)
			c.Equal("Partition", r.Topics[0].Partitions[0].Partition, 0)
			c.Equal("Partitions", len(r.Topics[0].Partitions), 1)
		}},
		suite.Case{Name: "session with a wrong epoch", Versions: from(7), Run: func(c *suite.C) {
			s := openSession(c, newTopic(c, "t", 1), 0)
			s.epoch = 9
			c.Code(s.try(nil).ErrorCode, kerr.InvalidFetchSessionEpoch)
		}},
		suite.Case{Name: "session that is not there", Versions: from(7), Run: func(c *suite.C) {
			s := openSession(c, newTopic(c, "t", 1), 0)
			s.id++
			c.Code(s.try(nil).ErrorCode, kerr.FetchSessionIDNotFound)
		}},
		suite.Case{Name: "session that was closed", Versions: from(7), Run: func(c *suite.C) {
			s := openSession(c, newTopic(c, "t", 1), 0)
			epoch := s.epoch
			s.epoch = -1
			r := s.try(nil)
			c.OK(r.ErrorCode)
			c.Equal("SessionID", r.SessionID, 0)
			s.epoch = epoch
			c.Code(s.try(nil).ErrorCode, kerr.FetchSessionIDNotFound)
		}},
		suite.Case{Name: "session that is opened again", Versions: from(7), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			s := openSession(c, t, 0)
			r := readRequest(t, 0, 0)
			r.SessionID, r.SessionEpoch = s.id, 0
			again := suite.Call(c, r)
			c.OK(again.ErrorCode)
			c.True("the id is new", again.SessionID != 0 && again.SessionID != s.id)
			c.Code(s.try(nil).ErrorCode, kerr.FetchSessionIDNotFound)
		}},
		suite.Case{Name: "session reports an error once", Versions: from(7), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			s := openSession(c, t, 0)
			r := s.next(func(r *kmsg.FetchRequest) {
				*r = *readRequest(t, 0, 99)
			})
			c.Code(r.Topics[0].Partitions[0].ErrorCode, kerr.OffsetOutOfRange)
		}},
		suite.Case{Name: "session of a full cache", Versions: from(18), Serial: true, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			all := fillSessions(c, t)
			for _, s := range all {
				s.epoch = -1
				c.OK(s.try(nil).ErrorCode, "Fetch that closes a session")
			}
			var s *session
			c.Poll("there is room again", func() bool { s = tryOpen(c, t); return s != nil })
			s.epoch = -1
			c.OK(s.try(nil).ErrorCode, "Fetch that closes a session")
		}},
		suite.Case{Name: "session that is evicted", Versions: from(18), Serial: true, Slow: true, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			old := fillSessions(c, t)
			c.PollFor(3*time.Minute, "a session is old enough to be evicted", func() bool { return tryOpen(c, t) != nil })
			granted, slots := 1, c.ConfigInt("max.incremental.fetch.session.cache.slots", 10_000)
			c.PollFor(3*time.Minute, "new sessions have the place of all old ones", func() bool {
				for refused := 0; refused < 20; refused++ { // Kafka chooses one of several caches for each session
					if tryOpen(c, t) != nil {
						granted, refused = granted+1, 0
					}
				}
				return granted >= slots
			})
			c.Code(old[0].try(nil).ErrorCode, kerr.FetchSessionIDNotFound)
		}},
		suite.Case{Name: "session of a deleted topic", Versions: from(7), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			s := openSession(c, t, 0)
			deleteTopic(c, t)
			var r *kmsg.FetchResponse
			c.Poll("the topic is unknown", func() bool {
				r = s.next(nil)
				return len(r.Topics) > 0
			})
			c.Code(r.Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "session of a topic made again under its name", Versions: from(13), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			s := openSession(c, t, 0)
			deleteTopic(c, t)
			newTopic(c, "t", 1)
			var r *kmsg.FetchResponse
			c.Poll("the old id is unknown", func() bool {
				r = s.try(nil)
				s.epoch++
				return len(r.Topics) > 0
			})
			c.Code(r.Topics[0].Partitions[0].ErrorCode, kerr.InconsistentTopicID)
		}},
	)
}

// session is a fetch session.
type session struct {
	c     *suite.C
	id    int32
	epoch int32
}

// openSession opens one with partitions of a topic from offset 0.
func openSession(c *suite.C, t topic, partitions ...int32) *session {
	r := readRequest(t, partitions[0], 0)
	r.SessionEpoch = 0
	for _, p := range partitions[1:] {
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, readRequest(t, p, 0).Topics[0].Partitions...)
	}
	answer := suite.Call(c, r)
	c.OK(answer.ErrorCode, "the first Fetch")
	c.True("a session is given", answer.SessionID > 0)
	c.Equal("Partitions", len(answer.Topics[0].Partitions), len(partitions))
	return &session{c, answer.SessionID, 1}
}

// tryOpen opens a session of a topic's first partition; nil if the broker gives none.
func tryOpen(c *suite.C, t topic) *session {
	r := readRequest(t, 0, 0)
	r.SessionEpoch = 0
	answer := suite.Call(c, r)
	c.OK(answer.ErrorCode)
	if answer.SessionID == 0 {
		return nil
	}
	return &session{c, answer.SessionID, 1}
}

// fillSessions opens sessions until the broker gives no more.
func fillSessions(c *suite.C, t topic) (all []*session) {
	slots := c.ConfigInt("max.incremental.fetch.session.cache.slots", 10_000)
	for range slots + 1 {
		s := tryOpen(c, t)
		if s == nil {
			return all
		}
		all = append(all, s)
	}
	c.Fail("there are more than %d sessions", slots)
	return nil
}

// try fetches with the session's id and epoch. Change edits the request before these are set.
func (s *session) try(change func(*kmsg.FetchRequest)) *kmsg.FetchResponse {
	r := readRequest(topic{}, 0, 0)
	r.Topics = nil
	if change != nil {
		change(r)
	}
	r.SessionID, r.SessionEpoch = s.id, s.epoch
	return suite.Call(s.c, r)
}

// next fetches and wants success.
func (s *session) next(change func(*kmsg.FetchRequest)) *kmsg.FetchResponse {
	r := s.try(change)
	s.c.OK(r.ErrorCode)
	s.c.Equal("SessionID", r.SessionID, s.id)
	s.epoch++
	return r
}
