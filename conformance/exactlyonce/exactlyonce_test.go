package exactlyonce

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/process"
	"weir/internal/weirbin"
)

var address = flag.String("address", "", "brokers to use instead of starting weir, separated by commas; they are not killed")

const (
	limit      = 4 * time.Minute
	records    = 3000
	partitions = 4
	workers    = 3
	kills      = 3
)

// cluster is a broker that can be killed.
type cluster struct {
	t       *testing.T
	path    string
	dir     string
	port    int
	process *process.Process
	address string
}

func newCluster(t *testing.T) *cluster {
	if *address != "" {
		return &cluster{t: t, address: *address}
	}
	path, err := weirbin.Build(t.TempDir())
	require.NoError(t, err)
	port, err := process.FreePort()
	require.NoError(t, err)
	c := &cluster{t: t, path: path, dir: t.TempDir(), port: port, address: fmt.Sprint("127.0.0.1:", port)}
	c.start()
	return c
}

func (c *cluster) start() {
	b, err := weirbin.Start(weirbin.Options{Path: c.path, Dir: c.dir, Port: c.port, Config: map[string]string{
		"weir.wal.size.bytes": "67108864", "weir.cache.bytes": "67108864", "weir.block.cache.bytes": "16777216", "socket.request.max.bytes": "8388608",
		"weir.upload.interval.ms": "500", "offsets.topic.num.partitions": "4", "transaction.state.log.num.partitions": "4",
		"group.initial.rebalance.delay.ms": "0",
	}})
	require.NoError(c.t, err)
	c.process = b.Process
	c.t.Cleanup(b.Kill)
}

// kill ends the broker with SIGKILL and starts it again; a given one it leaves alone.
func (c *cluster) kill() {
	if c.process == nil {
		return
	}
	c.process.Kill()
	<-c.process.Ended()
	c.start()
}

func (c *cluster) client(t *testing.T, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(c.address, ",")...)}, options...)...)
	require.NoError(t, err)
	return client
}

func name(t *testing.T, what string) string {
	return fmt.Sprintf("%s-%s-%d", t.Name(), what, time.Now().UnixNano())
}

// TestPipeline: consume, transform, produce; with aborts, zombies and kills.
func TestPipeline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c := newCluster(t)
	p := &pipeline{cluster: c, t: t, in: name(t, "in"), out: name(t, "out"), group: name(t, "group")}
	p.create(ctx)
	p.fill(ctx)
	var all sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	for i := range workers {
		all.Go(func() { p.work(working, i) })
	}
	p.watch(ctx)
	stop()
	all.Wait()
	counts := p.count(ctx)
	require.Len(t, counts, records)
	for value, n := range counts {
		require.Equal(t, 1, n, "record %s came out %d times", value, n)
	}
	require.Equal(t, int64(records), p.committed(ctx), "the group has read everything")
	t.Logf("%d transactions committed, %d aborted, %d zombies refused", p.commits.Load(), p.aborts.Load(), p.refused.Load())
	require.Positive(t, p.aborts.Load())
}

type pipeline struct {
	*cluster
	t                        *testing.T
	in, out, group           string
	commits, aborts, refused atomic.Int64
}

func (p *pipeline) create(ctx context.Context) {
	client := p.client(p.t)
	defer client.Close()
	answers, err := kadm.NewClient(client).CreateTopics(ctx, partitions, 1, nil, p.in, p.out)
	require.NoError(p.t, err)
	for _, a := range answers {
		require.NoError(p.t, a.Err)
	}
}

func (p *pipeline) fill(ctx context.Context) {
	client := p.client(p.t, kgo.DefaultProduceTopic(p.in))
	defer client.Close()
	for i := range records {
		client.Produce(ctx, kgo.KeySliceRecord(fmt.Append(nil, i), fmt.Append(nil, i)), func(_ *kgo.Record, err error) {
			if err != nil {
				p.t.Error(err)
			}
		})
	}
	require.NoError(p.t, client.Flush(ctx))
}

func (p *pipeline) session(worker int) (*kgo.GroupTransactSession, error) {
	return kgo.NewGroupTransactSession(
		kgo.SeedBrokers(strings.Split(p.address, ",")...), kgo.ConsumerGroup(p.group), kgo.ConsumeTopics(p.in), kgo.TransactionalID(p.group+"-"+strconv.Itoa(worker)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DefaultProduceTopic(p.out),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second), kgo.TransactionTimeout(20*time.Second),
	)
}

