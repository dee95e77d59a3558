package suite

import "regexp"

// Difference is a fact of Apache Kafka that weir does not share, on purpose.
type Difference struct {
	// Runs matches the names of the runs that fail on weir.
	Runs *regexp.Regexp
	// Reason says what weir does and why.
	Reason string
}

// Differences are all of them.
var Differences = []Difference{}

// explain turns a failure that is meant into a skip, and says when a run that should fail does not.
func (o *Outcome) explain() {
	for i := range Differences {
		d := &Differences[i]
		if !d.Runs.MatchString(o.Name) {
			continue
		}
		switch o.Status {
		case Failed:
			o.Status, o.Text, o.Meant = Skipped, "differs on purpose: "+d.Reason, true
		case Passed:
			o.Status, o.Text = Failed, "passes, but is listed as a difference: "+d.Reason
		}
		return
	}
}
