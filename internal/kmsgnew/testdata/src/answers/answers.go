package answers

import "github.com/twmb/franz-go/pkg/kmsg"

type holder struct{ leader kmsg.FetchResponseLeader }

var zero kmsg.FetchResponseLeader // want "variable without a value"

var made = kmsg.NewFetchResponseLeader()

func literals() {
	_ = kmsg.FetchResponse{}                         // want "literal of kmsg.FetchResponse"
	_ = &kmsg.FetchResponseLeader{ID: 1}             // want "use kmsg.NewFetchResponseLeader"
	_ = []kmsg.FetchResponseLeader{{ID: 1}}          // want "literal of kmsg.FetchResponseLeader"
	_ = map[string]kmsg.FetchResponseLeader{"a": {}} // want "literal of kmsg.FetchResponseLeader"
	_ = []kmsg.FetchResponseLeader{}
	_ = kmsg.FetchRequest{}
}

func others(n int) {
	_ = new(kmsg.FetchResponse)             // want "new of kmsg.FetchResponse"
	_ = make([]kmsg.FetchResponseLeader, n) // want "elements of make"
	_ = make([]kmsg.FetchResponseLeader, 0, n)
	_ = make([]*kmsg.FetchResponse, n)
	_ = make(map[string]kmsg.FetchResponse, n)
	var late kmsg.FetchResponse // want "variable without a value"
	_ = late
}

func elements(n int) []kmsg.FetchResponseLeader {
	all := make([]kmsg.FetchResponseLeader, n)
	for i := range all {
		all[i] = kmsg.NewFetchResponseLeader()
	}
	return all
}

func defaults(n int) []kmsg.FetchResponseLeader {
	all := make([]kmsg.FetchResponseLeader, n)
	for i := range all {
		l := &all[i]
		l.Default()
	}
	return all
}

func result() (l kmsg.FetchResponseLeader) { return l } // want "named result"

func copied(in kmsg.FetchResponseLeader) kmsg.FetchResponseLeader {
	out := in
	out.ID = 7
	h := holder{leader: kmsg.NewFetchResponseLeader()}
	_ = h
	return out
}

func pointers() *kmsg.FetchResponse { return kmsg.NewPtrFetchResponse() }
