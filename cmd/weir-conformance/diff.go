package main

import (
	"flag"
	"os"
	"time"

	"weir/conformance/diff"
)

func diffCommand(args []string) int {
	o := diff.Options{Out: os.Stdout}
	var started rig
	set := flag.NewFlagSet("diff", flag.ExitOnError)
	set.StringVar(&o.Reference, "reference", "", "host:port of the endpoint that is right")
	set.StringVar(&o.Subject, "subject", "", "host:port of the endpoint under test")
	set.StringVar(&o.Run, "run", "", "run only the cases whose names match this regular expression")
	set.IntVar(&o.Workers, "workers", 4, "cases that run at once")
	set.BoolVar(&o.Verbose, "v", false, "print every case and line of a group")
	set.StringVar(&started.libs, "kafka-libs", "", "start Apache Kafka from the jars in this directory as the reference")
	set.StringVar(&started.java, "java", "java", "the Java 17 program")
	set.StringVar(&started.weir, "weir", "", "start this weir program as the subject")
	set.IntVar(&started.brokers, "cluster", 1, "brokers of the cluster that --weir starts")
	set.Parse(args)
	diff.SetNow(time.Now().Add(-time.Hour).UnixMilli())
	if err := started.both(&o); err != nil {
		started.stop()
		fail(err)
	}
	result, err := diff.Run(o)
	started.stop()
	if err != nil {
		fail(err)
	}
	if result.Failed > 0 {
		return 1
	}
	return 0
}
