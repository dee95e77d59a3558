// Command testsum runs `go test -json` with the arguments it is given, prints a line for each package as it ends, the output
// of what failed, and closes with one line that counts tests:
//
//	812 passed, 0 failed, 3 skipped
//
// It exits with go test's own status. A package that does not build or dies counts as one failed test.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

type tally struct {
	out                     io.Writer
	passed, failed, skipped int
	output                  map[string][]string // of what has not ended yet, by package and test
	reasons                 map[string]string   // why a test was skipped
	failedTests             map[string]int      // by package
}

func main() {
	command := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	command.Stderr = os.Stderr
	pipe, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(2)
	}
	t := newTally(os.Stdout)
	t.read(pipe)
	err = command.Wait()
	t.summary()
	if err != nil || t.failed > 0 {
		os.Exit(1)
	}
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, output: map[string][]string{}, reasons: map[string]string{}, failedTests: map[string]int{}}
}

func (t *tally) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(t.out, lines.Text()) // not an event: show it as it is
			continue
		}
		t.take(&e)
	}
}

func (t *tally) take(e *event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		t.output[key] = append(t.output[key], e.Output)
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.packageEnded(e)
		} else {
			t.testEnded(e, key)
		}
		delete(t.output, key)
	}
}

func (t *tally) testEnded(e *event, key string) {
	switch e.Action {
	case "pass":
		t.passed++
	case "skip":
		t.skipped++
		t.reasons[key] = reason(t.output[key])
	case "fail":
		t.failed++
		t.failedTests[e.Package]++
		fmt.Fprint(t.out, strings.Join(t.output[key], ""))
	}
}

// reason is the text that a test gave when it skipped: the line with its file.
func reason(output []string) string {
	for _, line := range output {
		if strings.Contains(line, ".go:") {
			return strings.TrimSpace(line)
		}
	}
	return "no reason given"
}

func (t *tally) packageEnded(e *event) {
	if e.Action == "skip" {
		return // no test files
	}
	word := "ok  "
	if e.Action == "fail" {
		word = "FAIL"
		if t.failedTests[e.Package] == 0 {
			t.failed++ // it did not build, panicked, or ran out of time
			for key, lines := range t.output {
				if strings.HasPrefix(key, e.Package+" ") {
					fmt.Fprint(t.out, strings.Join(lines, ""))
				}
			}
		}
	}
	fmt.Fprintf(t.out, "%s  %-40s %6.1fs\n", word, e.Package, e.Elapsed)
}

func (t *tally) summary() {
	names := make([]string, 0, len(t.reasons))
	for name := range t.reasons {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(t.out, "skipped  %s: %s\n", name, t.reasons[name])
	}
	line := fmt.Sprintf("%d passed, %d failed", t.passed, t.failed)
	if t.skipped > 0 {
		line += fmt.Sprintf(", %d skipped", t.skipped)
	}
	fmt.Fprintln(t.out, line)
}
