package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"weir/sim"
)

func scaleCommand(args []string) int {
	set := flag.NewFlagSet("scale", flag.ExitOnError)
	seed := set.Uint64("seed", 1, "the seed")
	brokers := set.Int("brokers", 6, "brokers, over three zones")
	partitions := set.Int("partitions", 100_000, "partitions, in topics of a thousand; a half and a quarter of them are run, too")
	verbose := set.Bool("v", false, "print the brokers' log as it comes")
	set.Parse(args)
	if *brokers < 3 || *partitions < 4000 {
		return complain(fmt.Errorf("scale wants at least 3 brokers and 4000 partitions"))
	}
	fmt.Printf("%d brokers, one zone of three fails and comes back; times are simulated but for CPU, which has the garbage collector's in it\n", *brokers)
	fmt.Println("partitions  created  detected  taken over  balanced  moved  records  image KiB  controller CPU  longest turn CPU  run CPU")
	code := 0
	for _, n := range []int{*partitions / 4, *partitions / 2, *partitions} {
		options := sim.ScaleOptions{Seed: *seed, Brokers: *brokers, Partitions: n, Stopwatch: cpuTime}
		if *verbose {
			options.Echo = os.Stdout
		}
		began := cpuTime()
		r := sim.Scale(options)
		round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
		fmt.Printf("%10d  %7v  %8v  %10v  %8v  %5d  %7d  %9d  %14v  %16v  %7v\n", r.Partitions, round(r.Created), round(r.Detected), round(r.Taken), round(r.Balanced),
			r.Moved, r.Records, r.ImageBytes>>10, round(r.Controller), round(r.Longest), round(cpuTime()-began))
		for _, v := range r.Violations {
			fmt.Printf("%s: %s\n", v.Invariant, v.Text)
			code = 1
		}
		runtime.GC()
	}
	return code
}
