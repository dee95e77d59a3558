// Command mutants proves that the simulator bites: it plants each defect under
// mutants/ in a copy of the source, simulates seeds until one fails, and fails
// itself if a defect survives its two minutes of processor time.
//
//	go run ./internal/mutants [-j JOBS] [-cpu SECONDS] [NAME...]
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
	flag.Parse()
	all, err := load("mutants")
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	os.Exit(runAll(chosen(all, flag.Args()), *jobs, *limit))
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
	survived := 0
	for _, m := range all {
		found, err := m.hunt(dir, jobs, limit)
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

// copyTree copies the files that git tracks, as they are in the working tree.
func copyTree(dir string) error {
	list, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.go", "go.mod", "go.sum", "sim").Output()
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

// hunt plants the defect in the copy, looks for it, and takes it out again.
func (m *mutant) hunt(dir string, jobs int, limit time.Duration) (found string, err error) {
	restore, err := m.plant(dir)
	if err != nil {
		return "", err
	}
	defer restore()
	binary := filepath.Join(dir, "weir-sim")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/weir-sim") // trimmed, or nothing built in another directory is of use
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the defect does not compile: %s", out)
	}
	return m.simulate(dir, binary, jobs, limit)
}

// simulate runs seeds until one fails or the limit is used up. The simulator
// counts its own processor time, since a machine that is busy with other things
// says nothing of the defect.
func (m *mutant) simulate(dir, binary string, jobs int, limit time.Duration) (string, error) {
	args := append([]string{"fuzz", "-cpu", limit.String(), "-j", strconv.Itoa(jobs)}, m.args...)
	fuzz := exec.Command(binary, args...)
	fuzz.Dir = dir
	out, err := fuzz.CombinedOutput()
	usage, _ := fuzz.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Round(100 * time.Millisecond)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", fmt.Errorf("not found in %v of processor time", cpu)
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		return "", fmt.Errorf("the simulator failed: %v\n%s", err, out)
	case cpu > limit:
		return "", fmt.Errorf("found only after %v of processor time", cpu)
	}
	found := failure.FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("the simulator names no violation:\n%s", out)
	}
	return fmt.Sprintf("%-9s cpu=%-7v seed=%s", found[2], cpu, found[1]), nil
}

// failure is the line of a seed that failed: the seed and what it broke.
var failure = regexp.MustCompile(`(?m)^seed=(\d+) .*verdict=violation invariant=(\S+)$`)
