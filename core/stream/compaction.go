package stream

import (
	"weir/core/metadata"
)

// mergePolicy says which parts of streams become one. Its numbers, and what they add up to, are in the package comment.
type mergePolicy struct {
	rewriteFanIn   int    // parts of a stream that are rewritten as one
	joinFanIn      int    // parts of a stream that are joined to one
	rewriteBytes   int64  // of the batches of one rewrite, which are in memory
	rewriteStreams uint64 // at most in one rewrite; a power of two
	joinBytesMin   int64  // of the run that a join copies of each object
	joinStreams    uint64 // at most in one join; a power of two
	objectBytesMax int64
}

// sourcesMax bounds the parts of one stream that become one.
const sourcesMax = 64

// element is what window sees of a part.
type element struct {
	bytes  int64
	barred bool // it is in no run
	minor  bool // too small to count: it is taken along between others
}

// window finds the longest run of parts that are worth to be one. Its bytes are at least twice those of its largest part, so
// that what is written again becomes part of something at least twice as large, and is written a logarithmic number
// of times at most. Where all are about as large they are fanIn at least, and so that nothing much larger than the others is
// written again for their sake, their bytes are half as many times those of the largest; but less where there
// are many. Or they are as many as fit into most bytes.
func window(all []element, fanIn int, most int64) (from, to int) {
	ratio := int64(max(2, fanIn/2))
	for i := range all {
		sum, minor, largest, count := int64(0), int64(0), int64(0), 0
		for j := i; j < len(all) && j-i < sourcesMax && !all[j].barred && !all[i].minor; j++ {
			e := &all[j]
			if e.minor {
				minor += e.bytes
				continue
			}
			full := sum+minor+e.bytes > most
			if full && count >= 2 && sum > most/2 && sum >= 2*largest && lastCounted(all, j)-i > to-from {
				from, to = i, lastCounted(all, j)
			}
			if full {
				break
			}
			sum, largest, count = sum+e.bytes, max(largest, e.bytes), count+1
			worth := sum >= 2*largest && sum*int64(count) >= ratio*int64(fanIn)*largest && minor <= sum/4
			if worth && count >= fanIn && j+1-i > to-from {
				from, to = i, j+1
			}
		}
	}
	return from, to
}

// lastCounted is the end of the last element before j that counts.
func lastCounted(all []element, j int) int {
	for all[j-1].minor {
		j--
	}
	return j
}

// rewritten is the run of a stream's parts that a rewrite makes one.
func (p *mergePolicy) rewritten(parts []metadata.Part, fanIn int) []metadata.Part {
	if len(parts) < 2 {
		return nil
	}
	all := make([]element, len(parts))
	for i := range parts {
		all[i].bytes = parts[i].Bytes
	}
	from, to := window(all, fanIn, p.rewriteBytes)
	return parts[from:to]
}

// joined is the run of a stream's parts that a join makes one; held is how much of a part's object the join would copy.
// What is too small to be copied by itself is taken along where it lies between others.
func (p *mergePolicy) joined(parts []metadata.Part, held func(metadata.ObjectID) int64) []metadata.Part {
	all := make([]element, len(parts))
	for i := range parts {
		bytes := held(parts[i].Object)
		all[i] = element{bytes: bytes, barred: bytes > p.objectBytesMax/int64(p.joinFanIn), minor: bytes < p.joinBytesMin}
	}
	from, to := window(all, p.joinFanIn, p.objectBytesMax)
	return parts[from:to]
}

// mayJoin is a cheap look at whether a stream's parts could be joined.
func (p *mergePolicy) mayJoin(parts []metadata.Part) bool {
	large := 0
	for i := range parts {
		if parts[i].Bytes*int64(p.joinStreams) >= p.joinBytesMin {
			large++
		}
	}
	return large >= p.joinFanIn
}

// mergedTimestamp is the MaxTimestamp of the part that parts become: the largest of a record, or if none has one the latest
// upload.
func mergedTimestamp(parts []metadata.Part) int64 {
	latest := parts[0].MaxTimestamp
	for _, p := range parts[1:] {
		if later := p.MaxTimestamp; later >= 0 && later > latest || later < 0 && latest < 0 && later < latest {
			latest = later
		}
	}
	return latest
}

