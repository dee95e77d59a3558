package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/sim"
	"weir/sim/checker"
	"weir/sim/plan"
)

// fuzzer runs seeds on several workers; each run is a world of its own.
type fuzzer struct {
	plans    planFlags
	plan     *plan.Plan
	twice    bool
	keep     bool
	slow     time.Duration
	marks    map[string]int64 // how many seeds hit each
	last     uint64
	deadline time.Time
	cpu      time.Duration // of the process; 0 is no bound

	mutex      sync.Mutex
	next       uint64
	done       int
	failed     int
	operations int64
	events     uint64
	faults     int
	linear     int
	simulated  time.Duration
	coverage   coverage
	stop       bool
	progress   time.Time
	start      time.Time
}

func fuzzCommand(args []string) int {
	set := flag.NewFlagSet("fuzz", flag.ExitOnError)
	f := &fuzzer{marks: map[string]int64{}}
	set.StringVar(&f.plans.file, "plan", "", "file with a plan for all seeds, instead of each seed's own")
	set.BoolVar(&f.plans.reference, "reference", false, "use the reference plan for all seeds")
	set.BoolVar(&f.plans.cluster, "cluster", false, "draw plans of clusters of several brokers")
	first := set.Uint64("first-seed", 1, "the first seed")
	seeds := set.Uint64("seeds", 0, "how many seeds; 0 is no bound")
	duration := set.Duration("duration", 0, "for how long; 0 is no bound")
	set.DurationVar(&f.cpu, "cpu", 0, "for how much processor time; 0 is no bound")
	workers := set.Int("j", 1, "runs at a time")
	set.BoolVar(&f.twice, "twice", false, "run each seed twice and compare the hashes")
	set.BoolVar(&f.keep, "keep-going", false, "go on after a failure")
	set.DurationVar(&f.slow, "slow", 10*time.Second, "name seeds that take longer than this")
	marks := set.Bool("marks", false, "print at the end how many seeds reached each named place")
	unreached := set.String("unreached", "", "file that lists the marks which the seeds need not reach, each with its reason; fail if another one is not reached")
	profile := set.String("cpuprofile", "", "write a CPU profile to this file")
	set.Parse(args)
	var err error
	if f.plan, err = f.plans.load(); err != nil {
		return complain(err)
	}
	stop, err := startProfile(*profile)
	if err != nil {
		return complain(err)
	}
	defer stop()
	if *seeds == 0 && *duration == 0 && f.cpu == 0 {
		*seeds = 100
	}
	f.next, f.last = *first, ^uint64(0)
	if *seeds > 0 {
		f.last = *first + *seeds - 1
	}
	f.start = time.Now()
	if *duration > 0 {
		f.deadline = f.start.Add(*duration)
	}
	var group sync.WaitGroup
	for range *workers {
		group.Go(f.work)
	}
	group.Wait()
	f.summary("done: ")
	if f.plans.cluster {
		f.coverage.print()
	}
	if *marks {
		printMarks(f.marks)
	}
	if *unreached != "" && !f.reachedAll(*unreached) {
		return 1
	}
	if f.failed > 0 {
		return 1
	}
	return 0
}

// reachedAll reports whether the seeds reached every mark but those in a file, whose
// lines are a mark, two spaces or more, and the reason.
func (f *fuzzer) reachedAll(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		complain(err)
		return false
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if mark, reason, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && mark[0] != '#' && strings.TrimSpace(reason) != "" {
			listed[mark] = true
		}
	}
	all := true
	for _, mark := range slices.Sorted(maps.Keys(f.marks)) {
		if f.marks[mark] == 0 && !listed[mark] {
			fmt.Printf("not reached by any seed, and not in %s: %s\n", file, mark)
			all = false
		}
	}
	return all
}

func (f *fuzzer) take() (uint64, bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.stop || f.next > f.last || !f.deadline.IsZero() && time.Now().After(f.deadline) || f.cpu > 0 && cpuTime() > f.cpu {
		return 0, false
	}
	f.next++
	return f.next - 1, true
}

func (f *fuzzer) work() {
	for {
		seed, ok := f.take()
		if !ok {
			return
		}
		start := time.Now()
		p := f.plan
		if p == nil {
			p = f.plans.draw(seed)
		}
		r := sim.Run(seed, p, sim.Options{})
		wall := time.Since(start)
		if f.twice && r.OK() {
			again := sim.Run(seed, p, sim.Options{NoLinear: true})
			if again.Hash != r.Hash || again.Events != r.Events {
				r.Violations = append(r.Violations, checker.Violation{
					Invariant: "determinism",
					Text:      fmt.Sprintf("the second run has hash %016x and %d events", again.Hash, again.Events),
				})
			}
		}
		f.took(r, wall)
	}
}

func (f *fuzzer) took(r *sim.Result, wall time.Duration) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.done++
	f.operations += r.Operations
	f.events += r.Events
	f.faults += r.Faults
	f.linear += r.Linear
	f.simulated += r.Sim
	f.coverage.add(r)
	for name, hits := range r.Marks {
		f.marks[name] += min(hits, 1)
	}
	if wall > f.slow {
		fmt.Printf("slow: seed=%d wall=%v events=%d ops=%d sim=%v\n", r.Seed, wall.Round(time.Millisecond), r.Events, r.Operations, r.Sim.Round(time.Second))
	}
	if !r.OK() {
		f.failed++
		f.stop = !f.keep
		report(r, wall, f.plans.replay(r.Seed))
	}
	if time.Since(f.progress) > 2*time.Second {
		f.progress = time.Now()
		f.summary("")
	}
}

func (f *fuzzer) summary(head string) {
	wall := time.Since(f.start)
	fmt.Printf("%sseeds=%d failed=%d next=%d events=%d ops=%d faults=%d porcupine=%d sim=%v wall=%v cpu=%v seeds/s=%.1f\n", head, f.done, f.failed, f.next,
		f.events, f.operations, f.faults, f.linear, f.simulated.Round(time.Second), wall.Round(time.Millisecond), cpuTime().Round(time.Millisecond), float64(f.done)/wall.Seconds())
}
