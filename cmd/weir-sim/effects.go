package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/sim"
)

// coverage is what runs of clusters had of faults, and what was seen of them.
type coverage struct {
	runs    map[string]int // that had a kind of fault
	effects map[string]*sim.Effect
	calm    int            // runs without a fault
	killed  int            // runs with a power failure or SIGKILL
	members int            // runs in which members came, went or were lost
	both    int            // runs with both
	marks   map[string]int // runs that reached one of mixedMarks
}

// mixedMarks are places that runs of mixed versions reach, and what the table calls such runs.
var mixedMarks = []struct{ mark, name string }{
	{"world: a broker ran as an older release", "with brokers of an older release"},
	{"world: a broker was upgraded", "in which brokers were upgraded"},
	{"world: a level that some do not serve was refused", "in which a level was refused that some did not serve"},
	{"world: the level was raised", "in which the level was raised"},
	{"world: a downgraded broker refused to start", "in which a downgraded broker refused to start"},
}

// memberMarks are places that a run reaches whose members change after the start.
var memberMarks = []string{
	"world: a broker joined", "world: a zone was lost for good", "world: a zone was isolated for good", "world: a zone went deaf for good", "node: a broker was unregistered",
	"world: an operator removed a voter",
}

func (c *coverage) add(r *sim.Result) {
	if c.runs == nil {
		c.runs, c.effects, c.marks = map[string]int{}, map[string]*sim.Effect{}, map[string]int{}
	}
	killed := false
	for kind, e := range r.Effects {
		c.runs[kind]++
		sum := c.effects[kind]
		if sum == nil {
			sum = &sim.Effect{}
			c.effects[kind] = sum
		}
		sum.Add(e)
		killed = killed || strings.HasPrefix(kind, "crash") || strings.HasPrefix(kind, "kill")
	}
	for _, m := range mixedMarks {
		if r.Marks[m.mark] > 0 {
			c.marks[m.mark]++
		}
	}
	changed := slices.ContainsFunc(memberMarks, func(mark string) bool { return r.Marks[mark] > 0 })
	for _, count := range []struct {
		n  *int
		is bool
	}{{&c.calm, len(r.Effects) == 0}, {&c.killed, killed}, {&c.members, changed}, {&c.both, killed && changed}} {
		if count.is {
			*count.n++
		}
	}
}

func (c *coverage) print() {
	fmt.Printf("\n%-20s %6s %9s %8s %8s %9s %8s %8s\n", "fault", "runs", "injected", "retry", "fence", "failover", "move", "nothing")
	for _, kind := range slices.Sorted(maps.Keys(c.effects)) {
		e := c.effects[kind]
		fmt.Printf("%-20s %6d %9d %8d %8d %9d %8d %8d\n", kind, c.runs[kind], e.Injected, e.Retries, e.Fences, e.Failovers, e.Moves, e.None)
	}
	fmt.Printf("runs without a fault: %d; with a kill: %d; whose members changed: %d; with both: %d\n", c.calm, c.killed, c.members, c.both)
	fmt.Print("runs of mixed versions:")
	for i, m := range mixedMarks {
		fmt.Printf("%s %d %s", [...]string{"", ";"}[min(i, 1)], c.marks[m.mark], m.name)
	}
	fmt.Println()
}
