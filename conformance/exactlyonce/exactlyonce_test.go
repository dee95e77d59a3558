package exactlyonce

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/process"
	"weir/internal/weirbin"
)

var (
	address     = flag.String("address", "", "brokers to use instead of starting weir, separated by commas; they are not killed")
	weirFlag    = flag.String("weir", "", "the weir program; empty builds it")
	brokersFlag = flag.Int("cluster", 1, "brokers of the cluster that is started")
	walFlag     = flag.String("wal", "device", "where their logs are: device (one directory for all) or object")
	forFlag     = flag.Duration("for", 0, "how long records go in while brokers are killed and stopped, one at a time; 0: some records, and a few kills")
)

const (
	limit      = 4 * time.Minute // and twice the time of -for: a busy machine carries less than goes in
	records    = 3000
	partitions = 4
	workers    = 3
	kills      = 3
	// fillPace and fillBurst are for -for: so many records go in each time.
	fillPace, fillBurst = 20 * time.Millisecond, 4
	// stepMax is how many records a transaction has at most, stepMaxOfObjectLogs is that under -for with object logs. There a transaction waits for
	// six writes of a log, one after another, which are 250 ms apart under load: 0.75 s and up. At 30 records each, three members would
	// carry fewer than fillPace lets in, so theirs are as large as what waits makes them.
	stepMax, stepMaxOfObjectLogs = 60, 600
	// downMin and downMax bound the time for which a broker is dead or stopped under -for, and the calm after it.
	downMin, downMax = time.Second, 5 * time.Second
)

// cluster is a broker, or several, that can be killed.
type cluster struct {
	t         *testing.T
	launcher  *weirbin.Cluster // nil: the brokers are somebody else's
	processes []*process.Process
	address   string
}

func newCluster(t *testing.T) *cluster {
	if *address != "" {
		return &cluster{t: t, address: *address}
	}
	path, err := program(t)
	require.NoError(t, err)
	launcher, err := weirbin.NewCluster(path, t.TempDir(), *brokersFlag, config())
	require.NoError(t, err)
	c := &cluster{t: t, launcher: launcher, processes: make([]*process.Process, *brokersFlag), address: strings.Join(launcher.Addresses(), ",")}
	t.Cleanup(func() {
		for i, p := range c.processes {
			p.Kill()
			if t.Failed() {
				t.Logf("broker %d printed last:\n%s", i+1, p.Tail(40))
			}
		}
	})
	for i := range c.processes {
		c.launch(i)
	}
	return c
}

func program(t *testing.T) (string, error) {
	if *weirFlag != "" {
		return filepath.Abs(*weirFlag)
	}
	return weirbin.Build(t.TempDir())
}

func config() map[string]string {
	keys := map[string]string{
		"weir.wal.size.bytes": "67108864", "weir.cache.bytes": "67108864", "weir.block.cache.bytes": "16777216", "socket.request.max.bytes": "8388608",
		"weir.upload.interval.ms": "500", "offsets.topic.num.partitions": "4", "transaction.state.log.num.partitions": "4",
		"group.initial.rebalance.delay.ms": "0",
	}
	if *walFlag == "object" {
		keys["weir.wal.kind"] = "object"
	}
	return keys
}

func recordsMax() int {
	if *walFlag == "object" && *forFlag > 0 {
		return stepMaxOfObjectLogs
	}
	return stepMax
}

// launch starts a broker and waits until it listens.
func (c *cluster) launch(i int) {
	b, err := c.launcher.Launch(i)
	require.NoError(c.t, err)
	c.processes[i] = b.Process
	_, err = b.WaitLine(func(line string) bool { return weirbin.ListeningAddress(line) != "" }, time.Minute)
	require.NoError(c.t, err)
}

// kill ends the first broker with SIGKILL and starts it again; given ones it leaves alone.
func (c *cluster) kill() {
	if c.launcher == nil {
		return
	}
	c.processes[0].Kill()
	<-c.processes[0].Ended()
	c.launch(0)
}

// disturb kills and stops brokers until the time of -for is over, and returns how often it did either.
func (c *cluster) disturb(ctx context.Context) (killed, stopped int) {
	draw := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 11))
	wait := func() { sleep(ctx, downMin+time.Duration(draw.Int64N(int64(downMax-downMin)))) }
	for end := time.Now().Add(*forFlag); time.Now().Before(end) && ctx.Err() == nil; wait() {
		i := draw.IntN(len(c.processes))
		if draw.IntN(2) == 0 {
			killed++
			c.processes[i].Kill()
			wait()
			c.launch(i)
			continue
		}
		stopped++
		require.NoError(c.t, syscall.Kill(c.processes[i].ID(), syscall.SIGSTOP))
		wait()
		require.NoError(c.t, syscall.Kill(c.processes[i].ID(), syscall.SIGCONT))
	}
	return killed, stopped
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
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
	ctx, cancel := context.WithTimeout(t.Context(), limit+2**forFlag)
	defer cancel()
	c := newCluster(t)
	p := &pipeline{cluster: c, t: t, in: name(t, "in"), out: name(t, "out"), group: name(t, "group")}
	p.create(ctx)
	var all sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	for i := range workers {
		all.Go(func() { p.work(working, i) })
	}
	var sent map[string]bool
	if *forFlag == 0 {
		sent = p.fill(ctx)
		p.watch(ctx, sent, kills)
	} else {
		sent = p.endure(ctx)
		p.watch(ctx, sent, 0)
	}
	stop()
	all.Wait()
	counts := p.count(ctx)
	for value := range sent {
		require.Positive(t, counts[value], "record %s did not come out", value)
	}
	for value, n := range counts {
		require.Equal(t, 1, n, "record %s came out %d times", value, n)
	}
	require.Equal(t, int64(len(counts)), p.committed(ctx), "the group has read everything")
	t.Logf("%d records, %d transactions committed, %d aborted, %d zombies refused", len(counts), p.commits.Load(), p.aborts.Load(), p.refused.Load())
	require.Positive(t, p.aborts.Load())
}

