// Command weir-bench measures Kafka endpoints, all by the same client.
//
//	weir-bench produce -brokers HOST:PORT     how much goes in
//	weir-bench rate -brokers HOST:PORT        latency at a fixed rate, counted from when each record was due
//	weir-bench consume -brokers HOST:PORT     how fast a topic is read from start to end
//	weir-bench first-ack -- PROGRAM ARG...    time from a program's start to its first acknowledgement
//	weir-bench compare -weir bin/weir         weir beside Apache Kafka, kfake and the null broker
//	weir-bench clusters -weir bin/weir        clusters of three brokers: weir beside Apache Kafka
//	weir-bench coordinators -weir bin/weir    groups and transactions: weir beside Apache Kafka
//	weir-bench failover -weir bin/weir        time until others acknowledge what a dead broker led
//	weir-bench fanout -weir bin/weir          tail reads: one producer and four consumers, beside Apache Kafka and the null broker
//	weir-bench idle -weir bin/weir            what 100,000 partitions cost that nobody writes to
//	weir-bench footprint -weir bin/weir       resident memory beside the caches, and Apache Kafka's beside its heap
//	weir-bench months -weir bin/weir          what thousands of uploads leave: latency, parts, metadata, turns of the loop
//	weir-bench beside -weir bin/weir          what a reader that catches up costs producers
//	weir-bench moves -weir bin/weir           how long a producer waits while its partition moves in a cluster
//	weir-bench compacted -weir bin/weir       what a compacted topic holds after each key was written ten times, and what readers see
//	weir-bench soak -weir bin/weir            half an hour at 70 % of the peak with a retention of minutes: what grows
//	weir-bench null                           a broker that answers at once and keeps nothing, or with -tail keeps all in memory for consumers
//	weir-bench kfake                          franz-go's fake broker, in memory or with synced writes
//	weir-bench s3                             an S3 store in memory (gofakes3)
//	weir-bench kafka -kafka-libs DIR         Apache Kafka on an empty directory, in the foreground
//
// Client and broker share the machine here, so the client's CPU is part of every
// figure: the null broker shows what it leaves over.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	commands := map[string]func(context.Context, []string) error{
		"produce": produceCommand, "rate": rateCommand, "consume": consumeCommand, "first-ack": firstAckCommand,
		"beside": besideCommand, "compare": compareCommand, "clusters": clustersCommand, "compacted": compactedCommand, "coordinators": coordinatorsCommand, "failover": failoverCommand, "fanout": fanoutCommand, "idle": idleCommand, "footprint": footprintCommand, "months": monthsCommand, "moves": movesCommand, "soak": soakCommand,
		"null": nullCommand, "kfake": kfakeCommand, "kafka": kafkaCommand, "s3": fakeStoreCommand,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: weir-bench produce|rate|consume|first-ack|beside|compare|clusters|compacted|coordinators|failover|fanout|footprint|idle|months|moves|soak|null|kfake|kafka|s3 [flags]   (-h after the verb lists its flags)")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := commands[os.Args[1]](ctx, os.Args[2:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weir-bench:", err)
		os.Exit(1)
	}
}

// frugal lets the client's heap grow further between collections, unless the user
// has said otherwise: what the client uses is taken from the broker.
func frugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

func newFlags(verb string) *flag.FlagSet { return flag.NewFlagSet(verb, flag.ExitOnError) }
