package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	classicInterval             = 3 * time.Second // Kafka's heartbeat.interval.ms
	classicSessionTimeoutMillis = 45_000
)

// classicGroup is a group of the classic protocol, all of whose members join at once, and then send heartbeats.
type classicGroup struct {
	id         string
	pipes      []*pipe // of the members
	ids        []string
	generation int32
	leader     int
}

// form makes the group: each member gets its id, joins, and syncs.
func (g *classicGroup) form() error {
	g.ids = make([]string, len(g.pipes))
	err := g.each(g.joinRequest, func(i int, response kmsg.Response) error {
		r := response.(*kmsg.JoinGroupResponse)
		if g.ids[i] = r.MemberID; r.ErrorCode == kerr.MemberIDRequired.Code {
			return nil
		}
		return kerr.ErrorForCode(r.ErrorCode)
	})
	if err != nil {
		return err
	}
	err = g.each(g.joinRequest, func(i int, response kmsg.Response) error {
		r := response.(*kmsg.JoinGroupResponse)
		if g.generation = r.Generation; r.MemberID == r.LeaderID {
			if g.leader = i; len(r.Members) != len(g.pipes) {
				return fmt.Errorf("%d of %d members joined in time", len(r.Members), len(g.pipes))
			}
		}
		return kerr.ErrorForCode(r.ErrorCode)
	})
	if err != nil {
		return err
	}
	return g.each(g.syncRequest, func(_ int, response kmsg.Response) error {
		return kerr.ErrorForCode(response.(*kmsg.SyncGroupResponse).ErrorCode)
	})
}

// each sends a request for every member, and waits for all answers.
func (g *classicGroup) each(request func(i int) kmsg.Request, answered func(i int, r kmsg.Response) error) error {
	type answer struct {
		member   int
		response kmsg.Response
		err      error
	}
	answers := make(chan answer, len(g.pipes))
	for i, p := range g.pipes {
		p.send(request(i), func(response kmsg.Response, err error) { answers <- answer{i, response, err} })
	}
	var failures []error
	for range g.pipes {
		a := <-answers
		if a.err == nil {
			a.err = answered(a.member, a.response)
		}
		failures = append(failures, a.err)
	}
	return errors.Join(failures...)
}

func (g *classicGroup) joinRequest(i int) kmsg.Request {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.ProtocolType = 9, g.id, g.ids[i], "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = classicSessionTimeoutMillis, rebalanceTimeoutMillis
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	r.Protocols = append(r.Protocols, p)
	return r
}

func (g *classicGroup) syncRequest(i int) kmsg.Request {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 5, g.id, g.ids[i], g.generation
	r.ProtocolType, r.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	if i == g.leader {
		for _, id := range g.ids {
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = id, []byte("assignment")
			r.GroupAssignment = append(r.GroupAssignment, a)
		}
	}
	return r
}

// beat sends heartbeats of one member, the first after a while, until ctx is over.
func (g *classicGroup) beat(ctx context.Context, i int, after time.Duration, beats *atomic.Int64, fail context.CancelCauseFunc) {
	time.AfterFunc(after, func() {
		if ctx.Err() != nil {
			return
		}
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.Generation = 4, g.id, g.ids[i], g.generation
		g.pipes[i].send(r, func(response kmsg.Response, err error) {
			if err == nil {
				err = kerr.ErrorForCode(response.(*kmsg.HeartbeatResponse).ErrorCode)
			}
			if err != nil {
				fail(fmt.Errorf("heartbeat: %w", err))
				return
			}
			beats.Add(1)
			g.beat(ctx, i, classicInterval, beats, fail)
		})
	})
}
