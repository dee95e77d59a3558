package main

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"weir/bill"
	"weir/sim"
	"weir/sim/checker"
	"weir/sim/plan"
)

// planFlags are the flags that choose a plan.
type planFlags struct {
	seed      uint64
	file      string
	reference bool
	cluster   bool
}

func (f *planFlags) register(set *flag.FlagSet) {
	set.Uint64Var(&f.seed, "seed", 1, "the seed")
	set.StringVar(&f.file, "plan", "", "file with a plan, instead of the one that the seed draws")
	set.BoolVar(&f.reference, "reference", false, "use the reference plan: 200 requests a second, no faults")
	set.BoolVar(&f.cluster, "cluster", false, "draw the plan of a cluster of several brokers")
}

// draw is the plan that a seed draws.
func (f *planFlags) draw(seed uint64) *plan.Plan {
	if f.cluster {
		return plan.ClusterSwarm(seed)
	}
	return plan.Swarm(seed)
}

// load returns the plan; nil is the seed's own.
func (f *planFlags) load() (*plan.Plan, error) {
	switch {
	case f.reference:
		return plan.Reference(), nil
	case f.file != "":
		text, err := os.ReadFile(f.file)
		if err != nil {
			return nil, err
		}
		return plan.Parse(string(text))
	}
	return nil, nil
}

// replay is the command line that runs a seed again.
func (f *planFlags) replay(seed uint64) string {
	line := fmt.Sprintf("weir-sim run -seed %d", seed)
	if f.reference {
		line += " -reference"
	}
	if f.cluster {
		line += " -cluster"
	}
	if f.file != "" {
		line += " -plan " + f.file
	}
	return line
}

func runCommand(args []string) int {
	set := flag.NewFlagSet("run", flag.ExitOnError)
	var plans planFlags
	plans.register(set)
	verbose := set.Bool("v", false, "print the node's log as it comes")
	clients := set.Bool("vv", false, "print every answer that clients get, too")
	trace := set.String("trace", "", "write every entry of the trace to this file")
	profile := set.String("cpuprofile", "", "write a CPU profile to this file")
	marks := set.Bool("marks", false, "print how often the node and the world reached each named place")
	bills := set.Bool("bill", false, "print what S3 would charge for the run's requests, by purpose")
	linear := set.Bool("porcupine", true, "check short histories with porcupine, too")
	set.Parse(args)
	p, err := plans.load()
	if err != nil {
		return complain(err)
	}
	options := sim.Options{NoLinear: !*linear, EchoClients: *clients}
	if *verbose || *clients {
		options.Echo = os.Stdout
	}
	if *trace != "" {
		file, err := os.Create(*trace)
		if err != nil {
			return complain(err)
		}
		buffered := bufio.NewWriter(file)
		options.Trace = buffered
		defer file.Close()
		defer buffered.Flush()
	}
	stop, err := startProfile(*profile)
	if err != nil {
		return complain(err)
	}
	defer stop()
	if p == nil {
		p = plans.draw(plans.seed)
	}
	start, cpu := time.Now(), cpuTime()
	r := sim.Run(plans.seed, p, options)
	wall, used := time.Since(start), cpuTime()-cpu
	report(r, wall, plans.replay(r.Seed))
	fmt.Printf("cpu=%v events/s=%.0f ops/cpu-s=%.0f sim/wall=%.0f acked=%d resends=%d restarts=%d puts=%d objects=%d porcupine=%d\n", used.Round(time.Millisecond),
		float64(r.Events)/wall.Seconds(), float64(r.Operations)/used.Seconds(), r.Sim.Seconds()/wall.Seconds(), r.Acked, r.Resends, r.Restarts, r.Puts, r.Objects, r.Linear)
	if *marks {
		printMarks(r.Marks)
	}
	if *bills {
		if err := printBill(&r.Account); err != nil {
			return complain(err)
		}
	}
	if !r.OK() {
		return 1
	}
	return 0
}

// printBill prices a run with the first store of the price list.
func printBill(a *bill.Account) error {
	list := bill.DefaultPrices()
	prices, err := list.Store("")
	if err != nil {
		return err
	}
	fmt.Println()
	return list.Print(os.Stdout, a, prices)
}

// startProfile profiles the CPU into a file until stop; an empty name is none.
func startProfile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		file.Close()
	}, nil
}

