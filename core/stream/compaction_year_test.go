package stream

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
)

var (
	yearDays      = flag.Int("year-days", 0, "simulate so many days of 100 MB/s over 10,000 partitions with 7 days of retention, and print what they cost; 0: a scaled model of some seconds")
	yearPartition = flag.Int("year-partitions", 64, "how many of the 10,000 partitions are simulated, a multiple of 64; the others are as they are")
)

var (
	manyPartitions = flag.Int("many-partitions", 500, "of TestPartsOfManyUploads")
	manyUploads    = flag.Int("many-uploads", 200, "of TestPartsOfManyUploads")
)

// year is a cluster that nothing but metadata is simulated of: the image by its records, and what the policy of compaction
// makes of it. Some of the partitions stand for all of them.
type year struct {
	mergePolicy
	plans  planner
	im     *metadata.Image
	index  uint64
	nextID metadata.ObjectID
	draw   *rand.Rand

	streams, all int // simulated, and stood for
	ids          []metadata.StreamID
	ends         []int64
	now          time.Duration
	retention    time.Duration

	uploaded, rewritten, joinSent, copied, read int64 // bytes
	puts, gets, copies                          int64 // requests, those that cost as much as a PUT or as a GET; copies are among the puts
	uploadPuts                                  int64 // which are not scaled
	partsMost                                   int

	seen map[metadata.StreamID]uint64
}

func newYear(p mergePolicy, streams, all int, retention time.Duration) *year {
	y := &year{mergePolicy: p, im: metadata.NewImage(), streams: streams, all: all, retention: retention, draw: rand.New(rand.NewPCG(1, 2)), nextID: 1, seen: map[metadata.StreamID]uint64{}}
	y.apply(&metadata.RegisterBroker{ID: 1})
	y.apply(&metadata.CreateTopic{ID: metadata.TopicID{1}, Name: "t", Leaders: slices.Repeat([]metadata.Leader{{Broker: 1, Epoch: 1}}, streams)})
	topic, _ := y.im.Topic("t")
	for _, p := range topic.Partitions {
		y.ids = append(y.ids, p.Stream)
	}
	y.ends = make([]int64, streams)
	y.plans = y.planner(y)
	return y
}

func (y *year) apply(r metadata.Record) {
	y.index++
	if err := y.im.Apply(y.index, r); err != nil {
		panic(err)
	}
}

func (y *year) object() metadata.ObjectID {
	if y.nextID >= y.im.NextObject() {
		y.apply(&metadata.LeaseObjects{Epoch: 1, Count: leaseIDs})
	}
	y.nextID++
	return y.nextID - 1
}

const (
	yearBatch     = 100      // bytes of an offset
	partBytes     = 16 << 20 // of a multipart upload
	yearCheckByte = "c"
)

// parts is how many requests of the kind of a PUT a body of so many bytes takes.
func putRequests(bytes int64) int64 {
	if bytes <= partBytes {
		return 1
	}
	return 2 + (bytes+partBytes-1)/partBytes
}

// upload uploads what so much time brought.
func (y *year) upload(every time.Duration, bytesPerSecond int64) {
	y.now += every
	const indexBytes = 80
	r := &metadata.CommitObject{Object: y.object(), Epoch: 1}
	each := bytesPerSecond * int64(every) / int64(time.Second) / int64(y.all)
	for i, id := range y.ids {
		n := max(1, each*(50+y.draw.Int64N(101))/100/yearBatch)
		p := metadata.CommitPart{Stream: id, Checkpoint: []byte(yearCheckByte), Part: metadata.Part{
			Start: y.ends[i], End: y.ends[i] + n, MaxTimestamp: y.now.Milliseconds(), Bytes: n * yearBatch, IndexOffset: int64(1<<20 + i*indexBytes), IndexBytes: indexBytes,
		}}
		y.ends[i] += n
		y.uploaded += n * yearBatch
		r.Bytes += n * yearBatch * int64(y.all/y.streams)
		r.Parts = append(r.Parts, p)
	}
	y.uploadPuts += putRequests(r.Bytes)
	y.apply(r)
	y.plans.forget()
	for _, id := range y.ids {
		y.compact(id)
	}
}

// each implements mergeView.
func (y *year) each(first, end metadata.StreamID, visit func(metadata.StreamID, []metadata.Part)) {
	for _, id := range y.ids {
		if s, _ := y.im.Stream(id); id >= first && id < end {
			visit(id, s.Parts)
		}
	}
}

// sparse implements mergeView.
func (y *year) sparse(metadata.ObjectID) bool { return false }

