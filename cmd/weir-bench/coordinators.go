package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// coordinators is what `coordinators` was asked to do: loads on group and transaction coordinators.
type coordinators struct {
	rivals rivalFlags
	rounds int
	rows   string
	dir    string
	output string
	period time.Duration
	warm   time.Duration

	groups, members, connections        int           // of the heartbeats
	spread                              time.Duration // of their first heartbeats
	hugeMembers, hugeTopics, restarting int
	topicPartitions                     int // of each of hugeTopics
	producers, recordBytes              int
	records                             []int // of the transactions
	consumers, inFlight, offsets        int   // of the commits
	restarted                           int   // groups that commit before a restart
}

// coordinatorFigure is one line of the table.
type coordinatorFigure struct {
	key, title, format string
	// scale makes the unit of the title of that of the figure.
	scale float64
}

// coordinatorRow is a load, which gives one figure or several.
type coordinatorRow struct {
	name    string
	figures []coordinatorFigure
	run     func(*coordinatorSession, context.Context) error
}

// coordinatorRound is one broker's round: figures by key.
type coordinatorRound struct {
	Rival   string             `json:"rival"`
	Round   int                `json:"round"`
	Figures map[string]float64 `json:"figures"`
}

// coordinatorSession is one broker under load.
type coordinatorSession struct {
	*coordinators
	*broker
	figures map[string]float64
}

func coordinatorsCommand(ctx context.Context, args []string) error {
	set := newFlags("coordinators")
	c := &coordinators{rivals: rivalFlags{weirConfig: keyValues{}, only: "weir,kafka", kafkaConfig: classicDelay}, records: []int{10, 1000}, spread: heartbeatInterval}
	set.StringVar(&c.rivals.weir, "weir", "bin/weir", "the weir program")
	set.StringVar(&c.rivals.weirArgs, "weir-args", "", "more arguments for `weir server`, separated by blanks")
	set.Var(c.rivals.weirConfig, "weir-config", "key=value for weir's configuration file; may be repeated")
	set.StringVar(&c.rivals.kafkaLibs, "kafka-libs", "", "directory with Apache Kafka's jars; empty leaves Kafka out")
	set.StringVar(&c.rivals.java, "java", "java", "the Java 17 program")
	set.StringVar(&c.rivals.only, "only", c.rivals.only, "only these brokers")
	set.IntVar(&c.rounds, "rounds", 3, "rounds; the median is shown. Brokers are warmed before each load")
	set.StringVar(&c.rows, "rows", "", "only these loads, as commits,transactions,consumer,classic,rebalance,restart; empty is all")
	set.DurationVar(&c.period, "period", 10*time.Second, "how long each load is measured")
	set.DurationVar(&c.warm, "warm", 10*time.Second, "how long each load runs before that")
	set.IntVar(&c.groups, "groups", 1000, "groups that send heartbeats")
	set.IntVar(&c.members, "members", 10, "members of each")
	set.IntVar(&c.connections, "connections", 1000, "connections that their members share")
	set.IntVar(&c.hugeMembers, "huge-members", 2000, "members of the group that is restarted")
	set.IntVar(&c.hugeTopics, "huge-topics", 10, "topics of that group")
	set.IntVar(&c.topicPartitions, "topic-partitions", 1000, "partitions of each of these")
	set.IntVar(&c.restarting, "restarting", 20, "members that restart at a time")
	set.IntVar(&c.producers, "producers", 4, "transactional producers")
	set.IntVar(&c.recordBytes, "record-bytes", 100, "size of each record's value in a transaction")
	set.IntVar(&c.consumers, "consumers", 100, "consumers that commit offsets, ten to a group")
	set.IntVar(&c.inFlight, "in-flight", 5, "commits of one consumer under way")
	set.IntVar(&c.offsets, "offsets", 5, "partitions in each commit")
	set.IntVar(&c.restarted, "restarted-groups", 10_000, "groups that commit before the broker is killed and started again")
	set.StringVar(&c.dir, "dir", "", "where the brokers' directories are made; empty is the system's")
	set.StringVar(&c.output, "o", "", "write every figure to this file, as JSON")
	set.Parse(args)
	if c.members < 1 || c.connections%c.members != 0 || c.groups*c.members < c.connections {
		return errors.New("connections must be a multiple of members, and no more than all members")
	}
	for _, line := range strings.Fields(classicDelay) {
		if err := c.rivals.weirConfig.Set(line); err != nil {
			return err
		}
	}
	frugal()
	return c.run(ctx)
}

// heartbeatInterval is the one that both brokers give the members of consumer groups by default.
const heartbeatInterval = 5 * time.Second

