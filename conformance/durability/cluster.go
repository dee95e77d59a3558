package durability

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir/internal/process"
)

// ClusterOptions say how brokers of one cluster are disturbed: one at a time, by SIGKILL or SIGSTOP.
type ClusterOptions struct {
	Options
	// Launch starts a broker, numbered from 0, on the data that it left. Options.Launch is not used, and Options.Address has the
	// addresses of all, separated by commas.
	Launch func(broker int) (*process.Process, error)
	// Addresses are those of all.
	Addresses []string
	// Brokers is how many there are.
	Brokers int
	// For is how long they are disturbed.
	For time.Duration
	// Down is how long a killed broker stays away, and a stopped one stopped: from half of it to twice as long.
	Down time.Duration
	// Calm is the time between two disturbances, likewise.
	Calm time.Duration
}

// ClusterReport is what a run saw of a cluster.
type ClusterReport struct {
	Report
	Stops int
	// SilenceMax is the longest time that a partition went without an acknowledgement: the session timeout until a broker is
	// taken for dead, the wait for the end of its lease, the failover, and what the clients take to find the new leader.
	SilenceMax time.Duration
}

// RunCluster disturbs a cluster under load, and then looks for every record. The brokers are dead when it returns.
func RunCluster(ctx context.Context, o ClusterOptions) (report ClusterReport, err error) {
	c := &clusterRun{o: &o, random: rand.New(rand.NewPCG(o.Seed, 2)), brokers: make([]*process.Process, o.Brokers)}
	defer func() { c.end(err) }()
	if err := c.begin(ctx); err != nil {
		return c.report, err
	}
	fleet, err := launch(ctx, &o.Options)
	if err != nil {
		return c.report, err
	}
	defer fleet.close()
	r := &runner{o: &o.Options, fleet: fleet, process: c.brokers[0]}
	if err := c.disturb(ctx, fleet); err != nil {
		return c.report, err
	}
	if err := fleet.finish(ctx); err != nil {
		return c.report, err
	}
	r.process = c.brokers[0]
	err = r.verify(ctx)
	c.report.Report.Acked, c.report.Report.Refused, c.report.Report.Read = r.report.Acked, r.report.Refused, r.report.Read
	_, c.report.SilenceMax = fleet.silence()
	return c.report, err
}

// begin starts the brokers and makes the topic once all are there, so that each gets partitions.
func (c *clusterRun) begin(ctx context.Context) error {
	for i := range c.brokers {
		if err := c.launch(i); err != nil {
			return err
		}
	}
	if err := eventually(ctx, c.o.RecoveryLimit, nil, func(ctx context.Context) error { return awaitBrokers(ctx, c.o, c.o.Address) }); err != nil {
		return err
	}
	return eventually(ctx, c.o.RecoveryLimit, nil, func(ctx context.Context) error { return createTopic(ctx, &c.o.Options) })
}

// end kills the brokers, and shows their last words after a failure.
func (c *clusterRun) end(err error) {
	for i, b := range c.brokers {
		if b == nil {
			continue
		}
		if err != nil {
			c.o.Log("broker %d printed last:\n%s", i+1, b.Tail(40))
		}
		b.Kill()
	}
}

// awaitBrokers wants the broker at an address, or one of several, to know of all.
func awaitBrokers(ctx context.Context, o *ClusterOptions, address string) error {
	client, err := connect(address)
	if err != nil {
		return err
	}
	defer client.Close()
	known, err := kadm.NewClient(client).ListBrokers(ctx)
	if err == nil && len(known) < o.Brokers {
		err = fmt.Errorf("%d of %d brokers are registered", len(known), o.Brokers)
	}
	return err
}

type clusterRun struct {
	o       *ClusterOptions
	random  *rand.Rand
	brokers []*process.Process
	report  ClusterReport
}

func (c *clusterRun) launch(i int) (err error) {
	c.brokers[i], err = c.o.Launch(i)
	return err
}

// around is from half of a time to twice as long.
func (c *clusterRun) around(d time.Duration) time.Duration {
	return d/2 + time.Duration(c.random.Int64N(int64(d)*3/2+1))
}

// disturb kills and stops brokers until the time is over.
func (c *clusterRun) disturb(ctx context.Context, f *fleet) error {
	for end := time.Now().Add(c.o.For); time.Now().Before(end); {
		if err := c.sleep(ctx, c.around(c.o.Calm)); err != nil {
			return err
		}
		i := c.random.IntN(len(c.brokers))
		b := c.brokers[i]
		select {
		case <-b.Ended():
			return fmt.Errorf("broker %d ended by itself: %w", i+1, errors.Join(b.Wait(), errors.New(b.Tail(40))))
		default:
		}
		acked, _ := f.ledger.count()
		down := c.around(c.o.Down)
		if c.random.IntN(2) == 0 {
			c.report.Kills++
			c.o.Log("kill broker %d for %v, with %d records acknowledged", i+1, down, acked)
			b.Kill()
			if err := c.sleep(ctx, down); err != nil {
				return err
			}
			if err := c.launch(i); err != nil {
				return err
			}
			continue
		}
		c.report.Stops++
		c.o.Log("stop broker %d for %v, with %d records acknowledged", i+1, down, acked)
		if err := syscall.Kill(b.ID(), syscall.SIGSTOP); err != nil {
			return err
		}
		err := c.sleep(ctx, down)
		if err := errors.Join(err, syscall.Kill(b.ID(), syscall.SIGCONT)); err != nil {
			return err
		}
	}
	acked, _ := f.ledger.count()
	limit := time.Now().Add(c.o.RecoveryLimit)
	for {
		if now, _ := f.ledger.count(); now >= acked+c.o.AckedBetween {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("fewer than %d acknowledgements within %v of the last disturbance", c.o.AckedBetween, c.o.RecoveryLimit)
		}
		if err := c.sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func (c *clusterRun) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