// compact does what the policy says, at once.
func (y *year) compact(id metadata.StreamID) {
	for {
		s, _ := y.im.Stream(id)
		y.partsMost = max(y.partsMost, len(s.Parts))
		_, large := y.largeParts(s.Parts)
		plan, ok := y.plans.plan(id, s.Parts, y.seen[id] != large)
		if !ok {
			y.seen[id] = large
			return
		}
		y.replace(&plan)
	}
}

func (y *year) replace(plan *mergePlan) {
	object := metadata.NewObject{ID: y.object(), Bytes: plan.bytes()}
	r := &metadata.ReplaceParts{Epoch: 1, Objects: []metadata.NewObject{object}}
	index := plan.bytes() // where the next one lies
	held := map[metadata.ObjectID]int64{}
	for i := range plan.runs {
		run := &plan.runs[i]
		first, last := run.parts[0], run.parts[len(run.parts)-1]
		part := metadata.Part{Object: object.ID, Start: first.Start, End: last.End, MaxTimestamp: mergedTimestamp(run.parts), IndexOffset: index}
		p := metadata.Replacement{Stream: run.stream}
		for _, q := range run.parts {
			p.Sources = append(p.Sources, metadata.Source{Object: q.Object, Start: q.Start, End: q.End})
			part.Bytes += q.Bytes
			held[q.Object] += q.Bytes
			y.read += int64(q.IndexBytes)
		}
		part.IndexBytes = int32(40 + 40*max(1, part.Bytes/(512<<10)))
		index += int64(part.IndexBytes)
		p.Parts = []metadata.Part{part}
		r.Streams = append(r.Streams, p)
	}
	y.count(plan, held, r)
	y.apply(r)
	y.plans.forget()
	for i, ok := range y.im.Outcome().Accepted {
		if !ok {
			panic(fmt.Sprintf("stream %d was refused", r.Streams[i].Stream))
		}
	}
}

// count adds up what a compaction costs.
func (y *year) count(plan *mergePlan, held map[metadata.ObjectID]int64, r *metadata.ReplaceParts) {
	indexes := int64(0)
	for i := range r.Streams {
		indexes += int64(r.Streams[i].Parts[0].IndexBytes)
	}
	y.gets += int64(len(held)) // of indexes, which lie side by side
	if plan.join {
		const filled = 5 << 20 // of the first run, which makes the header a whole part
		if y.joinSent += indexes + filled; len(plan.runs) == 1 {
			y.joinSent += plan.bytes() // of a shared object, in pieces that are too small to be copied
		}
		y.copied += plan.bytes()
		y.gets++
		y.puts += int64(len(held)) + 4
		y.copies += int64(len(held))
		return
	}
	for _, bytes := range held {
		y.gets += (bytes + spanBytesMax - 1) / spanBytesMax
	}
	y.read += plan.bytes()
	y.rewritten += plan.bytes() + indexes
	y.puts += putRequests(plan.bytes())
}

// retain trims what is too old, and deletes the objects of which nothing is left.
func (y *year) retain() {
	for _, id := range y.ids {
		s, _ := y.im.Stream(id)
		point := s.LogStart
		for _, p := range s.Parts {
			if !p.OlderThan((y.now - y.retention).Milliseconds()) {
				break
			}
			point = p.End
		}
		if point > s.LogStart {
			y.apply(&metadata.TrimStream{Stream: id, LogStart: point})
		}
	}
	d := &metadata.DeleteObjects{}
	y.im.Destroyed(func(o *metadata.Object) bool { d.Objects = append(d.Objects, o.ID); return true })
	if len(d.Objects) > 0 {
		y.apply(d)
	}
}

// row is what a day ended with.
type yearRow struct {
	imageBytes, parts, objects, stored int64
	amplification                      float64
}

func (y *year) row() (r yearRow) {
	scale := int64(y.all / y.streams)
	y.im.Objects(func(o *metadata.Object) { r.stored += o.Bytes; r.objects++ })
	for _, id := range y.ids {
		s, _ := y.im.Stream(id)
		r.parts += int64(len(s.Parts))
	}
	r.imageBytes = int64(len(y.im.AppendSnapshot(nil))) * scale
	r.parts, r.objects, r.stored = r.parts*scale, r.objects*scale, r.stored*scale
	r.amplification = float64(y.uploaded+y.rewritten+y.joinSent) / float64(y.uploaded)
	return r
}

// packedSnapshot is the size of a snapshot as a cluster of the newest release takes it.
func (y *year) packedSnapshot() int {
	y.apply(&metadata.SetFeatures{Features: []metadata.Feature{{Name: metadata.LevelFeature, Level: metadata.PackedLevel}}})
	return len(y.im.AppendSnapshot(nil))
}

