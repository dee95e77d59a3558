package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"weir/conformance/cases"
	"weir/conformance/suite"
)

// runSettings make a broker that the command starts quick to time out, so that cases need not wait, and small, so that they can
// reach its limits. A key that the broker does not know is left out.
var runSettings = map[string]string{
	"group.initial.rebalance.delay.ms":                            "300",
	"group.min.session.timeout.ms":                                "100",
	"group.max.size":                                              "16",
	"group.consumer.max.size":                                     "16",
	"group.consumer.min.session.timeout.ms":                       "500",
	"group.consumer.min.heartbeat.interval.ms":                    "100",
	"group.consumer.heartbeat.interval.ms":                        "200",
	"offsets.retention.check.interval.ms":                         "2000",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
}

func runCommand(args []string) int {
	o := suite.Options{Cases: cases.All(), Out: os.Stdout}
	var started rig
	var login login
	var junit, markdown string
	set := flag.NewFlagSet("run", flag.ExitOnError)
	set.StringVar(&o.Endpoint.Address, "bootstrap", "", "host:port of the endpoint under test")
	set.StringVar(&o.Run, "run", "", "run only the cases whose names match this regular expression")
	set.BoolVar(&o.Short, "short", false, "run only the highest version of each case")
	set.BoolVar(&o.Slow, "slow", false, "run the cases that wait for minutes too")
	set.IntVar(&o.Workers, "workers", 8, "cases that run at once")
	set.BoolVar(&o.Verbose, "v", false, "print every case")
	set.StringVar(&junit, "junit", "", "write the result to this file as JUnit XML")
	set.StringVar(&markdown, "markdown", "", "write the result to this file as a Markdown table")
	set.StringVar(&started.libs, "kafka-libs", "", "start Apache Kafka from the jars in this directory and test it")
	set.StringVar(&started.java, "java", "java", "the Java 17 program")
	set.StringVar(&started.weir, "weir", "", "start this weir program and test it")
	set.IntVar(&started.brokers, "cluster", 1, "brokers of the cluster that --weir starts")
	list := set.Bool("list", false, "print the names of the cases and run none")
	login.flags(set)
	set.Parse(args)
	if *list {
		for _, name := range suite.Names(o.Cases) {
			fmt.Println(name)
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := errors.Join(login.apply(&o.Endpoint), started.one(&o.Endpoint.Address)); err != nil {
		started.stop()
		fail(err)
	}
	o.Brokers = len(started.members)
	result, err := suite.Run(ctx, o)
	started.stop()
	if err != nil {
		fail(err)
	}
	err = errors.Join(write(junit, result.JUnit), write(markdown, func(w io.Writer) error { result.Markdown(w); return nil }))
	if err != nil {
		fail(err)
	}
	result.Print(os.Stdout)
	if result.Failed > 0 {
		return 1
	}
	return 0
}

// one starts the broker under test, unless its address is given.
func (r *rig) one(address *string) (err error) {
	switch {
	case *address != "" && r.libs == "" && r.weir == "":
		return nil
	case *address == "" && r.libs != "" && r.weir == "":
		*address, err = r.startKafka(runSettings)
	case *address == "" && r.libs == "" && r.weir != "" && r.brokers > 1:
		*address, err = r.startCluster(runSettings)
	case *address == "" && r.libs == "" && r.weir != "":
		*address, err = r.startWeir(runSettings)
	default:
		return errors.New("one of --bootstrap, --weir and --kafka-libs is needed")
	}
	return err
}

// write makes a file of a report; an empty path means none.
func write(path string, report func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(report(file), file.Close())
}
