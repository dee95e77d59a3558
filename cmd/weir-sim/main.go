// Command weir-sim runs weir in its deterministic simulator.
//
//	weir-sim run -seed N            one seed; exit 1 and a line to replay it if it fails
//	weir-sim fuzz -seeds N          many seeds, or -duration D
//	weir-sim fuzz -cluster          clusters; at the end, how often each fault was injected and what was seen of it
//	weir-sim shrink -seed N         a smaller plan with which the seed still fails, and its failure
//	weir-sim plan -seed N           the plan that a seed draws
//	weir-sim moves -moves N         a partition moves under load; how long its producer waits
//	weir-sim scale -partitions N    a cluster with many partitions loses a zone; what that costs with N, N/2 and N/4 of them
//
// The same commit, seed and options give the same run, and the same hash.
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) int{"run": runCommand, "fuzz": fuzzCommand, "shrink": shrinkCommand, "plan": planCommand, "scale": scaleCommand, "moves": movesCommand}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: weir-sim run|fuzz|shrink|plan|scale|moves [flags]   (-h after the verb lists its flags)")
		os.Exit(2)
	}
	os.Exit(commands[os.Args[1]](os.Args[2:]))
}
