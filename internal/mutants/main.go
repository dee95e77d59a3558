// Command mutants tests the simulator: it plants each defect of sim/mutants/ in a
// copy of the source and simulates seeds until one fails. It fails if a defect is
// not found within two minutes of processor time. A defect that names tests is
// found if they fail.
//
//	go run ./internal/mutants [-j JOBS] [-cpu SECONDS] [NAME...]
//	go run ./internal/mutants -rules    the rules of core/doc.go, with the defects that break them and their scenarios
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	jobs := flag.Int("j", 2, "simulations at a time")
	limit := flag.Duration("cpu", 2*time.Minute, "processor time in which a defect must be found")
	table := flag.Bool("rules", false, "print which defects break each rule of the protocol, and which scenarios are about it")
	flag.Parse()
	if *table {
		os.Exit(rulesTable())
	}
	all, err := load("sim/mutants")
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	os.Exit(runAll(chosen(all, flag.Args()), *jobs, *limit))
}

func rulesTable() int {
	rules, err := loadRules(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	printRules(os.Stdout, rules)
	return 0
}

func chosen(all []*mutant, names []string) []*mutant {
	if len(names) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(m *mutant) bool { return !slices.Contains(names, m.name) })
}

func runAll(all []*mutant, jobs int, limit time.Duration) int {
	dir, err := os.MkdirTemp("", "weir-mutants-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = copyTree(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	sound := filepath.Join(dir, "weir-sim-sound")
	if err := build(dir, sound); err != nil {
		fmt.Fprintln(os.Stderr, "mutants: the source without a defect:", err)
		return 2
	}
	survived := 0
	for _, m := range all {
		found, err := m.hunt(dir, sound, jobs, limit)
		if err != nil {
			fmt.Printf("FAIL  %-34s %v\n", m.name, err)
			survived++
			continue
		}
		fmt.Printf("ok    %-34s %s\n", m.name, found)
	}
	fmt.Printf("%d passed, %d failed\n", len(all)-survived, survived)
	if survived > 0 {
		return 1
	}
	return 0
}

// copyTree copies the source files that git knows, as they are in the working tree.
func copyTree(dir string) error {
	list, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.go", "go.mod", "go.sum", "bill", "faults", "core", "sim").Output()
	if err != nil {
		return fmt.Errorf("list the source: %w", err)
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// build builds the simulator of the copy as it stands.
func build(dir, binary string) error {
	// Trimmed of paths, or what was built in another directory is of no use.
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/weir-sim")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// hunt plants the defect in the copy, simulates, and takes the defect out again. The
// seed that fails must pass without the defect.
func (m *mutant) hunt(dir, sound string, jobs int, limit time.Duration) (found string, err error) {
	if m.test != nil {
		return m.runTests(dir)
	}
	restore, err := m.plant(dir)
	if err != nil {
		return "", err
	}
	defer restore()
	binary := filepath.Join(dir, "weir-sim")
	if err := build(dir, binary); err != nil {
		return "", fmt.Errorf("the defect does not compile: %w", err)
	}
	f, err := m.simulate(dir, binary, jobs, limit)
	if err != nil {
		return "", err
	}
	again := exec.Command(sound, append(m.fuzz(jobs), "-first-seed", f.seed, "-seeds", "1")...)
	again.Dir = dir
	if out, err := again.CombinedOutput(); err != nil {
		return "", fmt.Errorf("seed %s fails without the defect too: %w\n%s", f.seed, err, out)
	}
	return fmt.Sprintf("%-12s cpu=%-7v seed=%s", f.invariant, f.cpu, f.seed), nil
}

// runTests runs the tests that find the defect, without it and with it.
func (m *mutant) runTests(dir string) (found string, err error) {
	if out, err := m.goTest(dir); err != nil {
		return "", fmt.Errorf("the tests fail without the defect too: %w\n%s", err, out)
	}
	restore, err := m.plant(dir)
	if err != nil {
		return "", err
	}
	defer restore()
	out, err := m.goTest(dir)
	failed := failedTest.FindSubmatch(out)
	switch {
	case err == nil:
		return "", fmt.Errorf("the tests pass with the defect: %s", m.test)
	case failed == nil:
		return "", fmt.Errorf("no test failed: %w\n%s", err, out)
	}
	return fmt.Sprintf("test %s", failed[1]), nil
}

func (m *mutant) goTest(dir string) ([]byte, error) {
	test := exec.Command("go", append([]string{"test", "-trimpath", "-timeout", "5m"}, m.test...)...)
	test.Dir = dir
	return test.CombinedOutput()
}

// failedTest is the line of a test that failed.
var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// finding is the run that found a defect.
type finding struct {
	seed, invariant string
	cpu             time.Duration // of all runs up to it
}

func (m *mutant) fuzz(jobs int) []string {
	return append([]string{"fuzz", "-j", strconv.Itoa(jobs)}, m.args...)
}

// simulate runs seeds until one fails or the limit is used up. The limit is processor
// time, so that the load of the machine does not matter.
func (m *mutant) simulate(dir, binary string, jobs int, limit time.Duration) (f finding, err error) {
	fuzz := exec.Command(binary, append(m.fuzz(jobs), "-cpu", limit.String())...)
	fuzz.Dir = dir
	out, err := fuzz.CombinedOutput()
	usage, _ := fuzz.ProcessState.SysUsage().(*syscall.Rusage)
	f.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Round(100 * time.Millisecond)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return f, fmt.Errorf("not found in %v of processor time", f.cpu)
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		return f, fmt.Errorf("the simulator failed: %w\n%s", err, out)
	case f.cpu > limit:
		return f, fmt.Errorf("found only after %v of processor time", f.cpu)
	}
	said := failure.FindSubmatch(out)
	if said == nil {
		return f, fmt.Errorf("the simulator names no violation:\n%s", out)
	}
	f.seed, f.invariant = string(said[1]), string(said[2])
	return f, nil
}

// failure is the line of a run that failed: its seed and what it broke.
var failure = regexp.MustCompile(`(?m)^seed=(\d+) .*verdict=violation invariant=(\S+)$`)
