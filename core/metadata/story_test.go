package metadata_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"weir/core/metadata"
)

// Stories are scripts of records, one a line, and what becomes of the image:
//
//	register BROKER INCARNATION        found NAME
//	create TOPIC PARTITIONS            grow TOPIC FROM COUNT       drop TOPIC
//	lease EPOCH COUNT                  expire EPOCH FIRST END      deleted ID...
//	commit OBJECT EPOCH PART...        PART is STREAM/LEADEREPOCH[START,END), followed by ! if it has no checkpoint, by @ if that lies in the object
//	takeover EPOCH STREAM/LEADEREPOCH=END...
//	trim STREAM LOGSTART
//	fence BROKER EPOCH                 assign ENDED BY             level LEVEL
//	seal BY STREAM/LEADEREPOCH=END>BROKER...   followed by ! if it has no checkpoint, by @OBJECT if that lies there
//	move EPOCH STREAM=END@OBJECT...    where checkpoints lie from now on
//	clean STREAM EPOCH CLEANED
//	abandon BROKER EPOCH LEADER...     by the controller of term 1; gives 100 offsets up
//	forgo BROKER EPOCH ENDED...        by the broker itself
//	replace OBJECT EPOCH STREAM:SOURCES>PARTS...   SOURCES are OBJECT[START,END) and PARTS [START,END), joined by +
//
// Each answers with the record's index and the verdict. Partitions are led by
// broker 1 at its current epoch. Broker 2 and above have logs that others can read.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		w := &world{t: t, im: metadata.NewImage()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "apply":
				return w.applyLines(d.Input)
			case "show":
				return w.show()
			case "restore":
				w.reload()
				return "ok"
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

// world is an image under a script.
type world struct {
	t     *testing.T
	im    *metadata.Image
	index uint64
}

func (w *world) applyLines(input string) string {
	var out strings.Builder
	for line := range strings.Lines(input) {
		r := w.parse(strings.Fields(line))
		w.index++
		// What is applied is what went through the log.
		decoded, err := metadata.DecodeRecord(r.AppendTo(nil))
		if err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		before := w.im.AppendSnapshot(nil)
		w.im.BeginTerm(1)
		fmt.Fprintf(&out, "%d: ", w.index)
		if err := w.im.Apply(w.index, decoded); err != nil {
			fmt.Fprintf(&out, "refused: %v\n", err)
			if string(before) != string(w.im.AppendSnapshot(nil)) {
				w.t.Errorf("%s: a refused record changed the image", line)
			}
			continue
		}
		fmt.Fprintln(&out, granted(r, w.im.Outcome()))
	}
	return out.String()
}

func granted(r metadata.Record, o metadata.Outcome) string {
	switch r := r.(type) {
	case *metadata.LeaseObjects, *metadata.AllocateProducerIDs:
		return fmt.Sprintf("granted from %d", o.First)
	case *metadata.AbandonWAL:
		return fmt.Sprintf("%d partitions lost their tails", o.First)
	case *metadata.CommitObject:
		var words []string
		for i, p := range r.Parts {
			word := "refused"
			if o.Accepted[i] {
				word = "accepted"
			}
			words = append(words, fmt.Sprintf("%d/%d %s", p.Stream, p.LeaderEpoch, word))
		}
		return strings.Join(words, ", ")
	case *metadata.SealRanges:
		var words []string
		for i := range r.Seals {
			word := "refused"
			if o.Accepted[i] {
				word = "sealed"
			}
			words = append(words, fmt.Sprintf("%d/%d %s", r.Seals[i].Stream, r.Seals[i].LeaderEpoch, word))
		}
		return strings.Join(words, ", ")
	case *metadata.MoveCheckpoints:
		var words []string
		for i, m := range r.Checkpoints {
			word := "refused"
			if o.Accepted[i] {
				word = "moved"
			}
			words = append(words, fmt.Sprintf("%d %s", m.Stream, word))
		}
		return strings.Join(words, ", ")
	case *metadata.ReplaceParts:
		var words []string
		for i, p := range r.Streams {
			word := "refused"
			if o.Accepted[i] {
				word = "replaced"
			}
			words = append(words, fmt.Sprintf("%d %s", p.Stream, word))
		}
		return strings.Join(words, ", ")
	}
	return "ok"
}