// work runs a member until the context ends. What fails is begun anew, with the same transactional id.
func (p *pipeline) work(ctx context.Context, worker int) {
	draw := rand.New(rand.NewPCG(uint64(worker), 7))
	for ctx.Err() == nil {
		s, err := p.session(worker)
		if err != nil {
			p.t.Error(err)
			return
		}
		for ctx.Err() == nil && p.step(ctx, s, worker, draw) {
		}
		s.Close()
	}
}

// step runs one transaction, and reports whether the member can go on.
func (p *pipeline) step(ctx context.Context, s *kgo.GroupTransactSession, worker int, draw *rand.Rand) bool {
	polling, cancel := context.WithTimeout(ctx, 2*time.Second)
	fetches := s.PollRecords(polling, 1+draw.IntN(60))
	cancel()
	if fetches.NumRecords() == 0 {
		return fetches.Err0() == nil || errors.Is(fetches.Err0(), context.DeadlineExceeded)
	}
	if err := s.Begin(); err != nil {
		return false
	}
	var failed atomic.Bool
	fetches.EachRecord(func(r *kgo.Record) {
		s.Produce(ctx, kgo.KeySliceRecord(r.Key, r.Value), func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(true)
			}
		})
	})
	fate := draw.IntN(10)
	if fate == 0 {
		return p.becomeZombie(ctx, s, worker)
	}
	committed, err := s.End(ctx, kgo.TransactionEndTry(fate > 2 && !failed.Load()))
	if committed {
		p.commits.Add(1)
	} else {
		p.aborts.Add(1)
	}
	return err == nil
}

// becomeZombie lets another producer take the transactional id over in the middle of a transaction: what the first one does then
// must not count.
func (p *pipeline) becomeZombie(ctx context.Context, s *kgo.GroupTransactSession, worker int) bool {
	if err := s.Client().Flush(ctx); err != nil {
		return false
	}
	heir := p.client(p.t, kgo.TransactionalID(p.group+"-"+strconv.Itoa(worker)))
	defer heir.Close()
	if _, _, err := heir.ProducerID(ctx); err != nil {
		return false
	}
	committed, err := s.End(ctx, kgo.TryCommit)
	if committed {
		p.t.Errorf("a zombie committed: %v", err)
	}
	p.refused.Add(1)
	return false
}

// watch reads what comes out until all is there, and kills the broker meanwhile.
func (p *pipeline) watch(ctx context.Context) {
	client := p.client(p.t, kgo.ConsumeTopics(p.out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer client.Close()
	seen, killed := map[string]bool{}, 0
	for len(seen) < records {
		fetches := client.PollFetches(ctx)
		require.NoError(p.t, ctx.Err(), "%d of %d records came out", len(seen), records)
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
		if killed < kills && len(seen) > (killed+1)*records/(kills+1) {
			killed++
			p.kill()
		}
	}
}

// count reads all that is committed, from the first offset to the last stable one, and says how often each record is there. It
// looks at markers too, which take offsets.
func (p *pipeline) count(ctx context.Context) map[string]int {
	client := p.client(p.t, kgo.ConsumeTopics(p.out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, p.out)
	require.NoError(p.t, err)
	counts, open := map[string]int{}, map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		require.NoError(p.t, o.Err)
		if o.Offset > 0 {
			open[o.Partition] = o.Offset
		}
	})
	for len(open) > 0 {
		fetches := client.PollFetches(ctx)
		require.NoError(p.t, ctx.Err(), "what is missing: %v", open)
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				counts[string(r.Value)]++
			}
			if end, ok := open[r.Partition]; ok && r.Offset+1 >= end {
				delete(open, r.Partition)
			}
		})
	}
	return counts
}

// committed is the sum of the offsets that the group has committed: the input has no markers.
func (p *pipeline) committed(ctx context.Context) (sum int64) {
	client := p.client(p.t)
	defer client.Close()
	offsets, err := kadm.NewClient(client).FetchOffsets(ctx, p.group)
	require.NoError(p.t, err)
	offsets.Each(func(o kadm.OffsetResponse) {
		require.NoError(p.t, o.Err)
		sum += o.At
	})
	return sum
}
