package txn

import (
	"regexp"
	"regexp/syntax"
	"slices"

	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/wire"
)

// Describe returns the state of a transactional id, which is lent until the loop goes on: INVALID_REQUEST for an empty id,
// TRANSACTIONAL_ID_NOT_FOUND for an unknown one.
func (c *Coordinator) Describe(id string) (*Transaction, wire.Code) {
	if id == "" {
		return nil, wire.InvalidRequest
	}
	m, code := c.machine(id)
	if code != wire.None {
		return nil, code
	}
	t := m.find(id)
	if t == nil {
		return nil, wire.TransactionalIDNotFound
	}
	return t, wire.None
}

// ListRequest asks for transactional ids. An empty filter is none.
type ListRequest struct {
	States         []string
	ProducerIDs    []int64
	DurationMillis int64  // of transactions that began at least so long ago; below 0: no filter
	Pattern        string // RE2, for the whole id
}

// Listed is a transactional id in a list.
type Listed struct {
	ID         string
	ProducerID int64
	State      State
}

// List is an answer to a ListRequest.
type List struct {
	Code wire.Code
	// UnknownStates are the names in the request that are no states.
	UnknownStates []string
	// Transactions are in the order of partitions, then ids.
	Transactions []Listed
}

// unknownStatesMax bounds what is repeated of a request, and the work to find repetitions.
const unknownStatesMax = 100

// List calls done with the transactional ids that this broker coordinates. It says COORDINATOR_LOAD_IN_PROGRESS while it does
// not know all, and INVALID_REGULAR_EXPRESSION for a pattern that is none, or too large. Patterns are matched off the loop.
func (c *Coordinator) List(q ListRequest, done func(List)) {
	var out List
	f := filter{ids: q.ProducerIDs, began: c.Env.Clock.WallMillis() - q.DurationMillis, anyTime: q.DurationMillis < 0, anyState: len(q.States) == 0}
	for _, name := range q.States {
		if s, ok := ParseState(name); ok {
			f.states[s] = true
		} else if len(out.UnknownStates) < unknownStatesMax && !slices.Contains(out.UnknownStates, name) {
			out.UnknownStates = append(out.UnknownStates, name)
		}
	}
	pattern, err := compilePattern(q.Pattern)
	switch {
	case c.runtime.Loading():
		out.Code = wire.CoordinatorLoadInProgress
	case err != nil:
		out.Code, out.UnknownStates = wire.InvalidRegularExpression, nil
	default:
		out.Transactions = c.list(&f)
	}
	if pattern == nil || len(out.Transactions) == 0 {
		done(out)
		return
	}
	c.Env.Compute.Submit(&env.Compute{
		Work: func() {
			out.Transactions = slices.DeleteFunc(out.Transactions, func(l Listed) bool { return !pattern.MatchString(l.ID) })
		},
		Done: func(*env.Compute) { done(out) },
	})
}

// filter selects transactional ids, but for their names.
type filter struct {
	ids      []int64
	states   [PrepareEpochFence + 1]bool
	anyState bool
	began    int64
	anyTime  bool
}

func (f *filter) has(id int64) bool {
	_, ok := slices.BinarySearch(f.ids, id)
	return ok
}

func (f *filter) takes(t *Transaction) bool {
	return (len(f.ids) == 0 || f.has(t.ProducerID)) &&
		(f.anyState || f.states[t.State]) &&
		(f.anyTime || t.StartMillis <= f.began)
}

func (c *Coordinator) list(f *filter) (all []Listed) {
	f.ids = slices.Sorted(slices.Values(f.ids))
	c.runtime.Each(func(s *coordinator.Shard) {
		s.Machine().(*Machine).ids.Scan(func(id string, e *entry) bool {
			if f.takes(&e.Transaction) {
				all = append(all, Listed{id, e.ProducerID, e.State})
			}
			return true
		})
	})
	return all
}

const (
	patternBytesMax        = 1 << 10
	patternInstructionsMax = 1000 // what matching takes for each byte of an id
)

// compilePattern returns nil for the empty pattern.
func compilePattern(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > patternBytesMax {
		return nil, &syntax.Error{Code: syntax.ErrLarge, Expr: text[:20]}
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if program, err := syntax.Compile(tree.Simplify()); err != nil || len(program.Inst) > patternInstructionsMax {
		return nil, &syntax.Error{Code: syntax.ErrLarge, Expr: text}
	}
	return regexp.Compile(`\A(?:` + text + `)\z`)
}