// classicDelay lets groups of the classic protocol form faster than by default (3 s). Nothing that is measured depends on it.
const classicDelay = "group.initial.rebalance.delay.ms=500\n"

// run takes the brokers in turn; each round begins with another one.
func (c *coordinators) run(ctx context.Context) error {
	rivals, missing := c.rivals.rivals()
	for _, why := range missing {
		fmt.Fprintln(os.Stderr, "left out:", why)
	}
	if len(rivals) == 0 {
		return errors.New("no broker to measure")
	}
	var rounds []*coordinatorRound
	for round := range c.rounds {
		for i := range rivals {
			r := rivals[(i+round)%len(rivals)]
			measured, err := c.measure(ctx, r, round)
			if err != nil {
				return fmt.Errorf("round %d of %s: %w", round, r.Name, err)
			}
			rounds = append(rounds, measured)
		}
	}
	fmt.Print(c.markdown(time.Now().UTC(), describeMachine(), rivals, rounds))
	return c.write(rounds)
}

func (c *coordinators) write(rounds []*coordinatorRound) error {
	if c.output == "" {
		return nil
	}
	text, err := json.MarshalIndent(rounds, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.output, append(text, '\n'), 0o644)
}

// measure starts a broker on an empty directory, and runs all loads on it.
func (c *coordinators) measure(ctx context.Context, r *rival, round int) (*coordinatorRound, error) {
	b, _, err := startBroker(ctx, r, c.dir)
	if err != nil {
		return nil, err
	}
	defer b.remove()
	s := &coordinatorSession{coordinators: c, broker: b, figures: map[string]float64{}}
	for _, row := range c.loads() {
		runtime.GC()
		if err := row.run(s, ctx); err != nil {
			return nil, b.explain(fmt.Errorf("%s: %w", row.name, err))
		}
		for _, f := range row.figures {
			fmt.Fprintf(os.Stderr, "round %d %s: %s: "+f.format+"\n", round, r.Name, f.title, s.figures[f.key]*f.scale)
		}
	}
	return &coordinatorRound{Rival: r.Name, Round: round, Figures: s.figures}, nil
}

// loads are the rows that were asked for, in the order in which they run: the partitions of the last would slow the others.
func (c *coordinators) loads() []coordinatorRow {
	rows := []coordinatorRow{c.commitRow()}
	for _, n := range c.records {
		rows = append(rows, c.transactionRow(n))
	}
	rows = append(rows, c.consumerRow(), c.classicRow(), c.rebalanceRow(), c.restartRow())
	return slices.DeleteFunc(rows, func(r coordinatorRow) bool { return c.rows != "" && !contains(c.rows, r.name) })
}

// markdown shows the medians, with weir's as multiples of Kafka's.
func (c *coordinators) markdown(date time.Time, m machine, rivals []*rival, rounds []*coordinatorRound) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. %s. One client process on the same machine; the median of %d rounds.\n\n| |", date.Format("2006-01-02"), m, c.rounds)
	for _, r := range rivals {
		fmt.Fprintf(&b, " %s |", r.Name)
	}
	fmt.Fprintf(&b, " weir by kafka |\n|---|%s\n", strings.Repeat("---:|", len(rivals)+1))
	for _, row := range c.loads() {
		for _, f := range row.figures {
			fmt.Fprintf(&b, "| %s |", f.title)
			for _, r := range rivals {
				fmt.Fprintf(&b, " "+f.format+" |", medianFigure(rounds, r.Name, f.key)*f.scale)
			}
			fmt.Fprintf(&b, " %s |\n", ratioOf(medianFigure(rounds, "weir", f.key), medianFigure(rounds, "kafka", f.key)))
		}
	}
	return b.String()
}

func ratioOf(value, base float64) string {
	if value == 0 || base == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", value/base)
}

// medianFigure is zero if there is none.
func medianFigure(rounds []*coordinatorRound, rival, key string) float64 {
	var all []float64
	for _, r := range rounds {
		if r.Rival == rival {
			all = append(all, r.Figures[key])
		}
	}
	return median(all)
}

// sleep waits, unless ctx is over before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// counted runs the load's warm-up and then measures: it returns how much count grew in a second, and the CPU time that the broker
// used in a second.
func (s *coordinatorSession) counted(ctx context.Context, count func() int64) (rate, cpu float64, err error) {
	if err := sleep(ctx, s.warm); err != nil {
		return 0, 0, err
	}
	runtime.GC()
	before, begin := count(), time.Now()
	used, err := s.cpuOf(func() error { return sleep(ctx, s.period) })
	elapsed := time.Since(begin).Seconds()
	return float64(count()-before) / elapsed, used.Seconds() / elapsed, err
}