type pipeline struct {
	*cluster
	t                        *testing.T
	in, out, group           string
	commits, aborts, refused atomic.Int64
}

// endure lets records go in while brokers are killed and stopped, and returns those that were acknowledged.
func (p *pipeline) endure(ctx context.Context) (sent map[string]bool) {
	ended := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { sent = p.trickle(ctx, ended) })
	killed, stopped := p.disturb(ctx)
	close(ended)
	sending.Wait()
	p.t.Logf("%d kills and %d stops; %d records went in", killed, stopped, len(sent))
	return sent
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

// fill sends all records at once, and returns them.
func (p *pipeline) fill(ctx context.Context) map[string]bool {
	client := p.client(p.t, kgo.DefaultProduceTopic(p.in))
	defer client.Close()
	sent := &ledger{records: map[string]bool{}}
	for i := range records {
		p.send(ctx, client, sent, i)
	}
	require.NoError(p.t, client.Flush(ctx))
	return sent.records
}

// trickle sends records until ended is closed, and returns those that are acknowledged.
func (p *pipeline) trickle(ctx context.Context, ended <-chan struct{}) map[string]bool {
	client := p.client(p.t, kgo.DefaultProduceTopic(p.in))
	defer client.Close()
	sent := &ledger{records: map[string]bool{}}
	pace := time.NewTicker(fillPace)
	defer pace.Stop()
	for i := 0; ; {
		select {
		case <-ended:
			if err := client.Flush(ctx); err != nil {
				p.t.Error(err)
			}
			return sent.records
		case <-pace.C:
		}
		for range fillBurst {
			p.send(ctx, client, sent, i)
			i++
		}
	}
}

// ledger has the records that are acknowledged.
type ledger struct {
	mutex   sync.Mutex
	records map[string]bool
}

// send sends a record. One that the client gave up on may come out or not.
func (p *pipeline) send(ctx context.Context, client *kgo.Client, sent *ledger, i int) {
	value := strconv.Itoa(i)
	client.Produce(ctx, kgo.KeySliceRecord([]byte(value), []byte(value)), func(_ *kgo.Record, err error) {
		var cut *kgo.ErrFirstReadEOF // a kill hit a connection in its first exchange: this client takes that for a wrong protocol
		if err != nil {
			if !errors.As(err, &cut) {
				p.t.Error(err)
			}
			return
		}
		sent.mutex.Lock()
		defer sent.mutex.Unlock()
		sent.records[value] = true
	})
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
	fetches := s.PollRecords(polling, 1+draw.IntN(recordsMax()))
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

// watch reads what comes out until all that was sent is there, and kills the broker meanwhile.
func (p *pipeline) watch(ctx context.Context, sent map[string]bool, kills int) {
	client := p.client(p.t, kgo.ConsumeTopics(p.out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer client.Close()
	missing, all, killed := maps.Clone(sent), len(sent), 0
	for len(missing) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			require.Fail(p.t, "records did not come out", "%d of %d\n%s", len(missing), all, p.state())
		}
		fetches.EachRecord(func(r *kgo.Record) { delete(missing, string(r.Value)) })
		if killed < kills && all-len(missing) > (killed+1)*all/(kills+1) {
			killed++
			p.kill()
		}
	}
}

// state is where each partition is: a transaction that hangs shows in stable offsets, a group that does in committed ones.
func (p *pipeline) state() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := p.client(p.t)
	defer client.Close()
	admin := kadm.NewClient(client)
	var lines []string
	note := func(what string, o kadm.ListedOffsets, err error) {
		lines = append(lines, fmt.Sprintf("%s: error %v", what, err))
		o.Each(func(o kadm.ListedOffset) {
			lines = append(lines, fmt.Sprintf("%s %d: %d %v", what, o.Partition, o.Offset, o.Err))
		})
	}
	ends, err := admin.ListEndOffsets(ctx, p.in, p.out)
	note("end", ends, err)
	stable, err := admin.ListCommittedOffsets(ctx, p.out)
	note("stable", stable, err)
	committed, err := admin.FetchOffsets(ctx, p.group)
	lines = append(lines, fmt.Sprintf("group: error %v", err))
	committed.Each(func(o kadm.OffsetResponse) {
		lines = append(lines, fmt.Sprintf("group %d: %d %v", o.Partition, o.At, o.Err))
	})
	return strings.Join(lines, "\n")
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
