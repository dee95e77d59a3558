package clients

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/weirbin"
)

const (
	groupPartitions = 6
	groupRecords    = 600
)

// Groups of the classic protocol: their members share the partitions, and commit what they have read.
func TestGroupsOnWeir(t *testing.T) {
	options := weirbin.Options{Path: weirProgram(t), Dir: t.TempDir(), Config: map[string]string{"group.initial.rebalance.delay.ms": "200"}}
	broker := startWeir(t, options)
	groupsAll(t, Address(broker.Address))
	t.Run("offsets survive a restart", func(t *testing.T) {
		before := committed(t, Address(broker.Address), "eager")
		require.Len(t, before, groupPartitions)
		require.NoError(t, broker.Stop(time.Minute))
		again := startWeir(t, options)
		require.Equal(t, before, committed(t, Address(again.Address), "eager"))
	})
}

func TestGroupsOnGivenEndpoint(t *testing.T) {
	if *brokersFlag == "" {
		t.Skip("no -brokers given")
	}
	groupsAll(t, Address(*brokersFlag))
}

func groupsAll(t *testing.T, e Endpoint) {
	t.Run("eager", func(t *testing.T) { shareTopic(t, e, "eager", kgo.Balancers(kgo.RangeBalancer())) })
	t.Run("cooperative", func(t *testing.T) { shareTopic(t, e, "cooperative", kgo.Balancers(kgo.CooperativeStickyBalancer())) })
	t.Run("static", func(t *testing.T) { keepSeat(t, e) })
	t.Run("kcat", func(t *testing.T) { kcatGroup(t, e) })
}

// groupMember polls until its context ends, and notes what it has read.
type groupMember struct {
	client *kgo.Client
	end    context.CancelFunc
	ended  chan struct{}
}

// readings are the records that the members of a group have read: how often each.
type readings struct {
	lock  sync.Mutex
	times map[string]int
	more  chan struct{}
}

func newReadings() *readings { return &readings{times: map[string]int{}, more: make(chan struct{}, 1)} }

func (r *readings) note(value string) {
	r.lock.Lock()
	r.times[value]++
	r.lock.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// await returns once so many different records were read.
func (r *readings) await(t *testing.T, ctx context.Context, count int) {
	t.Helper()
	for {
		r.lock.Lock()
		n := len(r.times)
		r.lock.Unlock()
		if n >= count {
			return
		}
		select {
		case <-r.more:
		case <-ctx.Done():
			t.Fatalf("%d of %d records were read", n, count)
		}
	}
}

func joinAs(t *testing.T, e Endpoint, group, topic string, into *readings, options ...kgo.Opt) *groupMember {
	t.Helper()
	options = append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(200 * time.Millisecond), kgo.DisableAutoCommit(),
	}, options...)
	client, err := connect(e, options...)
	require.NoError(t, err)
	ctx, end := context.WithCancel(context.Background())
	m := &groupMember{client: client, end: end, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			fetches.EachRecord(func(r *kgo.Record) { into.note(string(r.Value)) })
			if fetches.NumRecords() > 0 {
				_ = client.CommitUncommittedOffsets(ctx)
			}
		}
	}()
	t.Cleanup(m.stop)
	return m
}

// stop leaves the group.
func (m *groupMember) stop() {
	m.end()
	<-m.ended
	m.client.Close()
}

func groupTopic(t *testing.T, ctx context.Context, e Endpoint, topic string) {
	t.Helper()
	require.NoError(t, CreateTopic(ctx, e, topic, groupPartitions))
	produceMore(t, ctx, e, topic, 0)
}

func produceMore(t *testing.T, ctx context.Context, e Endpoint, topic string, from int) {
	t.Helper()
	client, err := connect(e, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer client.Close()
	var records []*kgo.Record
	for i := from; i < from+groupRecords; i++ {
		records = append(records, &kgo.Record{Partition: int32(i % groupPartitions), Value: fmt.Appendf(nil, "%d", i)})
	}
	require.NoError(t, client.ProduceSync(ctx, records...).FirstErr())
}

// shareTopic lets three members share a topic, one leave and one join.
func shareTopic(t *testing.T, e Endpoint, group string, balancer kgo.Opt) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	topic := group + "-topic"
	groupTopic(t, ctx, e, topic)
	read := newReadings()
	members := []*groupMember{}
	for range 3 {
		members = append(members, joinAs(t, e, group, topic, read, balancer))
	}
	read.await(t, ctx, groupRecords)
	awaitState(t, ctx, e, group, func(g kadm.DescribedGroup) bool {
		return g.State == "Stable" && len(g.Members) == 3 && slices.Equal(assignedCounts(g), []int{2, 2, 2})
	})
	members[1].stop()
	awaitState(t, ctx, e, group, func(g kadm.DescribedGroup) bool {
		return g.State == "Stable" && len(g.Members) == 2 && slices.Equal(assignedCounts(g), []int{3, 3})
	})
	joinAs(t, e, group, topic, read, balancer)
	produceMore(t, ctx, e, topic, groupRecords)
	read.await(t, ctx, 2*groupRecords)
	awaitState(t, ctx, e, group, func(g kadm.DescribedGroup) bool { return g.State == "Stable" && len(g.Members) == 3 })
	awaitCommitted(t, ctx, e, group, 2*groupRecords)
}

