// Command weir-conformance tests Kafka endpoints: against the facts of conformance/cases, and against each other.
//
//	weir-conformance run --bootstrap HOST:PORT [--run REGEXP] [--junit FILE] [--markdown FILE]
//	weir-conformance run --weir PROGRAM
//	weir-conformance run --kafka-libs DIR
//	weir-conformance diff --reference HOST:PORT --subject HOST:PORT [--run REGEXP]
//	weir-conformance diff --kafka-libs DIR --weir PROGRAM
//	weir-conformance apis
//
// Exit status: 0 if nothing failed, 1 if cases failed, 2 if it could not run.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: weir-conformance run|diff|apis"))
	}
	switch os.Args[1] {
	case "run":
		os.Exit(runCommand(os.Args[2:]))
	case "diff":
		os.Exit(diffCommand(os.Args[2:]))
	case "apis":
		fmt.Print(apisPage())
	default:
		fail(fmt.Errorf("there is no command %q", os.Args[1]))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "weir-conformance:", err)
	os.Exit(2)
}
