package diff

import (
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	settleTries   = 30
	settlePause   = 100 * time.Millisecond
	warmTries     = 100
	progressEvery = 10 * time.Second
	slowCase      = 2 * time.Second
)

// Options say what to compare.
type Options struct {
	// Reference and Subject are host:port.
	Reference, Subject string
	// Run is a regular expression over the names of cases; empty is all.
	Run string
	// Workers is how many cases run at once.
	Workers int
	// Verbose prints every case and line of a group.
	Verbose bool
	Out     io.Writer
}

// Result counts cases. Skipped are those that differ only as reasons.txt says.
type Result struct{ Passed, Failed, Skipped int }

// outcome is one case's differences, if it has any.
type outcome struct {
	name        string
	differences []string
	reasons     []string
	err         error
	took        time.Duration // with the waits for what shows late
	left, right time.Duration // until each endpoint had answered
}

// Run generates the cases, sends them to both endpoints, and prints how they differ, grouped.
func Run(o Options) (Result, error) {
	filter, err := regexp.Compile(o.Run)
	if err != nil {
		return Result{}, err
	}
	reasons, err := parseReasons(reasonsText)
	if err != nil {
		return Result{}, err
	}
	versions, err := advertised(o.Subject)
	if err != nil {
		return Result{}, fmt.Errorf("ask %s for its versions: %w", o.Subject, err)
	}
	left, right := newEndpoint(o.Reference, nil), newEndpoint(o.Subject, nil)
	defer left.close()
	defer right.close()
	for _, e := range []*endpoint{left, right} {
		if err := e.settle(); err != nil {
			return Result{}, fmt.Errorf("prepare %s: %w", e.address, err)
		}
		if err := warm(e.address); err != nil {
			return Result{}, err
		}
		if err := align(e.address); err != nil {
			return Result{}, err
		}
	}
	if right.home != single {
		meant, err := parseReasons(clusterReasonsText)
		if err != nil {
			return Result{}, err
		}
		reasons = append(reasons, meant...)
	}
	cases := slices.DeleteFunc(Cases(versions), func(c *Case) bool { return !filter.MatchString(c.Name) })
	shared := sharedTopics(cases)
	for _, e := range []*endpoint{left, right} {
		if err := e.create(shared); err != nil {
			return Result{}, fmt.Errorf("prepare %s: %w", e.address, err)
		}
		defer (&Case{topics: shared}).clean(e)
	}
	outcomes := make([]outcome, len(cases))
	var group sync.WaitGroup
	next := make(chan int)
	for range max(o.Workers, 1) {
		group.Go(func() {
			a, b := newEndpoint(o.Reference, left), newEndpoint(o.Subject, right)
			defer a.close()
			defer b.close()
			for i := range next {
				outcomes[i] = compare(cases[i], a, b, reasons)
			}
		})
	}
	begun, printed := time.Now(), time.Now()
	for i := range cases {
		next <- i
		if time.Since(printed) >= progressEvery {
			printed = time.Now()
			fmt.Fprintf(o.Out, "%d of %d cases begun in %s: %s\n", i+1, len(cases), time.Since(begun).Round(time.Second), cases[i].Name)
		}
	}
	close(next)
	group.Wait()
	result := report(o, outcomes, reasons)
	fmt.Fprintf(o.Out, "%d cases in %s\n", len(cases), time.Since(begun).Round(time.Second))
	return result, nil
}

// sharedTopics are those that cases read, each once.
func sharedTopics(cases []*Case) (all []topicSpec) {
	for _, c := range cases {
		for _, t := range c.reads {
			if !slices.Contains(all, t) {
				all = append(all, t)
			}
		}
	}
	return all
}

