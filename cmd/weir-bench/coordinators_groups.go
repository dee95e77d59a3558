package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Figures of what brokers do with heartbeats.
const (
	consumerCPU, consumerBeats = "consumer_cpu", "consumer_beats"
	classicCPU, classicBeats   = "classic_cpu", "classic_beats"
	restartTime, restartCPU    = "restart_time", "restart_cpu"
	settleTime, firstTime      = "settle_time", "first_time"
)

func (c *coordinators) heartbeatFigures(protocol, cpu, beats string) []coordinatorFigure {
	title := fmt.Sprintf("%d groups of %d members of the %s protocol: ", c.groups, c.members, protocol)
	return []coordinatorFigure{
		{cpu, title + "server CPU, ms a second", "%.0f", 1000},
		{beats, title + "heartbeats a second", "%.0f", 1},
	}
}

func (c *coordinators) consumerRow() coordinatorRow {
	return coordinatorRow{"consumer", c.heartbeatFigures("consumer", consumerCPU, consumerBeats), (*coordinatorSession).consumerHeartbeats}
}

func (c *coordinators) classicRow() coordinatorRow {
	return coordinatorRow{"classic", c.heartbeatFigures("classic", classicCPU, classicBeats), (*coordinatorSession).classicHeartbeats}
}

func (c *coordinators) rebalanceRow() coordinatorRow {
	title := fmt.Sprintf("a group of %d members over %d partitions: ", c.hugeMembers, c.hugeTopics*c.topicPartitions)
	return coordinatorRow{"rebalance", []coordinatorFigure{
		{restartTime, title + fmt.Sprintf("rolling restart, %d at a time, until converged, s", c.restarting), "%.2f", 1},
		{settleTime, title + "of that, after the last restart, s", "%.2f", 1},
		{restartCPU, title + "server CPU of it, s", "%.2f", 1},
		{firstTime, title + "all members join, until converged, s", "%.2f", 1},
	}, (*coordinatorSession).rollingRestart}
}

// newFleet makes the topics of a load.
func (s *coordinatorSession) newFleet(ctx context.Context, fail context.CancelCauseFunc, topics, partitions int) (*fleet, error) {
	f := &fleet{partitions: topics * partitions, fail: fail}
	for range topics {
		l := &load{Brokers: s.brokers, Partitions: partitions}
		if err := newTopic(ctx, l); err != nil {
			return nil, err
		}
		if err := awaitLeaders(ctx, l); err != nil {
			return nil, err
		}
		f.topics = append(f.topics, l.Topic)
	}
	return f, nil
}

// groupLimit is how long a group may take to form or converge.
const groupLimit = 10 * time.Minute

// consumerHeartbeats lets many groups of the consumer protocol be.
func (s *coordinatorSession) consumerHeartbeats(ctx context.Context) error {
	if err := awaitCoordinator(ctx, s.brokers); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	f, err := s.newFleet(ctx, fail, 1, s.members)
	if err != nil {
		return err
	}
	pipes, err := newPipes(s.brokers, s.connections)
	if err != nil {
		return err
	}
	defer closePipes(pipes)
	groups := make([]*groupMembers, s.groups)
	for i := range groups {
		groups[i] = newGroupMembers(f, fmt.Sprintf("bench-consumer-%d", i))
		defer groups[i].stop()
	}
	if err := s.joinSpread(ctx, groups, pipes); err != nil {
		return err
	}
	if err := awaitAll(ctx, groups, s.members); err != nil {
		return err
	}
	s.figures[consumerBeats], s.figures[consumerCPU], err = s.counted(ctx, f.beats.Load)
	return err
}

// joinSpread lets all members join, over a heartbeat interval: so spread are their heartbeats from then on.
func (s *coordinatorSession) joinSpread(ctx context.Context, groups []*groupMembers, pipes []*pipe) error {
	all := len(groups) * s.members
	begin := time.Now()
	for i := range all {
		due := begin.Add(s.spread * time.Duration(i) / time.Duration(all))
		if err := sleep(ctx, time.Until(due)); err != nil {
			return err
		}
		groups[i%len(groups)].join(pipes[i%len(pipes)], fmt.Sprintf("member-%d", i), nil)
	}
	return nil
}

// awaitAll waits until all groups have converged, as far as their members see.
func awaitAll(ctx context.Context, groups []*groupMembers, members int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, groupLimit, fmt.Errorf("groups have not converged within %v", groupLimit))
	defer cancel()
	for _, g := range groups {
		for !g.converged(members) {
			if err := sleep(ctx, convergedPoll); err != nil {
				return err
			}
		}
	}
	return nil
}

