package cases

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kgo"
)

// API keys that franz-go's groups need.
var (
	groupClients  = []int16{8, 9, 10, 11, 12, 13, 14, 15, 16}
	modernClients = []int16{8, 9, 10, 16, 68, 69}
)

const clientRecords = 300

// clientGroups are sequences of franz-go's consumer groups, under each protocol.
func clientGroups() []suite.Case {
	return suite.OfArea("Clients", slices.Concat(
		needing(groupClients, groupStories("eager", []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())})),
		needing(groupClients, groupStories("cooperative", []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())})),
		needing(modernClients, groupStories("KIP-848", modernGroups)))...)
}

// modernGroups makes franz-go use KIP-848.
var modernGroups = []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())}

func groupStories(kind string, opts []kgo.Opt) []suite.Case {
	return []suite.Case{
		{Name: kind + " group shares all partitions", Run: func(c *suite.C) {
			t := newTopic(c, "t", 6)
			fill(c, t, clientRecords)
			shared := newTally()
			c.Together(3, func(c *suite.C, i int) {
				consume(c, groupClient(c, t, opts...), shared, clientRecords)
			})
			c.Equal("values", shared.count(), clientRecords)
		}},
		{Name: kind + " group is of its type", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			fill(c, t, 10)
			consume(c, groupClient(c, t, opts...), newTally(), 10)
			c.Equal("GroupType", listed(c, c.Name("g"), nil, nil).GroupType, choose(kind == "KIP-848", "consumer", "classic"))
		}},
		{Name: kind + " group goes on where it committed", Run: func(c *suite.C) {
			t, first, second := newTopic(c, "t", 2), newTally(), newTally()
			fill(c, t, clientRecords)
			client := groupClient(c, t, opts...)
			consume(c, client, first, clientRecords)
			c.NoError(client.CommitUncommittedOffsets(c.Context()))
			client.Close()
			fill(c, t, 10)
			consume(c, groupClient(c, t, opts...), second, 10)
			c.Equal("records read again", second.records(), 10)
		}},
		{Name: kind + " group survives a member that dies", Run: func(c *suite.C) {
			t, shared := newTopic(c, "t", 4), newTally()
			if kind == "KIP-848" {
				shortSession(c, c.Name("g"))
			}
			fill(c, t, clientRecords)
			session := c.ConfigInt("group.min.session.timeout.ms", 1000)
			dead := groupClient(c, t, append([]kgo.Opt{kgo.InstanceID("dead"), kgo.SessionTimeout(time.Duration(2*session) * time.Millisecond)}, opts...)...)
			c.Poll("it owns partitions", func() bool {
				return len(dead.PollRecords(contextFor(c.Context(), 300*time.Millisecond), 1).Records()) > 0
			})
			dead.CloseAllowingRebalance() // as an instance, it does not leave
			consume(c, groupClient(c, t, opts...), shared, clientRecords)
			c.Equal("values", shared.count(), clientRecords)
		}},
		{Name: kind + " group after offsets were deleted", Run: func(c *suite.C) {
			t, first, second := newTopic(c, "t", 1), newTally(), newTally()
			fill(c, t, 10)
			client := groupClient(c, t, opts...)
			consume(c, client, first, 10)
			client.Close()
			commitSimple(c, c.Name("g"), t, 2)
			c.OK(deleteRecordsBefore(c, t, 0, 5).ErrorCode, "DeleteRecords")
			consume(c, groupClient(c, t, append([]kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, opts...)...), second, 5)
			c.Equal("records", second.records(), 5)
		}},
	}
}

// groupClient is a member of the case's group that commits what it polled when it is closed.
func groupClient(c *suite.C, t topic, opts ...kgo.Opt) *kgo.Client {
	return c.KGO(append([]kgo.Opt{
		kgo.ConsumerGroup(c.Name("g")), kgo.ConsumeTopics(t.name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.HeartbeatInterval(100 * time.Millisecond),
	}, opts...)...)
}

// fill writes n numbered records over a topic's partitions.
func fill(c *suite.C, t topic, n int) {
	client := c.KGO(kgo.DefaultProduceTopic(t.name))
	var all []*kgo.Record
	for i := range n {
		all = append(all, &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: fmt.Appendf(nil, "%d-%d", time.Now().UnixNano(), i)})
	}
	c.NoError(client.ProduceSync(c.Context(), all...).FirstErr())
}

// tally counts values that several clients read.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
	all  int
}

func newTally() *tally { return &tally{seen: map[string]int{}} }

func (t *tally) add(r *kgo.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen[string(r.Value)]++
	t.all++
}

// count is how many different values there are.
func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.seen)
}

// records is how many there are, with those that came twice.
func (t *tally) records() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all
}

// consume polls until n values are seen by all that share the tally.
func consume(c *suite.C, client *kgo.Client, shared *tally, n int) {
	c.Poll(fmt.Sprintf("%d values are read", n), func() bool {
		fetches := client.PollFetches(contextFor(c.Context(), 300*time.Millisecond))
		fetches.EachRecord(shared.add)
		return shared.count() >= n
	})
}

// contextFor ends after some time.
func contextFor(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}
