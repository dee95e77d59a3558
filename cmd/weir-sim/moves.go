package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"weir/sim"
)

func movesCommand(args []string) int {
	set := flag.NewFlagSet("moves", flag.ExitOnError)
	seed := set.Uint64("seed", 1, "the seed")
	brokers := set.Int("brokers", 3, "brokers, over three zones")
	count := set.Int("moves", 100, "how often the partition moves")
	mib := set.Int64("mib", 10, "MiB in the partition before")
	verbose := set.Bool("v", false, "print the brokers' log as it comes")
	set.Parse(args)
	if *brokers < 2 || *count < 1 || *mib < 1 {
		return complain(fmt.Errorf("moves wants at least 2 brokers, a move and 1 MiB"))
	}
	fmt.Printf("%d brokers in three zones, %d moves of a partition of %d MiB; the longest time without an acknowledgement that its producer sees, simulated (latencies of S3)\n", *brokers, *count, *mib)
	fmt.Println("logs           shipping   parts   without a move: p50, p99   with a move: p50, p99, most")
	code := 0
	for row := range 8 {
		o := sim.MovesOptions{
			Seed: *seed, Brokers: *brokers, Moves: *count, Bytes: *mib << 20, PartBytes: *mib << 20, ObjectWAL: row >= 4, ShipAsync: row&2 != 0,
		}
		if row&1 != 0 {
			o.PartBytes = *mib << 10 // as many parts as a partition a thousand times as large
		}
		if *verbose {
			o.Echo = os.Stdout
		}
		code = max(code, printMoves(o))
	}
	return code
}

func printMoves(o sim.MovesOptions) int {
	logs := "shared device"
	if o.ObjectWAL {
		logs = "object store"
	}
	shipping := "wait"
	if o.ShipAsync {
		shipping = "async"
	}
	r := sim.Moves(o)
	for _, v := range r.Violations {
		fmt.Printf("%s: %s\n", v.Invariant, v.Text)
	}
	if len(r.Violations) > 0 {
		return 1
	}
	fmt.Printf("%-13s  %-8s %6d   %14v %10v   %9v %9v %9v\n", logs, shipping, r.Parts, percentile(r.Calm, 50), percentile(r.Calm, 99),
		percentile(r.Moved, 50), percentile(r.Moved, 99), percentile(r.Moved, 100))
	return 0
}

// percentile is the least of sorted values that so many of them do not exceed.
func percentile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1].Round(100 * time.Microsecond)
}