func (w *world) parse(f []string) metadata.Record {
	switch f[0] {
	case "found":
		return &metadata.FoundCluster{ClusterID: f[1], Features: []metadata.Feature{{Name: "f", Level: 1}}}
	case "register":
		id := metadata.BrokerID(w.number(f[1]))
		return &metadata.RegisterBroker{ID: id, Incarnation: [16]byte{f[2][0]}, SharedWAL: id > 1}
	case "fence":
		return &metadata.FenceBroker{ID: metadata.BrokerID(w.number(f[1])), Epoch: metadata.BrokerEpoch(w.number(f[2]))}
	case "assign":
		return &metadata.AssignRecovery{Ended: metadata.BrokerEpoch(w.number(f[1])), By: metadata.BrokerEpoch(w.number(f[2]))}
	case "level":
		return &metadata.SetFeatures{Features: []metadata.Feature{{Name: metadata.LevelFeature, Level: int16(w.number(f[1]))}}}
	case "seal":
		r := &metadata.SealRanges{By: metadata.BrokerEpoch(w.number(f[1]))}
		for _, text := range f[2:] {
			r.Seals = append(r.Seals, w.seal(text))
			r.Objects = withObject(r.Objects, r.Seals[len(r.Seals)-1].Stored)
		}
		return r
	case "move":
		r := &metadata.MoveCheckpoints{Epoch: metadata.BrokerEpoch(w.number(f[1]))}
		for _, text := range f[2:] {
			m := metadata.MovedCheckpoint{Stored: stored()}
			w.scan(text, "%d=%d@%d", &m.Stream, &m.End, &m.Stored.Object)
			r.Checkpoints, r.Objects = append(r.Checkpoints, m), withObject(r.Objects, m.Stored)
		}
		return r
	case "abandon", "forgo":
		return w.abandon(f)
	case "unregister":
		return &metadata.UnregisterBroker{ID: metadata.BrokerID(w.number(f[1]))}
	case "create":
		return &metadata.CreateTopic{ID: topicID(f[1]), Name: f[1], Leaders: w.leaders(w.number(f[2]))}
	case "grow":
		return &metadata.AddPartitions{ID: topicID(f[1]), From: int32(w.number(f[2])), Leaders: w.leaders(w.number(f[3]))}
	case "drop":
		return &metadata.DeleteTopic{ID: topicID(f[1])}
	case "takeover":
		return w.takeOver(f)
	case "lease":
		return &metadata.LeaseObjects{Epoch: metadata.BrokerEpoch(w.number(f[1])), Count: int32(w.number(f[2]))}
	case "expire":
		return &metadata.ExpireObjects{Epoch: metadata.BrokerEpoch(w.number(f[1])), First: metadata.ObjectID(w.number(f[2])), End: metadata.ObjectID(w.number(f[3]))}
	case "deleted":
		r := &metadata.DeleteObjects{}
		for _, id := range f[1:] {
			r.Objects = append(r.Objects, metadata.ObjectID(w.number(id)))
		}
		return r
	case "trim":
		return &metadata.TrimStream{Stream: metadata.StreamID(w.number(f[1])), LogStart: w.number(f[2])}
	case "clean":
		return &metadata.CleanStream{Stream: metadata.StreamID(w.number(f[1])), Epoch: metadata.BrokerEpoch(w.number(f[2])), Cleaned: w.number(f[3])}
	case "commit":
		r := &metadata.CommitObject{Object: metadata.ObjectID(w.number(f[1])), Epoch: metadata.BrokerEpoch(w.number(f[2])), Bytes: 100}
		for _, part := range f[3:] {
			r.Parts = append(r.Parts, w.part(part))
		}
		return r
	case "replace":
		object := metadata.ObjectID(w.number(f[1]))
		r := &metadata.ReplaceParts{Epoch: metadata.BrokerEpoch(w.number(f[2])), Objects: []metadata.NewObject{{ID: object, Bytes: 100}}}
		for _, text := range f[3:] {
			r.Streams = append(r.Streams, w.replacement(object, text))
		}
		return r
	}
	w.t.Fatalf("unknown record %v", f)
	return nil
}

