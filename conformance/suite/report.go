package suite

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const slowCase = 15 * time.Second

// Print writes the report for people. Its last line is "N passed, N failed, N skipped".
func (r *Result) Print(w io.Writer) {
	skipped := map[string]int{}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		if o.Took > slowCase {
			fmt.Fprintf(w, "slow: %s took %s\n", o.Name, o.Took.Round(time.Millisecond))
		}
		switch o.Status {
		case Failed:
			fmt.Fprintf(w, "FAIL %s: %s\n", o.Name, o.Text)
		case Skipped:
			skipped[o.Text]++
		}
	}
	reasons := sorted(skipped)
	slices.SortStableFunc(reasons, func(a, b string) int { return skipped[b] - skipped[a] })
	for _, reason := range reasons {
		fmt.Fprintf(w, "%d skipped: %s\n", skipped[reason], reason)
	}
	fmt.Fprintf(w, "%d cases in %s\n", len(r.Outcomes), r.Took.Round(time.Second))
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", r.Passed, r.Failed, r.Skipped)
}

// Markdown writes a table with a line for each API, and the failures.
func (r *Result) Markdown(w io.Writer) {
	type row struct{ passed, failed, skipped int }
	rows, order := map[string]*row{}, []string{}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		if rows[o.Area] == nil {
			rows[o.Area], order = &row{}, append(order, o.Area)
		}
		switch o.Status {
		case Passed:
			rows[o.Area].passed++
		case Failed:
			rows[o.Area].failed++
		case Skipped:
			rows[o.Area].skipped++
		}
	}
	fmt.Fprint(w, "| subject | passed | failed | skipped |\n| --- | --: | --: | --: |\n")
	for _, area := range order {
		fmt.Fprintf(w, "| %s | %d | %d | %d |\n", area, rows[area].passed, rows[area].failed, rows[area].skipped)
	}
	fmt.Fprintf(w, "| all | %d | %d | %d |\n", r.Passed, r.Failed, r.Skipped)
	for i := range r.Outcomes {
		if o := &r.Outcomes[i]; o.Status == Failed {
			fmt.Fprintf(w, "\n- `%s`: %s", o.Name, strings.SplitN(o.Text, "\n", 2)[0])
		}
	}
	if r.Failed > 0 {
		fmt.Fprintln(w)
	}
}

// The elements of JUnit's XML, as CI systems read it.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Seconds  string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Seconds string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
	}
)

// JUnit writes the result as JUnit's XML.
func (r *Result) JUnit(w io.Writer) error {
	out := junitSuite{Name: "weir-conformance", Tests: len(r.Outcomes), Failures: r.Failed, Skipped: r.Skipped, Seconds: seconds(r.Took)}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		one := junitCase{Class: o.Area, Name: o.Name, Seconds: seconds(o.Took)}
		switch o.Status {
		case Failed:
			one.Failure = &junitMessage{o.Text}
		case Skipped:
			one.Skipped = &junitMessage{o.Text}
		}
		out.Cases = append(out.Cases, one)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	return encoder.Encode(out)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
