package stream

import (
	"cmp"
	"slices"

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

// How many streams one compaction takes at most.
const (
	rewriteStreams = 1024
	joinStreams    = 64
)

// rewriteParts is how many parts one rewrite takes at most, beside those of its first stream: a turn of the loop lists what is to
// be read of all of them.
const rewriteParts = 4096

// joinShare is which share of what there is of a stream a join makes one part at most: retention takes whole parts.
const joinShare = 4

// sourcesMax bounds the parts of one stream that become one.
const sourcesMax = 64

// partsWanted is how many parts a stream should have at most, beside those that are settled. With more of them fewer are enough to be
// merged, and in the end any that lie side by side.
const partsWanted = 20

// element is what window sees of a part.
type element struct {
	bytes  int64             // of the stream
	load   int64             // bytes of all streams that are handled with it, or with others of its object
	object metadata.ObjectID // whose load counts once; 0: that of each does
	barred bool              // it is in no run
	minor  bool              // it does not count, and is taken along between others
}

// worth says when a run of parts is worth to be one.
type worth struct {
	fanIn     int   // it has so many parts
	ratio     int64 // its bytes are so many times those of its largest, 2 and up; of a run of more than patience parts less
	loadMost  int64
	bytesMost int64
	// patience bounds the parts of a stream whose sizes differ much.
	patience int64
}

// run is a run of parts that grows.
type run struct {
	count                     int
	bytes, load, minor, large int64 // minor: bytes of those that do not count; large: of the largest
}

func (r *run) add(e *element, load int64) {
	r.load += load
	if e.minor {
		r.minor += e.bytes
		return
	}
	r.count, r.bytes, r.large = r.count+1, r.bytes+e.bytes, max(r.large, e.bytes)
}

func (w *worth) fits(r *run, e *element, load int64) bool {
	return r.load+load <= w.loadMost && r.bytes+r.minor+e.bytes <= w.bytesMost
}

func (w *worth) ok(r *run) bool {
	return r.count >= w.fanIn && r.bytes >= 2*r.large && r.bytes*max(int64(r.count), w.patience) >= w.ratio*w.patience*r.large && r.minor <= r.bytes/4
}

// full says that a run is worth it although it has few parts, or one much larger than the others: no more of them fit.
func (w *worth) full(r *run) bool {
	return r.count >= 2 && r.load > w.loadMost/2 && 2*r.bytes >= 3*r.large && r.minor <= r.bytes/4
}

// window finds the longest run of parts that are worth to be one, or as many as fit. Their bytes are twice those of the
// largest at least: what is written again becomes part of something at least twice as large, and so is written
// a logarithmic number of times at most.
func window(all []element, w worth) (from, to int) {
	for i := range all {
		if all[i].minor {
			continue
		}
		var r run
		last := i // end of the last one that counts
		for j := i; j < len(all) && j-i < sourcesMax && !all[j].barred; j++ {
			load := loadAfter(all[i:j], &all[j])
			if !w.fits(&r, &all[j], load) {
				if w.full(&r) && last-i > to-from {
					from, to = i, last
				}
				break
			}
			if r.add(&all[j], load); all[j].minor {
				continue
			}
			if last = j + 1; w.ok(&r) && last-i > to-from {
				from, to = i, last
			}
		}
	}
	return from, to
}

// cheapest finds the run of at least so many parts, two or more, that costs the least bytes for each part less, whatever their sizes.
func cheapest(all []element, least int, bytesMost int64) (from, to int) {
	var best int64
	for i := range all {
		bytes := int64(0)
		for j := i; j < len(all) && j-i < sourcesMax && !all[j].barred; j++ {
			if bytes += all[j].bytes; bytes > bytesMost {
				break
			}
			less := int64(j - i)
			if j+1-i >= least && (to == 0 || bytes*int64(to-from-1) < best*less) {
				from, to, best = i, j+1, bytes
			}
		}
	}
	return from, to
}

// loadAfter is what an element adds to the load of those before it.
func loadAfter(before []element, e *element) int64 {
	for i := range before {
		if e.object != 0 && before[i].object == e.object {
			return 0
		}
	}
	return e.load
}

// rewritten is the run of a stream's parts that a rewrite makes one; barred says which are none of its business. A run that
// comes along with a neighbour's may have fewer parts. In neither case is what was rewritten before taken in for the
// sake of a few small ones.
func (p *mergePolicy) rewritten(parts []metadata.Part, along, crowded bool, barred func(*metadata.Part) bool) []metadata.Part {
	if len(parts) < 2 {
		return nil
	}
	all := make([]element, len(parts))
	for i := range parts {
		all[i] = element{bytes: parts[i].Bytes, load: parts[i].Bytes, barred: parts[i].Lost() || barred(&parts[i])}
	}
	fanIn := p.rewriteFanIn
	w := worth{fanIn: fanIn, ratio: int64(max(2, fanIn/2)), loadMost: p.rewriteBytes, bytesMost: p.rewriteBytes, patience: int64(2 * fanIn)}
	if along {
		w.fanIn, w.ratio = max(2, fanIn/2), int64(max(2, fanIn/3))
	}
	if crowded {
		w.fanIn, w.ratio = 2, 2
	}
	from, to := window(all, w)
	return parts[from:to]
}

// joined is the run of a stream's parts that a join makes one. What is not for joins is taken along where it lies between others.
func (p *mergePolicy) joined(parts []metadata.Part, crowded bool, held holdings) []metadata.Part {
	all, total := make([]element, len(parts)), int64(0)
	for i := range parts {
		part := &parts[i]
		h := held[part.Object]
		bytes, object := h.bytes, part.Object
		if p.finished(bytes) && h.mostly(part) { // it moves alone
			bytes, object = part.Bytes, 0
		}
		all[i] = element{bytes: part.Bytes, load: bytes, object: object, barred: part.Lost() || p.finished(bytes), minor: !p.large(part) || bytes < p.joinBytesMin}
		total += part.Bytes
	}
	w := worth{fanIn: p.joinFanIn, ratio: 2, loadMost: p.objectBytesMax, bytesMost: max(total/joinShare, p.joinBytesMin), patience: 1}
	if crowded {
		w.fanIn, w.bytesMost = 2, p.objectBytesMax
	}
	from, to := window(all, w)
	return parts[from:to]
}

// relieved is the run of parts that a crowded stream is rid of when no other rule finds one: parts of different rules may lie
// interleaved, and sizes in an order in which no run doubles its largest. Many at a time, if that is possible: the next
// upload brings one more.
func (p *mergePolicy) relieved(parts []metadata.Part, bytesMost int64, settled func(*metadata.Part) bool) []metadata.Part {
	all := make([]element, len(parts))
	for i := range parts {
		all[i] = element{bytes: parts[i].Bytes, barred: parts[i].Lost() || settled(&parts[i])}
	}
	from, to := cheapest(all, max(p.rewriteFanIn, 2), bytesMost)
	if to == 0 {
		from, to = cheapest(all, 2, bytesMost)
	}
	return parts[from:to]
}

// holding is what a block of streams has of an object.
type holding struct {
	bytes   int64
	streams int64
	last    metadata.StreamID // that was counted
}

type holdings map[metadata.ObjectID]holding

func (h holdings) add(id metadata.StreamID, part *metadata.Part) {
	if part.Lost() {
		return
	}
	of := h[part.Object]
	if of.streams == 0 || of.last != id {
		of.streams, of.last = of.streams+1, id
	}
	of.bytes += part.Bytes
	h[part.Object] = of
}

// mostly says that most of it is one part: the store copies long runs of it without its neighbours.
func (h holding) mostly(part *metadata.Part) bool { return 2*part.Bytes >= h.bytes }

// settledShare is the least share of an object, of what a stream has of it on average, of a part that is settled: one in so many.
const settledShare = 4

// settled says that a part stays as it is: its object is too large to be joined with more, and it has a fair share of that. Without its
// neighbours it lies in pieces that are too small to be copied, so that to join it alone is to write it again.
func (p *mergePolicy) settled(part *metadata.Part, h holding) bool {
	if h.mostly(part) {
		return p.finished(part.Bytes)
	}
	return p.finished(h.bytes) && p.large(part) && settledShare*h.streams*part.Bytes >= h.bytes
}

// finished says that what a block has of an object is too large to be joined with as much again.
func (p *mergePolicy) finished(held int64) bool { return held > p.objectBytesMax/2 }

// large is a cheap look at whether a part may be joined: it is, if those of its neighbours are as large.
func (p *mergePolicy) large(part *metadata.Part) bool {
	return part.Bytes*int64(p.joinStreams) >= p.joinBytesMin
}

// large parts of a stream: their number, and a sum by which a change is seen.
func (p *mergePolicy) largeParts(parts []metadata.Part) (n int, sum uint64) {
	for i := range parts {
		if p.large(&parts[i]) {
			n, sum = n+1, (sum+uint64(parts[i].Object))*0x9e3779b97f4a7c15
		}
	}
	return n, sum
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
	// sparse reports whether little of an object has been in use for long: what is left of it should move.
	sparse(metadata.ObjectID) bool
}

// mergeRun is a run of a stream's parts that become one.
type mergeRun struct {
	stream metadata.StreamID
	parts  []metadata.Part
}

// mergePlan is what one compaction does.
type mergePlan struct {
	join bool // the store copies the bytes; else they are read and written
	move bool // off an object that is little in use
	runs []mergeRun
}

func (p *mergePlan) parts() (total int) {
	for i := range p.runs {
		total += len(p.runs[i].parts)
	}
	return total
}

func (p *mergePlan) bytes() (total int64) {
	for i := range p.runs {
		for j := range p.runs[i].parts {
			total += p.runs[i].parts[j].Bytes
		}
	}
	return total
}

// planner plans compactions of what a view shows. What it has seen counts until it is told to forget it.
type planner struct {
	*mergePolicy
	view mergeView
	held map[metadata.StreamID]holdings // of blocks of streams, by their first id
}

func (p *mergePolicy) planner(view mergeView) planner { return planner{mergePolicy: p, view: view} }

// forget makes the planner look anew: parts have changed, or may be compacted no longer.
func (q *planner) forget() { q.held = nil }

// plan finds something to do for a stream, and for its neighbours with it; false: nothing. The plan's parts are lent.
// join says whether to look for something to join.
func (q *planner) plan(id metadata.StreamID, parts []metadata.Part, join bool) (mergePlan, bool) {
	if n, _ := q.largeParts(parts); join && n >= q.joinFanIn {
		if plan, ok := q.planJoin(id, parts); ok {
			return plan, true
		}
	}
	if len(q.rewritten(parts, false, len(parts) > partsWanted, func(*metadata.Part) bool { return false })) > 0 { // nearly never, and cheap to see
		if run := q.rewritten(parts, false, q.crowded(id, parts), q.barred(id)); len(run) > 0 {
			return q.planRewrite(mergeRun{id, run}), true
		}
	}
	if run := q.relief(id, parts, q.objectBytesMax); len(run) > 0 {
		return q.planRelief(mergeRun{id, run}), true
	}
	return q.planMove(parts, id)
}

// crowded says that a stream has too many parts.
func (q *planner) crowded(id metadata.StreamID, parts []metadata.Part) bool {
	if len(parts) <= partsWanted {
		return false
	}
	n := 0
	for i := range parts {
		if !q.settled(&parts[i], q.blockHeld(id)[parts[i].Object]) {
			n++
		}
	}
	return n > partsWanted
}

// relief is what a stream that is crowded is rid of whatever the sizes of its parts.
func (q *planner) relief(id metadata.StreamID, parts []metadata.Part, bytesMost int64) []metadata.Part {
	if !q.crowded(id, parts) {
		return nil
	}
	held := q.blockHeld(id)
	return q.relieved(parts, bytesMost, func(part *metadata.Part) bool { return q.settled(part, held[part.Object]) })
}

// planRelief rewrites what fits into memory, with neighbours; else the store joins it alone.
func (q *planner) planRelief(seed mergeRun) mergePlan {
	if plan := (mergePlan{join: true, runs: []mergeRun{seed}}); plan.bytes() > q.rewriteBytes {
		return plan
	}
	return q.planRewrite(seed)
}

// planMove moves what the stream and its neighbours have of an object of which little else is in use: the store keeps an
// object whole for as long as anybody needs any of it.
func (q *planner) planMove(parts []metadata.Part, id metadata.StreamID) (mergePlan, bool) {
	at := slices.IndexFunc(parts, func(p metadata.Part) bool { return q.view.sparse(p.Object) })
	if at < 0 {
		return mergePlan{}, false
	}
	moved := parts[at]
	if moved.Bytes > q.rewriteBytes/2 {
		return mergePlan{join: true, move: true, runs: []mergeRun{{id, parts[at : at+1]}}}, true
	}
	plan := mergePlan{move: true, runs: []mergeRun{{id, parts[at : at+1]}}}
	left := q.rewriteBytes - moved.Bytes
	first, end := neighbours(id, q.rewriteStreams)
	q.view.each(first, end, func(other metadata.StreamID, parts []metadata.Part) {
		for i := range parts {
			if p := &parts[i]; p.Object == moved.Object && p.Bytes <= left && (other != id || i != at) {
				left -= p.Bytes
				plan.runs = append(plan.runs, mergeRun{other, parts[i : i+1]})
			}
		}
	})
	return plan, true
}

// barred says which parts of a stream are not for rewrites: those that are settled, and those that are for joins, since what
// the stream's block has of their objects is large enough, and not so large that it is no source any more.
func (q *planner) barred(id metadata.StreamID) func(*metadata.Part) bool {
	return func(part *metadata.Part) bool {
		if part.Bytes > q.rewriteBytes/2 || !q.large(part) {
			return part.Bytes > q.rewriteBytes/2
		}
		h := q.blockHeld(id)[part.Object]
		return h.bytes >= q.joinBytesMin && !q.finished(h.bytes) || q.settled(part, h)
	}
}

// blockHeld is what the block of a stream has of each object.
func (q *planner) blockHeld(id metadata.StreamID) holdings {
	first, end := neighbours(id, q.joinStreams)
	held := q.held[first]
	if held == nil {
		held = holdings{}
		q.view.each(first, end, func(of metadata.StreamID, parts []metadata.Part) {
			for i := range parts {
				held.add(of, &parts[i])
			}
		})
		if q.held == nil {
			q.held = map[metadata.StreamID]holdings{}
		}
		q.held[first] = held
	}
	return held
}

// planRewrite takes the neighbours along that nearly need it too, in growing blocks, for as long as all fit. Like those of an upload, the parts
// that come of it lie in the order of their streams.
func (q *planner) planRewrite(seed mergeRun) mergePlan {
	plan := mergePlan{runs: []mergeRun{seed}}
	bytes, parts := plan.bytes(), plan.parts()
	for size := uint64(1); size < q.rewriteStreams; size *= 2 {
		more := mergePlan{}
		first, end := neighbours(seed.stream^metadata.StreamID(size), size) // the other half of the next block
		q.view.each(first, end, func(id metadata.StreamID, parts []metadata.Part) {
			if run := q.rewrittenAlong(id, parts); len(run) > 0 {
				more.runs = append(more.runs, mergeRun{id, run})
			}
		})
		bytes, parts = bytes+more.bytes(), parts+more.parts()
		if bytes > q.rewriteBytes || parts > rewriteParts {
			break
		}
		plan.runs = append(plan.runs, more.runs...)
	}
	slices.SortStableFunc(plan.runs, func(a, b mergeRun) int { return cmp.Compare(a.stream, b.stream) })
	return plan
}

// rewrittenAlong is what comes along of a neighbour.
func (q *planner) rewrittenAlong(id metadata.StreamID, parts []metadata.Part) []metadata.Part {
	if run := q.rewritten(parts, true, q.crowded(id, parts), q.barred(id)); len(run) > 0 {
		return run
	}
	return q.relief(id, parts, q.rewriteBytes)
}

// planJoin joins what the stream's block holds of the objects of a run of the stream's parts.
func (q *planner) planJoin(id metadata.StreamID, parts []metadata.Part) (mergePlan, bool) {
	held := q.blockHeld(id)
	run := q.joined(parts, q.crowded(id, parts), held)
	if len(run) == 0 {
		return mergePlan{}, false
	}
	sources := make(map[metadata.ObjectID]bool, len(run))
	for i := range run {
		sources[run[i].Object] = !q.finished(held[run[i].Object].bytes)
	}
	first, end := neighbours(id, q.joinStreams)
	plan := mergePlan{join: true}
	q.view.each(first, end, func(of metadata.StreamID, parts []metadata.Part) {
		plan.addRuns(of, parts, func(p *metadata.Part) bool {
			return sources[p.Object] || of == id && p.Start >= run[0].Start && p.End <= run[len(run)-1].End
		})
	})
	q.leave(&plan, id, held)
	return plan, true
}

// leave takes out of a join what it would only move: single parts that a later join can copy as well, of objects of which they are
// most. Where streams share objects irregularly, most of a large object would be copied for each stream in turn. Of objects of which
// less would stay, all is moved, so that they are given back.
func (q *planner) leave(plan *mergePlan, seed metadata.StreamID, held holdings) {
	alone := func(r *mergeRun) bool {
		return r.stream != seed && len(r.parts) == 1 && r.parts[0].Bytes >= q.joinBytesMin
	}
	staying := map[metadata.ObjectID]int64{}
	for i := range plan.runs {
		if r := &plan.runs[i]; alone(r) {
			staying[r.parts[0].Object] += r.parts[0].Bytes
		}
	}
	plan.runs = slices.DeleteFunc(plan.runs, func(r mergeRun) bool {
		return alone(&r) && 2*staying[r.parts[0].Object] >= held[r.parts[0].Object].bytes
	})
}

// addRuns adds what a stream has of what is wanted. Where it has something else in between, that is several runs.
func (p *mergePlan) addRuns(id metadata.StreamID, parts []metadata.Part, wanted func(*metadata.Part) bool) {
	for i := 0; i < len(parts); {
		end := i
		for end < len(parts) && wanted(&parts[end]) && (end == i || parts[end].Start == parts[end-1].End) {
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