// neighbours is the aligned block of so many stream ids, a power of two, that holds an id. Blocks of all sizes nest, so
// that streams which shared an object go on sharing what it becomes.
func neighbours(id metadata.StreamID, streams uint64) (first, end metadata.StreamID) {
	first = id &^ metadata.StreamID(streams-1)
	return first, first + metadata.StreamID(streams)
}

// mergeView is what planning sees of streams.
type mergeView interface {
	// each visits the parts of the streams that may be compacted now, of ids in [first, end), ascending.
	each(first, end metadata.StreamID, visit func(id metadata.StreamID, parts []metadata.Part))
}

// mergeRun is a run of a stream's parts that become one.
type mergeRun struct {
	stream metadata.StreamID
	parts  []metadata.Part
}

// mergePlan is what one compaction does.
type mergePlan struct {
	join bool // the store copies the bytes; else they are read and written
	runs []mergeRun
}

func (p *mergePlan) bytes() (total int64) {
	for i := range p.runs {
		for j := range p.runs[i].parts {
			total += p.runs[i].parts[j].Bytes
		}
	}
	return total
}

// plan finds something to do for a stream, and for its neighbours with it; false: nothing. The plan's parts are lent.
func (p *mergePolicy) plan(view mergeView, id metadata.StreamID, parts []metadata.Part) (mergePlan, bool) {
	if p.mayJoin(parts) {
		if plan, ok := p.planJoin(view, id, parts); ok {
			return plan, true
		}
	}
	run := p.rewritten(parts, p.rewriteFanIn)
	if len(run) == 0 {
		return mergePlan{}, false
	}
	return p.planRewrite(view, mergeRun{id, run}), true
}

// planRewrite takes the neighbours along that nearly need it too, in growing blocks, for as long as all fit.
func (p *mergePolicy) planRewrite(view mergeView, seed mergeRun) mergePlan {
	plan := mergePlan{runs: []mergeRun{seed}}
	total := plan.bytes()
	for size := uint64(2); size <= p.rewriteStreams; size *= 2 {
		more := mergePlan{}
		inFirst, inEnd := neighbours(seed.stream, size/2)
		first, end := neighbours(seed.stream, size)
		view.each(first, end, func(id metadata.StreamID, parts []metadata.Part) {
			if id >= inFirst && id < inEnd {
				return
			}
			if run := p.rewritten(parts, max(2, p.rewriteFanIn/2)); len(run) > 0 {
				more.runs = append(more.runs, mergeRun{id, run})
			}
		})
		if total += more.bytes(); total > p.rewriteBytes {
			break
		}
		plan.runs = append(plan.runs, more.runs...)
	}
	return plan
}

// planJoin joins what the stream's block holds of the objects of a run of the stream's parts.
func (p *mergePolicy) planJoin(view mergeView, id metadata.StreamID, parts []metadata.Part) (mergePlan, bool) {
	first, end := neighbours(id, p.joinStreams)
	held := make(map[metadata.ObjectID]int64, len(parts))
	for i := range parts {
		held[parts[i].Object] = 0
	}
	view.each(first, end, func(_ metadata.StreamID, parts []metadata.Part) {
		for i := range parts {
			if bytes, ok := held[parts[i].Object]; ok {
				held[parts[i].Object] = bytes + parts[i].Bytes
			}
		}
	})
	run := p.joined(parts, func(o metadata.ObjectID) int64 { return held[o] })
	if len(run) == 0 {
		return mergePlan{}, false
	}
	sources := make(map[metadata.ObjectID]bool, len(run))
	for i := range run {
		sources[run[i].Object] = true
	}
	plan := mergePlan{join: true}
	view.each(first, end, func(id metadata.StreamID, parts []metadata.Part) {
		plan.addRuns(id, parts, sources)
	})
	return plan, true
}

// addRuns adds what a stream has in some objects. Where it has something else in between, that is several runs.
func (p *mergePlan) addRuns(id metadata.StreamID, parts []metadata.Part, sources map[metadata.ObjectID]bool) {
	for i := 0; i < len(parts); {
		end := i
		for end < len(parts) && sources[parts[end].Object] && (end == i || parts[end].Start == parts[end-1].End) {
			end++
		}
		if end > i {
			p.runs = append(p.runs, mergeRun{id, parts[i:end]})
			i = end
			continue
		}
		i++
	}
}
