package suite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Case is one fact about a broker.
type Case struct {
	// Name is the fact in a few words, without slashes; names of runs have hyphens for its blanks.
	Name string
	// Versions are those of the API for which the fact holds. Nil: all that Apache Kafka 4.4 serves.
	Versions *Span
	// Needs are further API keys without which the case cannot run.
	Needs []int16
	// Features are finalized levels without which the case cannot run.
	Features map[string]int16
	// Serial cases change what the whole cluster shows, and run alone after the others.
	Serial bool
	// Slow cases wait for minutes, and run on request only.
	Slow bool
	// Run fails by the methods of C.
	Run func(c *C)

	area string // the API's name, or a KIP
	key  int16  // noKey: a sequence, which runs once
}

const noKey = -1

// OfAPI makes cases for an API: each is run in every version.
func OfAPI(key int16, cases ...Case) []Case {
	for i := range cases {
		cases[i].area, cases[i].key = APIName(key), key
	}
	return cases
}

// OfArea makes cases that run once, named by a KIP or another subject.
func OfArea(area string, cases ...Case) []Case {
	for i := range cases {
		cases[i].area, cases[i].key = area, noKey
	}
	return cases
}

// run is one case in one version.
type run struct {
	*Case
	name    string
	version int16
}

// expand returns what there is to run, in the order of the cases.
func expand(cases []Case) (all []run) {
	for i := range cases {
		c := &cases[i]
		name := c.area + "/" + strings.ReplaceAll(c.Name, " ", "-")
		if c.key == noKey {
			all = append(all, run{Case: c, name: name, version: noKey})
			continue
		}
		span := c.span()
		for v := span.Min; v <= span.Max; v++ {
			all = append(all, run{Case: c, name: fmt.Sprintf("%s/v%d", name, v), version: v})
		}
	}
	return all
}

// span is the versions of a case that both Apache Kafka and kmsg know.
func (c *Case) span() Span {
	span := KafkaVersions[c.key]
	span.Max = min(span.Max, kmsg.RequestForKey(c.key).MaxVersion())
	if c.Versions != nil {
		span = Span{max(span.Min, c.Versions.Min), min(span.Max, c.Versions.Max)}
	}
	return span
}

// highest reports whether no later version of the case runs on an endpoint.
func (r *run) highest(b *Broker) bool {
	return r.key == noKey || r.version == max(min(r.span().Max, b.Versions[r.key].Max), r.span().Min)
}

// missing says what the endpoint lacks for a run; empty if nothing.
func (r *run) missing(b *Broker) string {
	if r.key != noKey {
		span, ok := b.Versions[r.key]
		switch {
		case !ok:
			return r.area + " is not advertised"
		case !span.Has(r.version):
			return fmt.Sprintf("%s version %d is not advertised", r.area, r.version)
		}
	}
	for _, key := range r.Needs {
		if _, ok := b.Versions[key]; !ok {
			return APIName(key) + " is not advertised"
		}
	}
	for _, feature := range sorted(r.Features) {
		if level := r.Features[feature]; b.Features[feature] < level {
			return fmt.Sprintf("%s is not finalized at level %d", feature, level)
		}
	}
	return ""
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Count is how many runs of cases there are for each API or other subject, and in all.
func Count(cases []Case) (each map[string]int, total int) {
	each = map[string]int{}
	for _, r := range expand(cases) {
		each[r.area]++
		total++
	}
	return each, total
}

// Names are the names of all runs, in order.
func Names(cases []Case) (all []string) {
	for _, r := range expand(cases) {
		all = append(all, r.name)
	}
	return all
}
