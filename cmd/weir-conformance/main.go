// Command weir-conformance compares Kafka endpoints.
//
//	weir-conformance diff --reference HOST:PORT --subject HOST:PORT [--run REGEXP]
//	weir-conformance diff --kafka-libs DIR --weir PROGRAM
//	weir-conformance apis
//
// Exit status: 0 if nothing failed, 1 if cases differ without a reason, 2 if it could not run.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"weir/conformance/diff"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: weir-conformance diff|apis"))
	}
	switch os.Args[1] {
	case "diff":
		os.Exit(diffCommand(os.Args[2:]))
	case "apis":
		printAPIs()
	default:
		fail(fmt.Errorf("there is no command %q", os.Args[1]))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "weir-conformance:", err)
	os.Exit(2)
}

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
	set.Parse(args)
	diff.SetNow(time.Now().Add(-time.Hour).UnixMilli())
	if err := started.start(&o); err != nil {
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

// printAPIs prints the table of APIs for the README.
func printAPIs() {
	fmt.Print("| key | API | weir | Kafka 4.4 |\n| --: | --- | --- | --- |\n")
	for _, k := range kafkaVersions {
		own := "-"
		if a := wire.FindAPI(k.key); a != nil {
			own = span(a.AdvertisedMin, a.Max)
		}
		fmt.Printf("| %d | %s | %s | %s |\n", k.key, kmsg.NameForKey(k.key), own, span(k.min, k.max))
	}
}

func span(low, high int16) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d-%d", low, high)
}