func assignedCounts(g kadm.DescribedGroup) (counts []int) {
	for _, m := range g.Members {
		n := 0
		if c, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range c.Topics {
				n += len(t.Partitions)
			}
		}
		counts = append(counts, n)
	}
	slices.Sort(counts)
	return counts
}

// awaitState asks until a group is as wanted.
func awaitState(t *testing.T, ctx context.Context, e Endpoint, group string, as func(kadm.DescribedGroup) bool) kadm.DescribedGroup {
	t.Helper()
	client, err := connect(e)
	require.NoError(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	for {
		groups, err := admin.DescribeGroups(ctx, group)
		if err == nil && groups[group].Err == nil && as(groups[group]) {
			return groups[group]
		}
		if !pause(ctx) {
			t.Fatalf("the group is %+v, %v", groups[group], err)
		}
	}
}

// pause lets a little time pass between two questions; false once the context has ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

func committed(t *testing.T, e Endpoint, group string) map[int32]int64 {
	t.Helper()
	client, err := connect(e)
	require.NoError(t, err)
	defer client.Close()
	offsets, err := kadm.NewClient(client).FetchOffsets(t.Context(), group)
	require.NoError(t, err)
	out := map[int32]int64{}
	offsets.Each(func(o kadm.OffsetResponse) { out[o.Partition] = o.At })
	return out
}

func awaitCommitted(t *testing.T, ctx context.Context, e Endpoint, group string, want int64) {
	t.Helper()
	for {
		sum := int64(0)
		for _, at := range committed(t, e, group) {
			sum += at
		}
		if sum == want {
			return
		}
		if !pause(ctx) {
			t.Fatalf("%d is committed, not %d", sum, want)
		}
	}
}

// keepSeat restarts a static member: nobody else hears of it.
func keepSeat(t *testing.T, e Endpoint) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	groupTopic(t, ctx, e, "static-topic")
	read := newReadings()
	rebalances := make(chan map[string][]int32, 100)
	first := joinAs(t, e, "static", "static-topic", read, kgo.InstanceID("first"), kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, a map[string][]int32) { rebalances <- a }))
	second := joinAs(t, e, "static", "static-topic", read, kgo.InstanceID("second"))
	stable := awaitState(t, ctx, e, "static", func(g kadm.DescribedGroup) bool {
		return g.State == "Stable" && len(g.Members) == 2 && slices.Equal(assignedCounts(g), []int{3, 3})
	})
	read.await(t, ctx, groupRecords)
	for len(rebalances) > 0 {
		<-rebalances
	}
	second.stop()
	joinAs(t, e, "static", "static-topic", read, kgo.InstanceID("second"))
	after := awaitState(t, ctx, e, "static", func(g kadm.DescribedGroup) bool {
		return g.State == "Stable" && len(g.Members) == 2 && memberOf(g, "second") != memberOf(stable, "second")
	})
	require.Equal(t, memberOf(stable, "first"), memberOf(after, "first"))
	produceMore(t, ctx, e, "static-topic", groupRecords)
	read.await(t, ctx, 2*groupRecords)
	require.Empty(t, rebalances, "the other member has had no rebalance")
	require.Equal(t, memberOf(stable, "first"), func() string { id, _ := first.client.GroupMetadata(); return id }())
}

func memberOf(g kadm.DescribedGroup, instance string) string {
	for _, m := range g.Members {
		if m.InstanceID != nil && *m.InstanceID == instance {
			return m.MemberID
		}
	}
	return ""
}

// kcatGroup reads a topic by librdkafka.
func kcatGroup(t *testing.T, e Endpoint) {
	if why := (Kcat{}).Missing(); why != "" {
		t.Skip(why)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	groupTopic(t, ctx, e, "kcat-topic")
	out, err := exec.CommandContext(ctx, "kcat", "-b", e.Brokers()[0], "-G", "kcat-group", "-X", "auto.offset.reset=earliest", "-e", "-c", fmt.Sprint(groupRecords), "-q", "kcat-topic").Output()
	require.NoError(t, err)
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	require.Len(t, slices.Compact(lines), groupRecords)
}
