package plan

import (
	"slices"
	"time"
)

// Elements counts the removable elements: faults, clients and topics.
func (p *Plan) Elements() int { return len(p.Faults) + len(p.Workloads) + len(p.Topics) }

// Without returns the plan without its i-th removable element.
func (p *Plan) Without(i int) *Plan {
	q := p.clone()
	switch faults, clients := len(p.Faults), len(p.Faults)+len(p.Workloads); {
	case i < faults:
		q.Faults = slices.Delete(q.Faults, i, i+1)
	case i < clients:
		q.Workloads = slices.Delete(q.Workloads, i-faults, i-faults+1)
	default:
		q.Topics = slices.Delete(q.Topics, i-clients, i-clients+1)
	}
	return q
}

// Settings counts the settings and rates that are not at their defaults.
func (p *Plan) Settings() int { return len(p.set()) }

// Reset returns the plan with its i-th setting at its default.
func (p *Plan) Reset(i int) *Plan {
	q := p.clone()
	switch to := q.set()[i].to.(type) {
	case *int64:
		*to = 0
	case *time.Duration:
		*to = 0
	}
	return q
}

func (p *Plan) clone() *Plan {
	q := *p
	q.Brokers, q.Topics = slices.Clone(p.Brokers), slices.Clone(p.Topics)
	q.Workloads, q.Faults = slices.Clone(p.Workloads), slices.Clone(p.Faults)
	return &q
}

// fixed are fields whose default would name another client, group or transactional id, or let one spin.
var fixed = []string{"client", "pause", "duration", "at", "group", "id", "kip-848", "cooperative"}

// set lists the fields that can be reset and are not at their defaults.
func (p *Plan) set() (set []field) {
	all := p.Config.fields()
	for i := range p.Topics {
		all = append(all, p.Topics[i].fields()...)
	}
	for i := range p.Workloads {
		all = append(all, p.Workloads[i].fields()...)
	}
	for i := range p.Faults {
		f := &p.Faults[i]
		all = append(all, field{"for", &f.For}, field{"rate", (*int64)(&f.Rate)})
	}
	for _, f := range all {
		count, isCount := f.to.(*int64)
		span, isSpan := f.to.(*time.Duration)
		if !slices.Contains(fixed, f.name) && (isCount && *count != 0 || isSpan && *span != 0) {
			set = append(set, f)
		}
	}
	return set
}