func (w *world) takeOver(f []string) metadata.Record {
	r := &metadata.TakeOver{Broker: 1, Epoch: metadata.BrokerEpoch(w.number(f[1]))}
	for _, text := range f[2:] {
		var e metadata.RangeEnd
		w.scan(text, "%d/%d=%d", &e.Stream, &e.LeaderEpoch, &e.End)
		r.Ends = append(r.Ends, e)
	}
	return r
}

// abandon is an AbandonWAL of a controller, whose last words are leaders; or of the broker itself, whose last words are ended epochs.
func (w *world) abandon(f []string) metadata.Record {
	r := &metadata.AbandonWAL{Broker: metadata.BrokerID(w.number(f[1])), Epoch: metadata.BrokerEpoch(w.number(f[2])), Offsets: 100, At: 1000}
	if f[0] == "forgo" {
		r.Leaders = []metadata.Leader{{Broker: r.Broker, Epoch: r.Epoch}}
		for _, ended := range f[3:] {
			r.Ended = append(r.Ended, metadata.BrokerEpoch(w.number(ended)))
		}
		return r
	}
	r.Term = 1
	for _, text := range f[3:] {
		l := metadata.Leader{Broker: metadata.BrokerID(w.number(text))}
		if b, ok := w.im.Broker(l.Broker); ok {
			l.Epoch = b.Epoch
		}
		r.Leaders = append(r.Leaders, l)
	}
	return r
}

func (w *world) seal(text string) (s metadata.Seal) {
	bare, without := strings.CutSuffix(text, "!")
	bare, object, named := strings.Cut(bare, "@")
	if named {
		without, s.Stored = true, stored()
		s.Stored.Object = metadata.ObjectID(w.number(object))
	}
	w.scan(bare, "%d/%d=%d>%d", &s.Stream, &s.LeaderEpoch, &s.End, &s.Next.Broker)
	if b, ok := w.im.Broker(s.Next.Broker); ok {
		s.Next.Epoch = b.Epoch
	}
	if !without {
		s.Checkpoint = fmt.Appendf(nil, "as of %d", s.End)
	}
	return s
}

// stored is where in its object a checkpoint of the stories lies.
func stored() metadata.StoredCheckpoint { return metadata.StoredCheckpoint{Position: 96, Bytes: 10} }

func withObject(objects []metadata.NewObject, s metadata.StoredCheckpoint) []metadata.NewObject {
	n := metadata.NewObject{ID: s.Object, Bytes: 50}
	if !s.Named() || slices.Contains(objects, n) {
		return objects
	}
	return append(objects, n)
}

func (w *world) part(text string) (p metadata.CommitPart) {
	bare, without := strings.CutSuffix(text, "!")
	bare, named := strings.CutSuffix(bare, "@")
	if named {
		without, p.Stored = true, stored()
	}
	w.scan(bare, "%d/%d[%d,%d)", &p.Stream, &p.LeaderEpoch, &p.Part.Start, &p.Part.End)
	p.Part.Bytes = p.Part.End - p.Part.Start
	if !without {
		p.Checkpoint = fmt.Appendf(nil, "as of %d", p.Part.End)
	}
	return p
}

func (w *world) replacement(object metadata.ObjectID, text string) (p metadata.Replacement) {
	stream, change, _ := strings.Cut(text, ":")
	sources, parts, _ := strings.Cut(change, ">")
	p.Stream = metadata.StreamID(w.number(stream))
	for _, text := range strings.Split(sources, "+") {
		var s metadata.Source
		w.scan(text, "%d[%d,%d)", &s.Object, &s.Start, &s.End)
		p.Sources = append(p.Sources, s)
	}
	for _, text := range strings.Split(parts, "+") {
		q := metadata.Part{Object: object}
		w.scan(text, "[%d,%d)", &q.Start, &q.End)
		p.Parts = append(p.Parts, q)
	}
	return p
}

