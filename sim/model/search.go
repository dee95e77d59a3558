package model

import "slices"

// rules are the names of those parts of rules that are switched off.
type rules map[string]bool

// keeps reports whether a rule is in force.
func (r rules) keeps(rule string) bool { return !r[rule] }

// finding is what a search found.
type finding struct {
	states int
	broken string   // empty: nothing
	trace  []string // the steps that lead there, as few as possible
}

// visit is how a state was reached first.
type visit[S comparable] struct {
	from S
	step string
}

// search visits every state that can be reached from one, nearest first, until something is broken. steps calls take for every step that may
// come next; broken names what is wrong with a state.
func search[S comparable](start S, steps func(s S, take func(step string, to S)), broken func(S) string) finding {
	seen := map[S]visit[S]{start: {}}
	queue := []S{start}
	for ; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		if what := broken(s); what != "" {
			return finding{len(seen), what, traceTo(start, s, seen)}
		}
		steps(s, func(step string, to S) {
			if _, known := seen[to]; !known {
				seen[to] = visit[S]{s, step}
				queue = append(queue, to)
			}
		})
	}
	return finding{states: len(seen)}
}

func traceTo[S comparable](start, s S, seen map[S]visit[S]) (trace []string) {
	for ; s != start; s = seen[s].from {
		trace = append(trace, seen[s].step)
	}
	slices.Reverse(trace)
	return trace
}
