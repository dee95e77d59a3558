package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/latency"
	"weir/sim/machine"
)

// keptPart is of what a PUT that broke off is kept whole multiples.
const keptPart = 16 << 10

// unfinishedMax is more than the uploads that a node has under way at once.
const unfinishedMax = 16

// link is one direction of a machine's way to the store. Bodies share it evenly.
type link struct {
	store   *Store
	machine uint64
	down    bool
	flows   []*flow    // in order of their begin
	at      event.Time // up to which what moved is counted
	turn    uint64     // of the event that counts; earlier ones are void
}

// flow is one body on its way.
type flow struct {
	link    *link
	request *request
	row     *latency.Profile
	bytes   int64
	left    int64
}

// carry takes a request's body over the machine's link, then schedules the request.
func (v *view) carry(r *request, row *latency.Profile, bytes int) {
	s := v.store
	p, put := r.event.(*env.PutObject)
	if rate := s.rate(!put); rate == 0 || bytes == 0 || r.fate == fateEnded {
		v.schedule(r, row, bytes)
		return
	}
	left := int64(bytes)
	if put {
		if left -= v.kept[p.Key]; left < int64(bytes) {
			s.queue.Hit("store: a PUT goes on with what had arrived")
		}
		if r.fate == fateRefuse || r.fate == fateLostBefore { // it breaks off on its way
			left = left / 1000 * int64(r.draw%1000)
		}
	}
	l := s.linkOf(v.box, !put)
	r.flow = &flow{link: l, request: r, row: row, bytes: left, left: left}
	l.begin(r.flow)
}

func (s *Store) rate(down bool) int64 {
	if down {
		return s.Faults.Downlink
	}
	return s.Faults.Uplink
}

func (s *Store) linkOf(box *machine.Box, down bool) *link {
	for _, l := range s.links {
		if l.machine == box.Machine && l.down == down {
			return l
		}
	}
	l := &link{store: s, machine: box.Machine, down: down, at: s.queue.Now()}
	s.links = append(s.links, l)
	return l
}

// SetLinks changes the rates of all links, for what is on its way too.
func (s *Store) SetLinks(up, down int64) {
	for _, l := range s.links {
		l.advance()
	}
	s.Faults.Uplink, s.Faults.Downlink = up, down
	for _, l := range s.links {
		l.at = s.queue.Now()
		l.await()
	}
}

func (l *link) begin(f *flow) {
	l.advance()
	if len(l.flows) == 0 {
		l.at = l.store.queue.Now()
	}
	l.flows = append(l.flows, f)
	l.await()
}

// cut takes a body off the link before it arrived.
func (l *link) cut(f *flow) {
	l.advance()
	l.count(f)
	l.flows = slices.DeleteFunc(l.flows, func(o *flow) bool { return o == f })
	f.request.flow = nil
	l.await()
}

func (l *link) count(f *flow) {
	if !l.down {
		l.store.Sent += f.bytes - max(f.left, 0)
	}
}

// advance moves the bodies on by what the time since the last move was good for.
func (l *link) advance() {
	n, rate := int64(len(l.flows)), l.store.rate(l.down)
	if n == 0 || rate == 0 {
		return
	}
	since := l.store.queue.Now() - l.at
	each := int64(since) / n * rate / int64(time.Second)
	if each == 0 {
		return // the time counts when it is good for a byte
	}
	for _, f := range l.flows {
		f.left -= each
	}
	l.at += event.Time(each * n * int64(time.Second) / rate)
}

// await schedules the next arrival.
func (l *link) await() {
	l.turn++
	if len(l.flows) == 0 {
		return
	}
	n, rate, least := int64(len(l.flows)), l.store.rate(l.down), l.flows[0].left
	for _, f := range l.flows {
		least = min(least, f.left)
	}
	at := l.store.queue.Now()
	if rate > 0 && least > 0 {
		at = max(at, l.at+event.Time((least*n+1)*int64(time.Second)/rate+n))
	}
	l.store.queue.At(at, l, l.turn)
}

// Fire implements event.Handler: bodies have arrived.
func (l *link) Fire(turn uint64) {
	if turn != l.turn {
		return
	}
	l.advance()
	unbound := l.store.rate(l.down) == 0
	var arrived []*flow
	l.flows = slices.DeleteFunc(l.flows, func(f *flow) bool {
		if f.left > 0 && !unbound {
			return false
		}
		f.left = 0
		l.count(f)
		arrived = append(arrived, f)
		return true
	})
	l.await()
	for _, f := range arrived {
		f.request.flow = nil
		f.request.view.schedule(f.request, f.row, 0)
	}
}

// keep notes what arrived of a large PUT that was not done, for the next one of its key. Such a PUT is a
// multipart upload that somebody pays for: one that is never gone on with is a leak.
func (v *view) keep(p *env.PutObject, r *request) {
	size := int64(0)
	for _, piece := range p.Body {
		size += int64(len(piece))
	}
	switch {
	case p.Outcome == env.OutcomeDone || p.Outcome == env.OutcomeRefused:
		delete(v.kept, p.Key)
		return
	case size < joinBytes:
		return
	case r.fate == fateRefuse || r.fate == fateLostBefore:
		v.kept[p.Key] += (size - v.kept[p.Key]) / 1000 * int64(r.draw%1000) / keptPart * keptPart
	default:
		v.kept[p.Key] = size
	}
	if begun := v.unfinished(); begun > unfinishedMax {
		panic(fmt.Sprintf("sim: one incarnation began %d multipart uploads and goes on with none of them", begun))
	}
}

// unfinished is how many large PUTs were begun whose object never was.
func (v *view) unfinished() int {
	for _, key := range slices.Sorted(maps.Keys(v.kept)) {
		if _, made := v.store.history[key]; made {
			delete(v.kept, key)
		}
	}
	return len(v.kept)
}

// Abandon implements env.Abandoner: what is in flight is answered soon, as lost or failed.
func (v *view) Abandon() {
	v.abandoned = true
	s := v.store
	for _, r := range slices.Clone(s.inflight) {
		if r.view != v || r.dead || r.answered {
			continue
		}
		_, put := r.event.(*env.PutObject)
		_, del := r.event.(*env.DeleteObject)
		switch {
		case r.flow != nil:
			r.flow.link.cut(r.flow)
			r.fate = fateEnded
		case r.fate.failed() || r.fate.lost():
		case !put && !del:
			r.fate, r.done = fateEnded, true
		case r.done:
			r.fate = fateLostAfter
		default:
			r.fate = fateLate
		}
		s.queue.Hit("store: an operation was abandoned")
		r.events++
		s.queue.After(latency.StoreRefuse.Draw(&s.draws)/8, r, phaseAnswer)
	}
}
