package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"sync"
	"time"

	"weir/conformance/rawconn"
)

const progressEvery = 10 * time.Second

// Options say what to run, and where.
type Options struct {
	Endpoint rawconn.Options
	// Brokers is how many brokers its cluster has at least; zero is one.
	Brokers int
	// Cases are all that there are.
	Cases []Case
	// Run is a regular expression over the names of runs; empty is all.
	Run string
	// Short leaves out all but the highest version of each case that the endpoint has.
	Short bool
	// Slow runs the slow cases too.
	Slow bool
	// Workers is how many cases run at once; zero is one.
	Workers int
	// Verbose prints every run.
	Verbose bool
	// Out gets progress and the report.
	Out io.Writer
}

// Status is how a run ended.
type Status string

// The ways to end.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Outcome is one run of a case.
type Outcome struct {
	Name   string
	Area   string
	Status Status
	// Text says why it failed or was skipped.
	Text string
	// Meant reports that it failed as [Differences] say.
	Meant bool
	Took  time.Duration
}

// Result is all runs, in the order of the cases.
type Result struct {
	Broker                  *Broker
	Outcomes                []Outcome
	Passed, Failed, Skipped int
	Took                    time.Duration
}

// Run runs the cases. An error means that the endpoint cannot be tested.
func Run(ctx context.Context, o Options) (*Result, error) {
	filter, err := regexp.Compile(o.Run)
	if err != nil {
		return nil, err
	}
	homes, err := prepare(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Endpoint.Address, err)
	}
	broker := homes[0]
	s := &session{Options: o, homes: homes, broker: broker, begun: time.Now()}
	for _, r := range expand(o.Cases) {
		if filter.MatchString(r.name) && (!o.Short || r.highest(broker)) {
			s.runs = append(s.runs, r)
		}
	}
	s.outcomes = make([]Outcome, len(s.runs))
	s.runAll(ctx)
	return s.result(), nil
}

// prepare learns what brokers there are and waits until they are warm.
func prepare(ctx context.Context, o Options) ([]*Broker, error) {
	first, err := ask(ctx, o.Endpoint)
	if err != nil {
		return nil, err
	}
	homes, err := first.homes(ctx, o.Brokers)
	if err != nil {
		return nil, err
	}
	for _, b := range homes {
		if err := errors.Join(b.describe(ctx), b.warm(ctx)); err != nil {
			return nil, err
		}
	}
	if len(homes) == 1 {
		return homes, nil
	}
	for _, b := range homes {
		if err := b.coordinates(ctx); err != nil {
			return nil, err
		}
	}
	return homes, nil
}

// session is one call of Run.
type session struct {
	Options
	homes    []*Broker // a case talks to one
	broker   *Broker   // the first
	runs     []run
	outcomes []Outcome
	begun    time.Time

	mu      sync.Mutex
	ended   int
	printed time.Time
}

func (s *session) runAll(ctx context.Context) {
	s.printed = time.Now()
	next := make(chan int)
	var group sync.WaitGroup
	for range max(s.Workers, 1) {
		group.Go(func() {
			for i := range next {
				s.one(ctx, i)
			}
		})
	}
	for i := range s.runs {
		if !s.runs[i].Serial {
			next <- i
		}
	}
	close(next)
	group.Wait()
	for i := range s.runs {
		if s.runs[i].Serial {
			s.one(ctx, i)
		}
	}
}

func (s *session) one(ctx context.Context, i int) {
	r := &s.runs[i]
	begun := time.Now()
	out := Outcome{Name: r.name, Area: r.area}
	switch lack := r.missing(s.broker); {
	case lack != "":
		out.Status, out.Text = Skipped, lack
	case r.Slow && !s.Slow:
		out.Status, out.Text = Skipped, "it waits for minutes; run it with --slow"
	default:
		out.Status, out.Text = s.execute(ctx, r, i)
	}
	if s.broker.IsWeir {
		out.explain()
	}
	out.Took = time.Since(begun)
	s.outcomes[i] = out
	s.progress(&out)
}

// execute runs a case and catches how it ends. A panic that is not a verdict is a failure too.
func (s *session) execute(ctx context.Context, r *run, i int) (status Status, text string) {
	c := &C{V: r.version, key: r.key, Broker: s.homes[i%len(s.homes)]}
	c.prefix = c.Broker.prefix(fmt.Sprintf("conf-%d-%d-", s.begun.UnixMilli()%1_000_000_000, i))
	c.ctx, c.cancel = context.WithTimeout(ctx, caseLimit)
	defer c.end()
	defer func() {
		switch caught := recover().(type) {
		case nil:
		case verdict:
			status, text = Failed, caught.text
			if caught.skipped {
				status = Skipped
			}
		default:
			status, text = Failed, fmt.Sprintf("panic: %v\n%s", caught, debug.Stack())
		}
	}()
	r.Run(c)
	return Passed, ""
}

func (s *session) progress(out *Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended++
	if s.Verbose {
		fmt.Fprintf(s.Out, "%s %s in %s %s\n", out.Status, out.Name, out.Took.Round(time.Millisecond), out.Text)
	}
	if time.Since(s.printed) >= progressEvery {
		s.printed = time.Now()
		fmt.Fprintf(s.Out, "%d of %d cases in %s\n", s.ended, len(s.runs), time.Since(s.begun).Round(time.Second))
	}
}

func (s *session) result() *Result {
	result := &Result{Broker: s.broker, Outcomes: s.outcomes, Took: time.Since(s.begun)}
	for i := range s.outcomes {
		switch s.outcomes[i].Status {
		case Passed:
			result.Passed++
		case Failed:
			result.Failed++
		case Skipped:
			result.Skipped++
		}
	}
	return result
}