// classicHeartbeats lets many groups of the classic protocol be. While a group forms, it has its connections for itself: JoinGroup
// and SyncGroup block those.
func (s *coordinatorSession) classicHeartbeats(ctx context.Context) error {
	if err := awaitCoordinator(ctx, s.brokers); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	pipes, err := newPipes(s.brokers, s.connections)
	if err != nil {
		return err
	}
	defer closePipes(pipes)
	groups := make([]*classicGroup, s.groups)
	lanes := s.connections / s.members
	var forming sync.WaitGroup
	for lane := range lanes {
		forming.Go(func() {
			for i := lane; i < len(groups) && ctx.Err() == nil; i += lanes {
				groups[i] = &classicGroup{id: fmt.Sprintf("bench-classic-%d", i), pipes: pipes[lane*s.members : (lane+1)*s.members]}
				if err := groups[i].form(); err != nil {
					fail(fmt.Errorf("group %d: %w", i, err))
				}
			}
		})
	}
	forming.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var beats atomic.Int64
	for i, g := range groups {
		for j := range g.ids {
			n := i*s.members + j
			g.beat(ctx, j, classicInterval*time.Duration(n)/time.Duration(s.groups*s.members), &beats, fail)
		}
	}
	s.figures[classicBeats], s.figures[classicCPU], err = s.counted(ctx, beats.Load)
	return err
}

// rollingRestart forms a huge group of the consumer protocol, and restarts each of its members.
func (s *coordinatorSession) rollingRestart(ctx context.Context) error {
	if err := awaitCoordinator(ctx, s.brokers); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, groupLimit, fmt.Errorf("the group has not converged within %v", groupLimit))
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	f, err := s.newFleet(ctx, fail, s.hugeTopics, s.topicPartitions)
	if err != nil {
		return err
	}
	pipes, err := newPipes(s.brokers, min(s.connections, s.hugeMembers)+1)
	if err != nil {
		return err
	}
	defer closePipes(pipes)
	h := &hugeGroup{groupMembers: newGroupMembers(f, "bench-huge"), members: make([]*groupMember, s.hugeMembers), pipes: pipes}
	defer h.stop()
	asked := pipes[len(pipes)-1]
	begin := time.Now()
	for i := range h.members {
		h.begin(i, 0)
	}
	if err := h.awaitConverged(ctx, s.hugeMembers, asked); err != nil {
		return fmt.Errorf("first assignment: %w", err)
	}
	s.figures[firstTime] = time.Since(begin).Seconds()
	used, err := s.cpuOf(func() error {
		begin = time.Now()
		if err := h.restartAll(ctx, s.restarting); err != nil {
			return err
		}
		restarted := time.Now()
		err := h.awaitConverged(ctx, s.hugeMembers, asked)
		s.figures[restartTime], s.figures[settleTime] = time.Since(begin).Seconds(), time.Since(restarted).Seconds()
		return err
	})
	s.figures[restartCPU] = used.Seconds()
	return err
}

// hugeGroup is a group with a connection for every member or few.
type hugeGroup struct {
	*groupMembers
	members []*groupMember
	pipes   []*pipe
}

// begin starts a member; each time under another id, like a program that starts anew. The channel is closed once it has joined.
func (h *hugeGroup) begin(i, incarnation int) <-chan struct{} {
	joined := make(chan struct{})
	h.members[i] = h.join(h.pipes[i%(len(h.pipes)-1)], fmt.Sprintf("member-%d-%d", i, incarnation), func() { close(joined) })
	return joined
}

// restartAll lets each member leave and join again, so many at a time.
func (h *hugeGroup) restartAll(ctx context.Context, atOnce int) error {
	var next atomic.Int64
	var restarting sync.WaitGroup
	for range atOnce {
		restarting.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(h.members) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				h.restart(ctx, i)
			}
		})
	}
	restarting.Wait()
	return context.Cause(ctx)
}

func (h *hugeGroup) restart(ctx context.Context, i int) {
	left := make(chan struct{})
	h.members[i].leave(func() { close(left) })
	select {
	case <-left:
	case <-ctx.Done():
		return
	}
	select {
	case <-h.begin(i, 1):
	case <-ctx.Done():
	}
}

// awaitCoordinator waits until the broker coordinates groups: the first request makes the internal topic.
func awaitCoordinator(ctx context.Context, brokers string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, leadersTimeout, fmt.Errorf("no group coordinator within %v", leadersTimeout))
	defer cancel()
	p, err := newPipe(brokers)
	if err != nil {
		return err
	}
	defer p.close()
	for i := 0; ; {
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.Version, r.CoordinatorKeys = 4, []string{fmt.Sprintf("bench-%d", i)}
		response, err := p.call(r)
		if err != nil {
			return err
		}
		found := response.(*kmsg.FindCoordinatorResponse).Coordinators
		if len(found) == 1 && found[0].ErrorCode == 0 {
			return awaitLoaded(ctx, p)
		}
		if err := sleep(ctx, memberRetry); err != nil {
			return err
		}
	}
}

// awaitLoaded waits until groups of every partition of the internal topic are served.
func awaitLoaded(ctx context.Context, p *pipe) error {
	for i := 0; i < 1000; {
		r := kmsg.NewPtrOffsetFetchRequest()
		r.Version = 8
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = fmt.Sprintf("bench-%d", i)
		r.Groups = append(r.Groups, g)
		response, err := p.call(r)
		if err != nil {
			return err
		}
		if groups := response.(*kmsg.OffsetFetchResponse).Groups; len(groups) == 1 && groups[0].ErrorCode == 0 {
			i++
			continue
		}
		if err := sleep(ctx, memberRetry); err != nil {
			return err
		}
	}
	return nil
}
