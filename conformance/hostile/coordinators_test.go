package hostile

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/weirbin"
)

const (
	coordinatorBytes = 16 << 20
	stormers         = 64 // connections
	stormRequests    = 100
)

// TestStrangersFillTheCoordinators has strangers make groups, members, offsets and transactional ids without end. The broker
// refuses them at its bound, and a group that was there before goes on committing.
func TestStrangersFillTheCoordinators(t *testing.T) {
	if *weirFlag == "" { // once for all
		path, err := weirbin.Build(t.TempDir())
		require.NoError(t, err)
		*weirFlag = path
		t.Cleanup(func() { *weirFlag = "" })
	}
	config := smallLimits()
	config["weir.coordinator.memory.bytes"] = fmt.Sprint(coordinatorBytes)
	var serial atomic.Int64
	for _, storm := range []struct {
		name    string
		request func(id string) kmsg.Request
		code    func(kmsg.Response) int16
	}{
		{"JoinGroup", joinRequest, func(a kmsg.Response) int16 { return a.(*kmsg.JoinGroupResponse).ErrorCode }},
		{"ConsumerGroupHeartbeat", beatRequest, func(a kmsg.Response) int16 { return a.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode }},
		{"InitProducerId", initRequest, func(a kmsg.Response) int16 { return a.(*kmsg.InitProducerIDResponse).ErrorCode }},
		{"OffsetCommit", func(id string) kmsg.Request { return commitRequest(id, 1) }, commitCode},
	} {
		t.Run(storm.name, func(t *testing.T) {
			r := start(t, config)
			awaitCoordinators(r)
			codes := r.storm(storm.request, storm.code, &serial)
			t.Logf("%v", codes)
			require.Positive(t, codes["none"]+codes["MEMBER_ID_REQUIRED"])
			require.Positive(t, codes["COORDINATOR_NOT_AVAILABLE"])
			require.Zero(t, commitOffset(r, "resident", 2), "a group that was there goes on")
			r.lives()
			require.NotContains(t, r.broker.Tail(4000), "panic")
		})
	}
}

// storm sends requests with new ids over many connections, and counts the codes of the answers.
func (r *rig) storm(request func(id string) kmsg.Request, code func(kmsg.Response) int16, serial *atomic.Int64) map[string]int {
	var mutex sync.Mutex
	codes := map[string]int{}
	var group sync.WaitGroup
	for _, s := range r.dial(stormers) {
		group.Go(func() {
			for range stormRequests {
				id := fmt.Sprint(strings.Repeat("x", 20_000), serial.Add(1))
				a, err := s.Ask(request(id), lifeLimit)
				if err != nil {
					return // disconnected, as a stranger may be
				}
				name := "none"
				if e := kerr.ErrorForCode(code(a)); e != nil {
					name = e.(*kerr.Error).Message
				}
				mutex.Lock()
				codes[name]++
				mutex.Unlock()
			}
		})
	}
	group.Wait()
	return codes
}

func joinRequest(id string) kmsg.Request {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.ProtocolType, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 5, id, "consumer", 300_000, 1000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", make([]byte, 10_000)
	q.Protocols = append(q.Protocols, p)
	return q
}

func beatRequest(id string) kmsg.Request {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.RebalanceTimeoutMillis = 1, id, id[len(id)-12:], 10_000
	q.SubscribedTopicNames, q.Topics = []string{"citizen", id}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return q
}

func initRequest(id string) kmsg.Request {
	q := kmsg.NewPtrInitProducerIDRequest()
	q.Version, q.TransactionalID, q.TransactionTimeoutMillis, q.ProducerID, q.ProducerEpoch = 4, &id, 60_000, -1, -1
	return q
}

func commitRequest(group string, offset int64) kmsg.Request {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.Generation = 8, group, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch = offset, -1
	if group != "resident" {
		p.Metadata = kmsg.StringPtr(strings.Repeat("m", 4000))
	}
	q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "citizen", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return q
}

func commitCode(a kmsg.Response) int16 {
	return a.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
}

func commitOffset(r *rig, group string, offset int64) int16 {
	r.t.Helper()
	a, err := r.dial(1)[0].Ask(commitRequest(group, offset), lifeLimit)
	require.NoError(r.t, err)
	return commitCode(a)
}

// awaitCoordinators makes the internal topics, and waits until their coordinators serve.
func awaitCoordinators(r *rig) {
	r.t.Helper()
	s := r.dial(1)[0]
	for kind, key := range []string{"resident", "resident"} {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.Version, q.CoordinatorType, q.CoordinatorKey = 3, int8(kind), key
		require.Eventually(r.t, func() bool {
			a, err := s.Ask(q, lifeLimit)
			return err == nil && a.(*kmsg.FindCoordinatorResponse).ErrorCode == 0
		}, lifeLimit, 50*time.Millisecond)
	}
	require.Eventually(r.t, func() bool { return commitOffset(r, "resident", 0) == 0 }, lifeLimit, 50*time.Millisecond)
}

// Requests that wait for others, from clients that go away meanwhile, or never read: whoever comes next finds the group free.
func TestStrangersLeaveInTheMiddleOfLongWaits(t *testing.T) {
	r := start(t, smallLimits())
	awaitCoordinators(r)
	for round := range 3 {
		all := r.dial(200)
		for i, s := range all {
			group := fmt.Sprint("waits-", i%10)
			var b []byte
			for range 1 + i%5 { // pipelined, and not read
				q := joinRequest(group).(*kmsg.JoinGroupRequest)
				q.Version, q.SessionTimeoutMillis = 3, 6000
				b = append(b, s.Frame(q)...)
				b = append(b, s.Frame(beatRequest(fmt.Sprintf("beats-long-enough-%d", i)))...)
				b = append(b, s.Frame(commitRequest(group, 1))...)
			}
			r.write(s, b[:len(b)-round*10])
		}
		r.lives()
		for _, s := range all {
			s.Close()
		}
	}
	s := r.dial(1)[0]
	require.Eventually(t, func() bool { // once the sessions of those that went are over
		a, err := s.Ask(commitRequest("waits-1", 7), lifeLimit)
		return err == nil && commitCode(a) == 0
	}, 2*time.Minute, time.Second)
	r.lives()
	require.NotContains(t, r.broker.Tail(4000), "panic")
}
