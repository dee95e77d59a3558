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

	"weir/sim"
	"weir/sim/plan"
)

// planFlags are the flags that choose a plan.
type planFlags struct {
	seed      uint64
	file      string
	reference bool
}

func (f *planFlags) register(set *flag.FlagSet) {
	set.Uint64Var(&f.seed, "seed", 1, "the seed")
	set.StringVar(&f.file, "plan", "", "file with a plan, instead of the one that the seed draws")
	set.BoolVar(&f.reference, "reference", false, "use the reference plan: 200 requests a second, no faults")
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
	linear := set.Bool("porcupine", true, "judge short histories by porcupine, too")
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
	start, cpu := time.Now(), cpuTime()
	r := sim.Run(plans.seed, p, options)
	wall, used := time.Since(start), cpuTime()-cpu
	report(r, wall, plans.replay(r.Seed))
	fmt.Printf("cpu=%v events/s=%.0f ops/cpu-s=%.0f sim/wall=%.0f acked=%d resends=%d restarts=%d puts=%d objects=%d porcupine=%d\n", used.Round(time.Millisecond),
		float64(r.Events)/wall.Seconds(), float64(r.Operations)/used.Seconds(), r.Sim.Seconds()/wall.Seconds(), r.Acked, r.Resends, r.Restarts, r.Puts, r.Objects, r.Linear)
	if *marks {
		printMarks(r.Marks)
	}
	if !r.OK() {
		return 1
	}
	return 0
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

// report prints the run's line, and what went wrong.
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
	for _, v := range r.Violations {
		fmt.Printf("\n%s: %s\n", v.Invariant, v.Text)
	}
	fmt.Printf("\nlast log lines:\n  %s\n\nreplay: %s\n", strings.Join(r.Log, "\n  "), replay)
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
		p = plan.Swarm(plans.seed)
	}
	fmt.Print(p)
	return 0
}

// shrinkCommand removes elements of a failing plan as long as the same invariant breaks.
func shrinkCommand(args []string) int {
	set := flag.NewFlagSet("shrink", flag.ExitOnError)
	var plans planFlags
	plans.register(set)
	limit := set.Duration("limit", 2*time.Minute, "how long to try")
	set.Parse(args)
	p, err := plans.load()
	if err != nil {
		return complain(err)
	}
	if p == nil {
		p = plan.Swarm(plans.seed)
	}
	options := sim.Options{NoLinear: true}
	first := sim.Run(plans.seed, p, options)
	if first.OK() {
		fmt.Println("# this seed and plan do not fail")
		return 0
	}
	invariant, before := first.Violations[0].Invariant, p.Elements()
	deadline := time.Now().Add(*limit)
	for shrunk := true; shrunk && time.Now().Before(deadline); {
		shrunk = false
		for i := 0; i < p.Elements() && time.Now().Before(deadline); {
			smaller := p.Without(i)
			if r := sim.Run(plans.seed, smaller, options); !r.OK() && r.Violations[0].Invariant == invariant {
				p, shrunk = smaller, true
				continue
			}
			i++
		}
	}
	fmt.Printf("# seed %d breaks %s; %d of %d elements are left\n%s", plans.seed, invariant, p.Elements(), before, p)
	return 1
}
