package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	reloadTime, reloadCommits = "reload_time", "reload_commits"
	// fetchedGroups are asked for in one request.
	fetchedGroups = 1000
)

func (c *coordinators) restartRow() coordinatorRow {
	title := fmt.Sprintf("%d groups, each with %d committed offsets, broker killed: ", c.restarted, c.offsets)
	return coordinatorRow{"restart", []coordinatorFigure{
		{reloadTime, title + "from the start until the offsets of all are fetched, s", "%.2f", 1},
		{reloadCommits, title + "commits before that", "%.0f", 1},
	}, (*coordinatorSession).reload}
}

// reload lets many groups commit, kills the broker, and starts it again.
func (s *coordinatorSession) reload(ctx context.Context) error {
	if err := s.commitOfAll(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if err := s.restart(ctx); err != nil {
		return err
	}
	if err := awaitCoordinator(ctx, s.brokers); err != nil {
		return err
	}
	if err := s.fetchAll(); err != nil {
		return err
	}
	s.figures[reloadTime] = time.Since(begin).Seconds()
	return nil
}

func restartedGroup(i int) string { return fmt.Sprintf("bench-restarted-%d", i) }

// commitOfAll lets groups commit until the load's time is over, and each has committed.
func (s *coordinatorSession) commitOfAll(ctx context.Context) error {
	if err := awaitCoordinator(ctx, s.brokers); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	f, err := s.newFleet(ctx, fail, 1, s.offsets)
	if err != nil {
		return err
	}
	pipes, err := newPipes(s.brokers, s.consumers)
	if err != nil {
		return err
	}
	defer closePipes(pipes)
	defer fail(nil)
	var committed atomic.Int64
	all := make([]*committer, s.consumers)
	for i := range all {
		all[i] = &committer{pipe: pipes[i], topic: f.topics[0], offsets: s.offsets, count: &committed, fail: fail}
	}
	for i := range s.restarted {
		c := all[i%len(all)]
		c.groups = append(c.groups, restartedGroup(i))
	}
	for _, c := range all {
		for range s.inFlight {
			c.commit(ctx)
		}
	}
	for end := time.Now().Add(s.warm + s.period); time.Now().Before(end) || !allCommitted(all, s.inFlight); {
		if err := sleep(ctx, convergedPoll); err != nil {
			return err
		}
	}
	s.figures[reloadCommits] = float64(committed.Load())
	return nil
}

// allCommitted reports whether each group has an acknowledged commit.
func allCommitted(all []*committer, inFlight int) bool {
	for _, c := range all {
		if c.next.Load() < int64(len(c.groups)+inFlight) {
			return false
		}
	}
	return true
}

// fetchAll asks for the offsets of all groups, which must all be there.
func (s *coordinatorSession) fetchAll() error {
	p, err := newPipe(s.brokers)
	if err != nil {
		return err
	}
	defer p.close()
	for first := 0; first < s.restarted; first += fetchedGroups {
		r := kmsg.NewPtrOffsetFetchRequest()
		r.Version = 9
		for i := first; i < min(first+fetchedGroups, s.restarted); i++ {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = restartedGroup(i)
			r.Groups = append(r.Groups, g)
		}
		response, err := p.call(r)
		if err != nil {
			return err
		}
		for _, g := range response.(*kmsg.OffsetFetchResponse).Groups {
			if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
				return fmt.Errorf("fetch the offsets of %s: %w", g.Group, err)
			}
			if len(g.Topics) != 1 || len(g.Topics[0].Partitions) != s.offsets {
				return fmt.Errorf("committed offsets of group %s are lost", g.Group)
			}
		}
	}
	return nil
}