// advertised asks an endpoint what it serves.
func advertised(address string) (map[int16][2]int16, error) {
	e := newEndpoint(address, nil)
	defer e.close()
	answer, err := e.call(kmsg.NewPtrApiVersionsRequest(), nil)
	if err != nil {
		return nil, err
	}
	versions := map[int16][2]int16{}
	for _, k := range answer.(*kmsg.ApiVersionsResponse).ApiKeys {
		versions[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	return versions, nil
}

// align sets for the whole cluster what Kafka 4.4 sets when it formats (KIP-966), so that descriptions of topics
// and brokers can be compared.
func align(address string) error {
	e := newEndpoint(address, nil)
	defer e.close()
	set := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	set.Name, set.Value = "min.insync.replicas", kmsg.StringPtr("1")
	brokers := kmsg.NewIncrementalAlterConfigsRequestResource()
	brokers.ResourceType, brokers.Configs = kmsg.ConfigResourceTypeBroker, []kmsg.IncrementalAlterConfigsRequestResourceConfig{set}
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{brokers}
	answer, err := e.call(r, nil)
	if err != nil {
		return fmt.Errorf("set min.insync.replicas for all brokers of %s: %w", address, err)
	}
	if code := answer.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode; code != 0 {
		return fmt.Errorf("set min.insync.replicas for all brokers of %s: error code %d", address, code)
	}
	return nil
}

// warm waits until an endpoint has producer ids to give, which a broker that has just started may not.
func warm(address string) error {
	e := newEndpoint(address, nil)
	defer e.close()
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionTimeoutMillis = 1000
	for range warmTries {
		answer, err := e.call(r, nil)
		if err != nil {
			return fmt.Errorf("ask %s for a producer id: %w", address, err)
		}
		if answer.(*kmsg.InitProducerIDResponse).ErrorCode == 0 {
			return e.warmTransactions()
		}
		time.Sleep(settlePause)
	}
	return fmt.Errorf("%s gives no producer ids", address)
}

const unsupportedVersion = 35

// warmGroups waits until the endpoint coordinates groups.
func (e *endpoint) warmGroups() error {
	ask := kmsg.NewPtrFindCoordinatorRequest()
	ask.Version, ask.CoordinatorKey = 3, "warm"
	for range warmTries {
		found, err := e.call(ask, nil)
		if err != nil {
			return fmt.Errorf("ask %s for a coordinator: %w", e.address, err)
		}
		listed, err := e.call(kmsg.NewPtrListGroupsRequest(), nil)
		if err != nil {
			return fmt.Errorf("ask %s for its groups: %w", e.address, err)
		}
		if found.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 && listed.(*kmsg.ListGroupsResponse).ErrorCode == 0 {
			return nil
		}
		time.Sleep(settlePause)
	}
	return fmt.Errorf("%s has no coordinator of groups", e.address)
}

// warmTransactions waits until an endpoint that has a coordinator of transactions has one for each id that cases use.
func (e *endpoint) warmTransactions() error {
	versions, err := advertised(e.address)
	if err != nil {
		return err
	}
	if _, ok := versions[10]; !ok {
		return nil
	}
	ask := kmsg.NewPtrFindCoordinatorRequest()
	ask.Version, ask.CoordinatorType, ask.CoordinatorKey = 3, 1, "warm"
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionTimeoutMillis, init.TransactionalID = 1000, kmsg.StringPtr("warm")
	for range warmTries {
		if _, err := e.call(ask, nil); err != nil {
			return fmt.Errorf("ask %s for a coordinator: %w", e.address, err)
		}
		answer, err := e.call(init, nil)
		if err != nil {
			return fmt.Errorf("ask %s for a transaction's producer id: %w", e.address, err)
		}
		if code := answer.(*kmsg.InitProducerIDResponse).ErrorCode; code == 0 || code == unsupportedVersion {
			return e.warmGroups()
		}
		time.Sleep(settlePause)
	}
	return fmt.Errorf("%s has no coordinator of transactions", e.address)
}

func compare(c *Case, a, b *endpoint, reasons []*reason) outcome {
	out, begun := outcome{name: c.Name}, time.Now()
	var left []string
	var leftErr error
	done := make(chan struct{})
	go func() {
		left, leftErr = c.run(a)
		out.left = time.Since(begun)
		close(done)
	}()
	right, rightErr := c.run(b)
	out.right = time.Since(begun)
	<-done
	switch {
	case leftErr != nil:
		out.err = fmt.Errorf("reference: %w", leftErr)
	case rightErr != nil:
		out.err = fmt.Errorf("subject: %w", rightErr)
	default:
		out.compare(left, right, reasons)
		for range settleTries {
			if !c.maySettle(out.differences) {
				break
			}
			time.Sleep(settlePause)
			left, right = c.settle(a, left), c.settle(b, right)
			out.compare(left, right, reasons)
		}
	}
	c.clean(a)
	c.clean(b)
	out.took = time.Since(begun)
	return out
}

// compare notes what differs, and which of it is meant.
func (o *outcome) compare(left, right []string, reasons []*reason) {
	o.differences, o.reasons = difference(left, right), nil
	o.explain(reasons)
}

// maySettle reports whether a difference that is not meant lies in a step that only shows an effect.
func (c *Case) maySettle(differences []string) bool {
	for _, line := range differences {
		for i := range c.steps {
			if c.steps[i].shows && strings.HasPrefix(line, fmt.Sprintf("%d %s: ", i, c.steps[i].name)) {
				return true
			}
		}
	}
	return false
}

// difference pairs lines by their path.
func difference(left, right []string) (all []string) {
	a, b := byPath(left), byPath(right)
	paths := sorted(a)
	for path := range b {
		if _, ok := a[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		l, okL := a[path]
		r, okR := b[path]
		switch {
		case !okL:
			l = "absent"
		case !okR:
			r = "absent"
		}
		if l != r {
			all = append(all, fmt.Sprintf("%s: %s, not %s", path, l, r))
		}
	}
	return all
}

func byPath(lines []string) map[string]string {
	m := map[string]string{}
	for _, line := range lines {
		path, value, ok := strings.Cut(line, " = ")
		if !ok {
			path, value = strings.SplitN(line, ":", 2)[0], line
		}
		for n, first := 2, path; ; n++ { // a path that is there again is a path of its own
			if _, taken := m[path]; !taken {
				break
			}
			path = fmt.Sprintf("%s#%d", first, n)
		}
		m[path] = value
	}
	return m
}

// reason explains differences: of cases whose name, and in lines whose text, match.
type reason struct {
	cases, lines *regexp.Regexp
	text         string
}

var (
	//go:embed reasons.txt
	reasonsText string
	//go:embed reasons_cluster.txt
	clusterReasonsText string
)

// parseReasons reads lines "case pattern | line pattern | reason".
func parseReasons(text string) (all []*reason, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, " | ")
		if len(parts) != 3 || len(parts[2]) < 10 {
			return nil, fmt.Errorf("reasons.txt: %q is not \"cases | lines | reason\"", line)
		}
		r := &reason{text: parts[2]}
		if r.cases, err = regexp.Compile(parts[0]); err != nil {
			return nil, err
		}
		if r.lines, err = regexp.Compile(parts[1]); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// explain moves the differences that are meant to reasons.
func (o *outcome) explain(reasons []*reason) {
	o.differences = slices.DeleteFunc(o.differences, func(line string) bool {
		for _, r := range reasons {
			if r.cases.MatchString(o.name) && r.lines.MatchString(line) {
				if !slices.Contains(o.reasons, r.text) {
					o.reasons = append(o.reasons, r.text)
				}
				return true
			}
		}
		return false
	})
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

var digits = regexp.MustCompile(`diff-\d+-\d+|\[\d+\]`)

// report prints groups of cases that differ in the same lines.
func report(o Options, outcomes []outcome, reasons []*reason) (result Result) {
	groups, meant := map[string][]string{}, map[string]int{}
	for i := range outcomes {
		out := &outcomes[i]
		if out.took >= slowCase {
			fmt.Fprintf(o.Out, "slow: %s took %s; first answers after %s and %s\n", out.name, round(out.took), round(out.left), round(out.right))
		}
		switch {
		case out.err != nil:
			result.Failed++
			groups["not run: "+digits.ReplaceAllString(out.err.Error(), "T")] = append(groups["not run: "+digits.ReplaceAllString(out.err.Error(), "T")], out.name)
		case len(out.differences) > 0:
			result.Failed++
			shown := out.differences
			if !o.Verbose {
				shown = shown[:min(len(shown), 12)]
			}
			key := digits.ReplaceAllString(strings.Join(shown, "\n    "), "[]")
			groups[key] = append(groups[key], out.name)
		case len(out.reasons) > 0:
			result.Skipped++
			for _, text := range out.reasons {
				meant[text]++
			}
		default:
			result.Passed++
		}
	}
	keys := sorted(groups)
	sort.SliceStable(keys, func(i, j int) bool { return len(groups[keys[i]]) > len(groups[keys[j]]) })
	for _, key := range keys {
		names := groups[key]
		fmt.Fprintf(o.Out, "%d cases differ (reference, not subject):\n    %s\n", len(names), key)
		for i, name := range names {
			if i == 4 && !o.Verbose {
				fmt.Fprintf(o.Out, "  ... and %d more\n", len(names)-i)
				break
			}
			fmt.Fprintf(o.Out, "  %s\n", name)
		}
	}
	if o.Run == "" {
		for _, r := range reasons {
			if meant[r.text] == 0 {
				fmt.Fprintf(o.Out, "no case differs any more, or by chance: %s\n", r.text)
			}
		}
	}
	for _, text := range sorted(meant) {
		fmt.Fprintf(o.Out, "%d cases differ on purpose: %s\n", meant[text], text)
	}
	fmt.Fprintf(o.Out, "%d passed, %d failed, %d skipped\n", result.Passed, result.Failed, result.Skipped)
	return result
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
