package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	commitRate, commitCPU = "commit_rate", "commit_cpu"
	consumersOfGroup      = 10
)

func (c *coordinators) commitRow() coordinatorRow {
	title := fmt.Sprintf("%d consumers, ten to a group, %d commits of each under way, of %d offsets: ", c.consumers, c.inFlight, c.offsets)
	return coordinatorRow{"commits", []coordinatorFigure{
		{commitRate, title + "commits a second", "%.0f", 1},
		{commitCPU, title + "server CPU of a commit, µs", "%.0f", 1e6},
	}, (*coordinatorSession).commits}
}

// commits lets consumers commit offsets without being members, as those do that assign themselves.
func (s *coordinatorSession) commits(ctx context.Context) error {
	if err := awaitCoordinator(ctx, s.brokers); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	f, err := s.newFleet(ctx, fail, 1, consumersOfGroup*s.offsets)
	if err != nil {
		return err
	}
	pipes, err := newPipes(s.brokers, s.consumers)
	if err != nil {
		return err
	}
	defer closePipes(pipes)
	var committed atomic.Int64
	for i, p := range pipes {
		c := &committer{pipe: p, topic: f.topics[0], groups: []string{fmt.Sprintf("bench-commits-%d", i/consumersOfGroup)}, count: &committed, fail: fail}
		c.first, c.offsets = i%consumersOfGroup*s.offsets, s.offsets
		for range s.inFlight {
			c.commit(ctx)
		}
	}
	rate, cpu, err := s.counted(ctx, committed.Load)
	s.figures[commitRate] = rate
	if rate > 0 {
		s.figures[commitCPU] = cpu / rate
	}
	return err
}

// committer commits the offsets of some partitions again and again, for each of its groups in turn.
type committer struct {
	pipe           *pipe
	topic          string
	groups         []string
	first, offsets int
	next           atomic.Int64
	count          *atomic.Int64
	fail           context.CancelCauseFunc
}

func (c *committer) commit(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	at := c.next.Add(1)
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group = 9, c.groups[at%int64(len(c.groups))]
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = c.topic
	for i := range c.offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(c.first+i), at
		t.Partitions = append(t.Partitions, p)
	}
	r.Topics = append(r.Topics, t)
	c.pipe.send(r, func(response kmsg.Response, err error) {
		if err == nil {
			err = commitFailure(response.(*kmsg.OffsetCommitResponse))
		}
		if err != nil {
			c.fail(fmt.Errorf("commit: %w", err))
			return
		}
		c.count.Add(1)
		c.commit(ctx)
	})
}

func commitFailure(r *kmsg.OffsetCommitResponse) error {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}
