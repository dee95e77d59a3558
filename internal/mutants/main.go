// Command mutants tests the simulator: it plants each defect of sim/mutants/ in a
// copy of the source and simulates seeds until one fails. It fails if a defect is
// not found within two minutes of processor time. A defect that names tests is
// found if they fail.
//
//	go run ./internal/mutants [-j JOBS] [-cpu SECONDS] [NAME...]
//	go run ./internal/mutants -rules    the rules of core/doc.go, with the defects that break them and their scenarios
//	go run ./internal/mutants -seeds-only [-cpu 10m] [-first-seed SEED] [NAME...]
//	                                    for each rule, whether random seeds alone find a defect of it: no scenario, no test
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
	random := flag.Bool("seeds-only", false, "hunt the defects that say so of their rule by random seeds alone, from a drawn first seed; fail if fewer than fifteen rules are found")
	first := flag.Uint64("first-seed", 0, "with -seeds-only: the first seed; 0: a drawn one")
	flag.Parse()
	if *table {
		os.Exit(rulesTable())
	}
	all, err := load("sim/mutants")
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	all = chosen(all, flag.Args())
	run := func(b *bench) int { return runAll(b, all) }
	if *random {
		run = func(b *bench) int { return huntRules(b, all, drawn(*first)) }
	}
	os.Exit(onBench(*jobs, *limit, run))
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

// bench is where defects are planted: a copy of the source.
type bench struct {
	dir   string
	sound string // the simulator without a defect
	jobs  int    // simulations at a time
	limit time.Duration
}

// onBench runs something on a bench, which is gone afterwards.
func onBench(jobs int, limit time.Duration, run func(*bench) int) int {
	dir, err := os.MkdirTemp("", "weir-mutants-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = copyTree(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	b := &bench{dir: dir, sound: filepath.Join(dir, "weir-sim-sound"), jobs: jobs, limit: limit}
	if err := build(dir, b.sound); err != nil {
		fmt.Fprintln(os.Stderr, "mutants: the source without a defect:", err)
		return 2
	}
	return run(b)
}

func runAll(b *bench, all []*mutant) int {
	survived := 0
	for _, m := range all {
		found, err := m.hunt(b)
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

// hunt finds the defect as its file says: by tests, or by seeds of the plan or swarm that it names.
func (m *mutant) hunt(b *bench) (found string, err error) {
	if m.test != nil {
		return m.runTests(b.dir)
	}
	f, err := m.seek(b, m.args, b.limit)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%-12s cpu=%-7v seed=%s", f.invariant, f.cpu, f.seed), nil
}

// seek plants the defect in the copy, simulates with these arguments, and takes the defect out again. The seed that fails must pass
// without the defect.
func (m *mutant) seek(b *bench, args []string, limit time.Duration) (f finding, err error) {
	restore, err := m.plant(b.dir)
	if err != nil {
		return f, err
	}
	defer restore()
	binary := filepath.Join(b.dir, "weir-sim")
	if err := build(b.dir, binary); err != nil {
		return f, fmt.Errorf("the defect does not compile: %w", err)
	}
	if f, err = b.simulate(binary, args, limit); err != nil {
		return f, err
	}
	again := exec.Command(b.sound, append(b.fuzz(args), "-first-seed", f.seed, "-seeds", "1")...)
	again.Dir = b.dir
	if out, err := again.CombinedOutput(); err != nil {
		return f, fmt.Errorf("%w: seed %s fails without the defect too: %w\n%s", errFalseAlarm, f.seed, err, out)
	}
	return f, nil
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

func (b *bench) fuzz(args []string) []string {
	return append([]string{"fuzz", "-j", strconv.Itoa(b.jobs)}, args...)
}

var (
	errNotFound   = errors.New("not found")
	errFalseAlarm = errors.New("not due to the defect")
)

// simulate runs seeds until one fails or the limit is used up. The limit is processor
// time, so that the load of the machine does not matter.
func (b *bench) simulate(binary string, args []string, limit time.Duration) (f finding, err error) {
	fuzz := exec.Command(binary, append(b.fuzz(args), "-cpu", limit.String())...)
	fuzz.Dir = b.dir
	out, err := fuzz.CombinedOutput()
	usage, _ := fuzz.ProcessState.SysUsage().(*syscall.Rusage)
	f.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Round(100 * time.Millisecond)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return f, fmt.Errorf("%w in %v of processor time", errNotFound, f.cpu)
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		return f, fmt.Errorf("the simulator failed: %w\n%s", err, out)
	case f.cpu > limit:
		return f, fmt.Errorf("%w in time: only after %v of processor time", errNotFound, f.cpu)
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
