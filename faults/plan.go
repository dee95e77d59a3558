package faults

import (
	"fmt"
	"strings"
)

// Plan is a list of faults, in no order.
type Plan []Fault

// ParsePlan reads one fault a line. Empty lines and lines that start with # are skipped.
func ParsePlan(text string) (Plan, error) {
	var p Plan
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f, err := Parse(line)
		if err != nil {
			return nil, fmt.Errorf("fault plan, line %d: %w", i+1, err)
		}
		p = append(p, f)
	}
	return p, nil
}

// String is the plan's text.
func (p Plan) String() string {
	var b strings.Builder
	for _, f := range p {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}