func printMarks(marks map[string]int64) {
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		fmt.Printf("%8d  %s\n", marks[name], name)
	}
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "weir-sim:", err)
	return 2
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// report prints the run's line and, if it failed, a page that says what broke, what the
// seed drew, what the brokers said last, and how to run it again.
func report(r *sim.Result, wall time.Duration, replay string) {
	verdict := "ok"
	if !r.OK() {
		verdict = "violation invariant=" + r.Violations[0].Invariant
	}
	fmt.Printf("seed=%d hash=%016x events=%d sim=%v wall=%v ops=%d faults=%d verdict=%s\n",
		r.Seed, r.Hash, r.Events, r.Sim.Round(time.Millisecond), wall.Round(time.Millisecond), r.Operations, r.Faults, verdict)
	if r.OK() {
		return
	}
	fmt.Printf("replay: %s\n", replay)
	for _, v := range r.Violations {
		fmt.Printf("\n%s", v.Invariant)
		if meaning := checker.Meaning(v.Invariant); meaning != "" {
			fmt.Printf(" (%s)", meaning)
		}
		fmt.Printf("\n  %s\n", v.Text)
	}
	fmt.Printf("\nThe plan:\n  %s\n", strings.ReplaceAll(strings.TrimSpace(r.Plan.String()), "\n", "\n  "))
	fmt.Printf("\nThe brokers' last log lines:\n  %s\n\n", strings.Join(r.Log, "\n  "))
}

func planCommand(args []string) int {
	set := flag.NewFlagSet("plan", flag.ExitOnError)
	var plans planFlags
	plans.register(set)
	set.Parse(args)
	p, err := plans.load()
	if err != nil {
		return complain(err)
	}
	if p == nil {
		p = plans.draw(plans.seed)
	}
	fmt.Print(p)
	return 0
}

// shrinkCommand makes a failing plan small: as long as the same invariant breaks, it
// removes faults, clients and topics, and resets settings and rates to their defaults.
func shrinkCommand(args []string) int {
	set := flag.NewFlagSet("shrink", flag.ExitOnError)
	var plans planFlags
	plans.register(set)
	limit := set.Duration("limit", 2*time.Minute, "how long to try")
	output := set.String("o", "shrunk.plan", "file that gets the plan")
	set.Parse(args)
	p, err := plans.load()
	if err != nil {
		return complain(err)
	}
	if p == nil {
		p = plans.draw(plans.seed)
	}
	s := shrinker{seed: plans.seed, deadline: time.Now().Add(*limit)}
	first := sim.Run(s.seed, p, sim.Options{NoLinear: true})
	if first.OK() {
		fmt.Println("this seed and plan do not fail")
		return 0
	}
	s.invariant = first.Violations[0].Invariant
	small := s.shrink(p)
	fmt.Printf("%d of %d elements and %d of %d settings are left after %d runs\n", small.Elements(), p.Elements(), small.Settings(), p.Settings(), s.runs)
	if err := os.WriteFile(*output, []byte(small.String()), 0o644); err != nil {
		return complain(err)
	}
	start := time.Now()
	report(sim.Run(s.seed, small, sim.Options{NoLinear: true}), time.Since(start), fmt.Sprintf("weir-sim run -seed %d -plan %s", s.seed, *output))
	return 1
}

type shrinker struct {
	seed      uint64
	invariant string
	deadline  time.Time
	runs      int
}

func (s *shrinker) shrink(p *plan.Plan) *plan.Plan {
	for before := ""; before != p.String() && time.Now().Before(s.deadline); {
		before = p.String()
		p = s.each(p, (*plan.Plan).Elements, (*plan.Plan).Without)
		p = s.each(p, (*plan.Plan).Settings, (*plan.Plan).Reset)
	}
	return p
}

// each tries every change of a kind, many at once and then fewer, and keeps those with which the plan still fails.
func (s *shrinker) each(p *plan.Plan, count func(*plan.Plan) int, change func(*plan.Plan, int) *plan.Plan) *plan.Plan {
	for size := count(p); size > 0; size /= 2 {
		for i := 0; i < count(p) && time.Now().Before(s.deadline); {
			smaller := p
			for range min(size, count(p)-i) {
				smaller = change(smaller, i) // the next one takes its place
			}
			if s.fails(smaller) {
				p = smaller
			} else {
				i += size
			}
		}
	}
	return p
}

func (s *shrinker) fails(p *plan.Plan) bool {
	s.runs++
	r := sim.Run(s.seed, p, sim.Options{NoLinear: true})
	return !r.OK() && r.Violations[0].Invariant == s.invariant
}