func (w *world) scan(text, format string, into ...any) {
	if _, err := fmt.Sscanf(text, format, into...); err != nil {
		w.t.Fatalf("%q: %v", text, err)
	}
}

func (w *world) number(text string) (n int64) {
	w.scan(text, "%d", &n)
	return n
}

func (w *world) leaders(n int64) []metadata.Leader {
	l := metadata.Leader{Broker: 1}
	if b, ok := w.im.Broker(1); ok {
		l.Epoch = b.Epoch
	}
	all := make([]metadata.Leader, n)
	for i := range all {
		all[i] = l
	}
	return all
}

func topicID(name string) (id metadata.TopicID) {
	copy(id[:], name)
	return id
}

// reload replaces the image by what its snapshot holds.
func (w *world) reload() {
	loaded, err := metadata.LoadSnapshot(w.index, w.im.AppendSnapshot(nil))
	if err != nil {
		w.t.Fatal(err)
	}
	w.im = loaded
}

func (w *world) show() string {
	var out strings.Builder
	for _, b := range w.im.Brokers() {
		fenced := ""
		if b.Fenced {
			fenced = " fenced"
		}
		fmt.Fprintf(&out, "broker %d epoch %d%s\n", b.ID, b.Epoch, fenced)
	}
	for _, r := range w.im.Recoveries() {
		if r.Broker > 1 {
			fmt.Fprintf(&out, "the log of epoch %d of broker %d is recovered by epoch %d\n", r.Ended, r.Broker, r.By)
		}
	}
	for _, x := range w.im.WaitingWALs() {
		fmt.Fprintf(&out, "%d partitions wait for the logs of broker %d, %d without a leader; %d records at least\n", x.Partitions, x.Broker, x.Leaderless, x.Records)
	}
	for _, t := range w.im.Topics() {
		for _, p := range t.Partitions {
			s, _ := w.im.Stream(p.Stream)
			fmt.Fprintf(&out, "%s-%d stream %d leader epoch %d: log start %d, committed to %d, checkpoint %q\n",
				t.Name, p.Index, s.ID, p.LeaderEpoch, s.LogStart, s.CommittedEnd(), s.Checkpoint)
			if s.Stored.Named() {
				fmt.Fprintf(&out, "  which lies in object %d, as of %d\n", s.Stored.Object, s.Stored.End)
			}
			if says := fmt.Sprintf("as of %d", s.CheckpointEnd); s.CheckpointEnd > 0 && s.Stored.End != s.CheckpointEnd && says != string(s.Checkpoint) {
				fmt.Fprintf(&out, "  which counts %s\n", says)
			}
			if s.Cleaned > 0 {
				fmt.Fprintf(&out, "  compacted by key to %d\n", s.Cleaned)
			}
			for _, r := range s.Ranges {
				fmt.Fprintf(&out, "  range %d of epoch %d: from %d, committed to %d, end %d\n", r.LeaderEpoch, r.BrokerEpoch, r.Start, r.Committed, r.End)
			}
			for _, part := range s.Parts {
				if part.Lost() {
					fmt.Fprintf(&out, "  part [%d,%d) is lost\n", part.Start, part.End)
					continue
				}
				fmt.Fprintf(&out, "  part [%d,%d) in object %d\n", part.Start, part.End, part.Object)
			}
		}
	}
	for id := metadata.ObjectID(1); id < w.im.NextObject(); id++ {
		if o, ok := w.im.Object(id); ok {
			fmt.Fprintf(&out, "object %d: %d parts, destroyed at %d\n", id, o.Parts, o.DestroyedAt)
		}
	}
	for _, l := range w.im.Leases() {
		fmt.Fprintf(&out, "prepared [%d,%d) for epoch %d\n", l.First, l.End, l.Epoch)
	}
	for epoch := metadata.BrokerEpoch(1); uint64(epoch) <= w.index; epoch++ {
		if w.im.EpochOwes(epoch) {
			fmt.Fprintf(&out, "epoch %d owes, open %v\n", epoch, w.im.OpenRanges(epoch))
		}
	}
	return out.String()
}
