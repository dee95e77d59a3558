package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rulesWanted is how many rules random seeds alone must find broken.
const rulesWanted = 15

// drawn is the first seed of a hunt: the one that is asked for, or a drawn one.
func drawn(first uint64) uint64 {
	if first != 0 {
		return first
	}
	return 1_000_000 + rand.Uint64N(1_000_000_000)
}

// huntRules hunts, rule by rule, the defects that random seeds are to find as a breach of it, until one of the rule is found.
func huntRules(b *bench, all []*mutant, first uint64) int {
	rules, err := loadRules(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	fmt.Printf("random seeds from %d on, %v of processor time for each defect\n", first, b.limit)
	hunted, found, failed := 0, 0, 0
	for _, r := range rules {
		candidates := r.hunted(all)
		if len(candidates) == 0 {
			continue
		}
		hunted++
		for _, m := range candidates {
			f, err := m.seekFrom(b, first)
			fmt.Printf("%-4s %-52s %-9s %s\n", r.name, m.name, m.swarmName(), outcome(f, err))
			if err == nil {
				found++
				break
			}
			if !errors.Is(err, errNotFound) {
				failed++
			}
		}
	}
	fmt.Printf("%d of %d rules found broken by random seeds alone\n", found, hunted)
	if failed > 0 || found < min(hunted, rulesWanted) {
		return 1
	}
	return 0
}

// seekFrom seeks from a seed on. A seed that fails without the defect too is named, for somebody to look at, and passed over.
func (m *mutant) seekFrom(b *bench, first uint64) (f finding, err error) {
	for spent := time.Duration(0); ; {
		args := append(slices.Clone(m.swarm), "-first-seed", strconv.FormatUint(first, 10))
		f, err = m.seek(b, args, b.limit-spent)
		spent += f.cpu
		f.cpu = spent
		if !errors.Is(err, errFalseAlarm) || spent >= b.limit {
			return f, err
		}
		fmt.Printf("     seed %s (%s) fails without the defect too: passed over\n", f.seed, m.swarmName())
		failed, parseErr := strconv.ParseUint(f.seed, 10, 64)
		if parseErr != nil {
			return f, parseErr
		}
		first = failed + 1
	}
}

// hunted are the defects that random seeds are to find as a breach of the rule.
func (r *rule) hunted(all []*mutant) (candidates []*mutant) {
	for _, m := range all {
		if m.rule == r.name {
			candidates = append(candidates, m)
		}
	}
	return candidates
}

func (m *mutant) swarmName() string {
	if len(m.swarm) == 0 {
		return "broker"
	}
	return strings.TrimPrefix(m.swarm[0], "-")
}

func outcome(f finding, err error) string {
	if err != nil {
		return "NOT FOUND: " + err.Error()
	}
	return fmt.Sprintf("%-12s cpu=%.1fs seed=%s", f.invariant, f.cpu.Seconds(), f.seed)
}