// print is a line of the table, for what was added since the last.
func (y *year) line(day int, r yearRow) string {
	scale, gib := int64(y.all/y.streams), float64(y.uploaded)*float64(y.all/y.streams)/(1<<30)
	puts, gets := y.uploadPuts+y.puts*scale, y.gets*scale
	dollars := (float64(puts)*0.005 + float64(gets)*0.0004) / 1000
	return fmt.Sprintf("%4d %12d %9d %5.1f %5d %9d %8.1f %6.3f %6.3f %9.0f %9.0f %10.6f", day, r.imageBytes, r.parts,
		float64(r.parts)/float64(y.all), y.partsMost, r.objects, float64(r.stored)/1e12, r.amplification, float64(y.copied)/float64(y.uploaded),
		float64(puts)/gib, float64(gets)/gib, dollars/gib)
}

const yearHead = " day  image bytes     parts  mean  most   objects stored/TB  ampl. copied  puts/GiB  gets/GiB   $/GiB"

// run simulates days, and returns the row of each.
func (y *year) run(days int, day, every time.Duration, bytesPerSecond int64) (rows []yearRow, table string) {
	var out strings.Builder
	fmt.Fprintln(&out, yearHead)
	for d := range days {
		y.partsMost = 0
		for i := 0; y.now < time.Duration(d+1)*day; i++ {
			y.upload(every, bytesPerSecond)
			if i%16 == 0 {
				y.retain()
			}
		}
		y.retain()
		r := y.row()
		rows = append(rows, r)
		fmt.Fprintln(&out, y.line(d+1, r))
	}
	return rows, out.String()
}

func defaultPolicy() mergePolicy {
	var o CompactionOptions
	o.resolve()
	return o.policy()
}

// However long is written: the metadata, the objects, the requests and what is written beyond the records themselves stay
// as they were after the first time of retention.
func TestAYearOfWriting(t *testing.T) {
	days, streams, all, day, retention := *yearDays, *yearPartition, 10_000/64*64, 24*time.Hour, 7*24*time.Hour
	if days == 0 { // the same, with a day that has half an hour
		days, streams, day, retention = 15, 64, 30*time.Minute, 210*time.Minute
	}
	y := newYear(defaultPolicy(), streams, all, retention)
	rows, table := y.run(days, day, 5*time.Second, 100_000_000)
	t.Logf("%d of %d partitions, 100 MB/s, a day of %v, retention %v\n%s", streams, all, day, retention, table)
	if days < 14 {
		return
	}
	last := rows[len(rows)-1]
	require.LessOrEqual(t, last.amplification, 2.2)
	require.LessOrEqual(t, last.parts, int64(all)*partsWanted+last.stored/(y.objectBytesMax/2/int64(y.joinStreams)), "those that are settled, and few others")
	for _, r := range rows[8:] {
		require.InEpsilon(t, rows[8].imageBytes, r.imageBytes, 0.35)
		require.InEpsilon(t, rows[8].objects, r.objects, 0.5)
	}
}

// 200 uploads of 500 partitions: what is in the image without compaction, and with it. Its snapshot, packed, is at most three times that of the
// topics alone, beside the states of producers, which core/partition looks at.
func TestPartsOfManyUploads(t *testing.T) {
	streams, uploads := *manyPartitions, *manyUploads
	none := defaultPolicy()
	none.rewriteFanIn, none.joinFanIn = 1<<20, 1<<20
	none.rewriteBytes, none.objectBytesMax = 0, 0
	var bytes, parts [2]int64
	alone := newYear(none, streams, streams, time.Hour).packedSnapshot()
	for i, p := range []mergePolicy{none, defaultPolicy()} {
		y := newYear(p, streams, streams, time.Hour)
		for range uploads {
			y.upload(time.Second, 2_000_000)
		}
		y.retain()
		r := y.row()
		bytes[i], parts[i] = r.imageBytes, r.parts
		packed := y.packedSnapshot()
		t.Logf("compaction %v: %d parts, %.1f a stream, at most %d; an image of %d bytes, packed %d, %.2f times that of the topics alone",
			i == 1, r.parts, float64(r.parts)/float64(streams), y.partsMost, r.imageBytes, packed, float64(packed)/float64(alone))
		if i == 1 {
			require.LessOrEqual(t, y.partsMost, partsWanted)
			require.LessOrEqual(t, packed, 3*alone)
		}
	}
	require.EqualValues(t, streams*uploads, parts[0])
	require.Less(t, 15*parts[1], parts[0])
	require.Less(t, 10*bytes[1], bytes[0])
}
