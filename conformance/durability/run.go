package durability

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/process"
)

// Options say what is killed, and how often.
type Options struct {
	// Address is host:port of the broker, the same after each start.
	Address string
	// Launch starts the broker on the data that it left, without waiting for it.
	Launch func() (*process.Process, error)
	// Kills is how often it is killed while producers write; one more comes at the end.
	Kills int
	// Seed chooses the moments.
	Seed uint64
	// AckedBetween is the least number of acknowledgements between two kills, but for
	// those that come during recovery.
	AckedBetween int64
	// PauseMax is the longest time that a broker is let alone after those.
	PauseMax         time.Duration
	Producers        int
	Partitions       int32
	RecordsPerSecond int // of each producer, at most
	// RecoveryLimit bounds every wait for the broker to be of use again after a start.
	RecoveryLimit time.Duration
	// Log gets a line for each thing that happens.
	Log func(format string, args ...any)
}

// Report is what a run saw.
type Report struct {
	Kills, KillsInRecovery      int
	Acked, Refused, Read, Ahead int64
	// RecoveryMax is the longest time from a start to the next acknowledgement.
	RecoveryMax time.Duration
}

// runner is a run under way.
type runner struct {
	o       *Options
	random  *rand.Rand
	process *process.Process
	fleet   *fleet
	report  Report
}

// Run does all of it; the broker is dead when it returns. The error joins everything
// that was wrong.
func Run(ctx context.Context, o Options) (report Report, err error) {
	r := &runner{o: &o, random: rand.New(rand.NewPCG(o.Seed, 1))}
	defer func() {
		if r.process != nil {
			if err != nil {
				o.Log("the broker printed last:\n%s", r.process.Tail(40))
			}
			r.process.Kill()
		}
	}()
	if r.process, err = o.Launch(); err != nil {
		return r.report, err
	}
	if err := eventually(ctx, r.o.RecoveryLimit, r.process.Ended(), func(ctx context.Context) error { return createTopic(ctx, &o) }); err != nil {
		return r.report, err
	}
	if r.fleet, err = launch(ctx, &o); err != nil {
		return r.report, err
	}
	defer r.fleet.close()
	if err := r.kills(ctx); err != nil {
		return r.report, err
	}
	if err := r.fleet.finish(ctx); err != nil {
		return r.report, err
	}
	if err := r.restart("after the last acknowledgement"); err != nil {
		return r.report, err
	}
	return r.report, r.verify(ctx)
}

// kills ends the broker at random moments, each third time soon after its start.
func (r *runner) kills(ctx context.Context) error {
	for r.report.Kills < r.o.Kills {
		took, err := r.progress(ctx)
		if err != nil {
			return err
		}
		r.report.RecoveryMax = max(r.report.RecoveryMax, took)
		if err := r.rest(ctx, r.o.PauseMax); err != nil {
			return err
		}
		if err := r.restart("under load"); err != nil {
			return err
		}
		if r.random.IntN(3) > 0 {
			continue
		}
		if err := r.rest(ctx, 300*time.Millisecond); err != nil {
			return err
		}
		r.report.KillsInRecovery++
		if err := r.restart("soon after its start"); err != nil {
			return err
		}
	}
	_, err := r.progress(ctx)
	return err
}

// restart kills the broker and starts it again.
func (r *runner) restart(when string) error {
	select {
	case <-r.process.Ended():
		return fmt.Errorf("the broker ended by itself: %w", errors.Join(r.process.Wait(), errors.New(r.process.Tail(40))))
	default:
	}
	acked, _ := r.fleet.ledger.count()
	r.process.Kill()
	r.report.Kills++
	r.o.Log("kill %d %s, with %d records acknowledged", r.report.Kills, when, acked)
	next, err := r.o.Launch()
	if err == nil {
		r.process = next
	}
	return err
}

// rest lets a random time pass.
func (r *runner) rest(ctx context.Context, most time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(r.random.Int64N(int64(most) + 1))):
		return nil
	}
}

// progress waits for new acknowledgements and returns how long the first took.
func (r *runner) progress(ctx context.Context) (first time.Duration, err error) {
	begin, limit := time.Now(), time.After(r.o.RecoveryLimit)
	start, _ := r.fleet.ledger.count()
	for {
		acked, changed := r.fleet.ledger.count()
		if acked > start && first == 0 {
			first = time.Since(begin)
		}
		if acked >= start+r.o.AckedBetween {
			return first, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-r.process.Ended():
			return 0, fmt.Errorf("the broker ended by itself: %w", errors.Join(r.process.Wait(), errors.New(r.process.Tail(40))))
		case <-limit:
			return 0, fmt.Errorf("%d acknowledgements within %v of a start, not %d", acked-start, r.o.RecoveryLimit, r.o.AckedBetween)
		}
	}
}

// ends lists where the partitions end, once the broker says so.
func (r *runner) ends(ctx context.Context) (ends kadm.ListedOffsets, err error) {
	client, err := connect(r.o.Address)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	err = eventually(ctx, r.o.RecoveryLimit, r.process.Ended(), func(ctx context.Context) error {
		if ends, err = kadm.NewClient(client).ListEndOffsets(ctx, topic); err != nil {
			return err
		}
		return ends.Error()
	})
	return ends, err
}

// verify reads every partition whole, from a broker that has just recovered, and
// checks it. Nothing else runs by now.
func (r *runner) verify(ctx context.Context) error {
	ends, err := r.ends(ctx)
	if err != nil {
		return fmt.Errorf("end offsets: %w", err)
	}
	ledger := r.fleet.ledger
	r.report.Acked, r.report.Refused = ledger.acked, ledger.refused
	failures := ledger.failures
	for partition := range r.o.Partitions {
		a := newAudit(ledger, partition, r.fleet.seen[partition])
		end, _ := ends.Lookup(topic, partition)
		failures = append(failures, r.readAll(ctx, partition, end.Offset, a), a.end())
		r.report.Read += a.next
		r.report.Ahead += int64(len(a.seen))
	}
	if r.report.Acked == 0 {
		failures = append(failures, errors.New("nothing was acknowledged"))
	}
	return errors.Join(failures...)
}

// readAll gives the audit a partition's records below end.
func (r *runner) readAll(ctx context.Context, partition int32, end int64, a *audit) error {
	ctx, cancel := context.WithTimeout(ctx, r.o.RecoveryLimit)
	defer cancel()
	client, err := connect(r.o.Address, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(0)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer client.Close()
	for a.next < end {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read partition %d at offset %d of %d: %w", partition, a.next, end, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { a.record(stored{offset: r.Offset, value: r.Value}) })
	}
	return nil
}
