package metadata_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/metadata"
)

// drawRecord draws a record that often fits the image, and often just not.
func drawRecord(t *rapid.T, im *metadata.Image) metadata.Record {
	small := func(label string, most int64) int64 { return rapid.Int64Range(0, most).Draw(t, label) }
	epoch := metadata.BrokerEpoch(small("epoch", int64(im.AppliedIndex())))
	own := metadata.BrokerID(1 + small("own", 2))
	if b, ok := im.Broker(own); ok && rapid.IntRange(0, 9).Draw(t, "own epoch") > 0 {
		epoch = b.Epoch
	}
	name := rapid.SampledFrom([]string{"a", "b.c", "b_c", "d"}).Draw(t, "topic")
	object := metadata.ObjectID(small("object", int64(im.NextObject())))
	stream := metadata.StreamID(small("stream", 12))
	leaders := slices.Repeat([]metadata.Leader{{Broker: own, Epoch: epoch}}, int(small("partitions", 3)))
	switch rapid.IntRange(0, 34).Draw(t, "kind") {
	case 0:
		return &metadata.RegisterBroker{
			ID: metadata.BrokerID(small("broker", 3)), Incarnation: [16]byte{byte(small("incarnation", 30))}, Rack: "z",
			Term: uint64(small("term", 2)), Peer: "p:1", SharedWAL: small("shared", 2) > 0, ObjectWAL: small("object", 1) > 0,
		}
	case 1, 2:
		return &metadata.CreateTopic{ID: topicID(name), Name: name, Leaders: leaders, Configs: []metadata.Config{{Key: "k", Value: "v"}}}
	case 3:
		return &metadata.DeleteTopic{ID: topicID(name)}
	case 4:
		return &metadata.AddPartitions{ID: topicID(name), From: int32(small("from", 3)), Leaders: leaders}
	case 5:
		r := &metadata.SetTopicConfigs{ID: topicID(name), Configs: []metadata.Config{{Key: "l", Value: "w"}}}
		if topic, ok := im.Topic(name); ok {
			r.Base = topic.ConfigsIndex
		}
		return r
	case 6:
		_, base := im.BrokerConfigsAt(metadata.AllBrokers)
		return &metadata.SetBrokerConfigs{ID: metadata.AllBrokers, Base: base + uint64(small("base", 1)), Configs: []metadata.Config{{Key: "k", Value: "v"}}}
	case 7:
		return &metadata.AllocateProducerIDs{Broker: own, Epoch: epoch, Count: small("count", 5)}
	case 8, 9:
		return &metadata.LeaseObjects{Epoch: epoch, Count: int32(small("count", 4))}
	case 10:
		return &metadata.TrimStream{Stream: stream, LogStart: small("log start", 40)}
	case 11:
		return drawTakeOver(t, im, own, epoch)
	case 12:
		return &metadata.ExpireObjects{Epoch: epoch, First: object, End: object + metadata.ObjectID(small("count", 2))}
	case 13:
		r := &metadata.DeleteObjects{Objects: []metadata.ObjectID{object}}
		im.Destroyed(func(o *metadata.Object) bool { r.Objects = append(r.Objects, o.ID); return false })
		return r
	case 14:
		r := &metadata.SetGroupConfigs{Group: name, Configs: []metadata.Config{{Key: "k", Value: "v"}}}
		_, r.Base = im.GroupConfigs(name)
		r.Base += uint64(small("base", 1))
		if small("none", 1) == 0 {
			r.Configs = nil
		}
		return r
	case 15:
		return &metadata.FenceBroker{ID: own, Epoch: epoch, Term: uint64(small("term", 2))}
	case 16:
		return drawAssignment(t, im, epoch)
	case 19:
		return &metadata.UnregisterBroker{ID: metadata.BrokerID(small("broker", 3))}
	case 28:
		return &metadata.SetFeatures{Features: []metadata.Feature{{Name: metadata.LevelFeature, Level: int16(2 + small("level", 2))}}}
	case 17, 18:
		return drawSeals(t, im, object, own, epoch)
	case 26, 27:
		return drawMoves(t, im, object, epoch)
	case 20, 21, 22:
		return drawReplacement(t, im, object, epoch)
	case 23:
		return &metadata.CleanStream{Epoch: epoch, Stream: stream, Cleaned: small("cleaned", 60)}
	case 24, 25:
		return drawAbandon(t, im, own, epoch)
	}
	return drawCommit(t, im, object, epoch)
}

func drawAssignment(t *rapid.T, im *metadata.Image, by metadata.BrokerEpoch) metadata.Record {
	r := &metadata.AssignRecovery{By: by, Term: uint64(rapid.IntRange(0, 2).Draw(t, "term"))}
	if all := im.Recoveries(); len(all) > 0 {
		r.Ended = rapid.SampledFrom(all).Draw(t, "recovery").Ended
	}
	return r
}

// drawAbandon gives up what a broker owes, for whoever is alive to lead, and sometimes for who is not.
func drawAbandon(t *rapid.T, im *metadata.Image, own metadata.BrokerID, epoch metadata.BrokerEpoch) metadata.Record {
	small := func(label string, most int64) int64 { return rapid.Int64Range(0, most).Draw(t, label) }
	r := &metadata.AbandonWAL{Broker: own, Epoch: epoch, Offsets: small("offsets", 9), At: small("at", 9), Term: uint64(small("term", 2))}
	for _, b := range im.Brokers() {
		if !b.Fenced || small("fenced leader", 9) == 0 {
			r.Leaders = append(r.Leaders, metadata.Leader{Broker: b.ID, Epoch: b.Epoch})
		}
	}
	if r.Term == 0 {
		r.Leaders = []metadata.Leader{{Broker: own, Epoch: epoch}}
		for _, o := range im.Recoveries() {
			if small("ended", 2) > 0 {
				r.Ended = append(r.Ended, o.Ended)
			}
		}
	}
	return r
}

func drawTakeOver(t *rapid.T, im *metadata.Image, own metadata.BrokerID, epoch metadata.BrokerEpoch) metadata.Record {
	r := &metadata.TakeOver{Broker: own, Epoch: epoch, Ends: im.OpenRangesToRecover(epoch)}
	for i := range r.Ends {
		s, _ := im.Stream(r.Ends[i].Stream)
		r.Ends[i].End = max(s.Newest().Committed, s.LogStart) + rapid.Int64Range(-1, 9).Draw(t, "tail")
	}
	return r
}

// drawStored names a block of the record's object, and sometimes nothing that could be one.
func drawStored(t *rapid.T) metadata.StoredCheckpoint {
	return metadata.StoredCheckpoint{
		Position: rapid.Int64Range(-1, 9).Draw(t, "position"), Bytes: int32(rapid.IntRange(-1, 9).Draw(t, "bytes")), Sum: uint32(rapid.IntRange(0, 9).Draw(t, "sum")),
	}
}

func drawMoves(t *rapid.T, im *metadata.Image, object metadata.ObjectID, epoch metadata.BrokerEpoch) metadata.Record {
	r := &metadata.MoveCheckpoints{Epoch: epoch, Objects: []metadata.NewObject{{ID: object, Bytes: 5}}}
	for id := metadata.StreamID(1); id <= 12; id++ {
		s, ok := im.Stream(id)
		if !ok || rapid.Bool().Draw(t, "stays") {
			continue
		}
		m := metadata.MovedCheckpoint{Stream: id, End: s.CheckpointEnd + int64(max(0, rapid.IntRange(-5, 1).Draw(t, "end")))}
		if rapid.IntRange(0, 3).Draw(t, "stored") == 0 {
			m.Checkpoint = fmt.Append(nil, m.End)
		} else {
			m.Stored = drawStored(t)
			m.Stored.Object = object
		}
		r.Checkpoints = append(r.Checkpoints, m)
	}
	return r
}

func drawSeals(t *rapid.T, im *metadata.Image, object metadata.ObjectID, own metadata.BrokerID, epoch metadata.BrokerEpoch) metadata.Record {
	r := &metadata.SealRanges{By: epoch}
	for _, e := range append(im.OpenRangesToRecover(epoch), im.OpenRanges(epoch)...) {
		s, _ := im.Stream(e.Stream)
		e.End = max(s.Newest().Committed, s.LogStart) + rapid.Int64Range(-1, 9).Draw(t, "tail")
		seal := metadata.Seal{RangeEnd: e, Next: metadata.Leader{Broker: own, Epoch: epoch}}
		if b, ok := im.Broker(metadata.BrokerID(rapid.IntRange(0, 3).Draw(t, "next"))); ok {
			seal.Next = metadata.Leader{Broker: b.ID, Epoch: b.Epoch}
		}
		if rapid.IntRange(0, 3).Draw(t, "checkpoint") > 0 {
			seal.Checkpoint = fmt.Append(nil, e.End)
		}
		if rapid.IntRange(0, 2).Draw(t, "stored") == 0 {
			seal.Checkpoint, seal.Stored = nil, drawStored(t)
			seal.Stored.Object = object
			r.Objects = []metadata.NewObject{{ID: object, Bytes: 5}}
		}
		r.Seals = append(r.Seals, seal)
	}
	return r
}

func drawCommit(t *rapid.T, im *metadata.Image, object metadata.ObjectID, epoch metadata.BrokerEpoch) metadata.Record {
	r := &metadata.CommitObject{Object: object, Epoch: epoch, Bytes: 9, WALSlot: rapid.Uint64Range(0, 9).Draw(t, "slot")}
	for id := metadata.StreamID(1); id <= 12; id++ {
		s, ok := im.Stream(id)
		if !rapid.Bool().Draw(t, "in commit") {
			continue
		}
		p := metadata.CommitPart{Stream: id, Part: metadata.Part{Start: rapid.Int64Range(0, 20).Draw(t, "start")}}
		if ok {
			from := s.Ranges[rapid.IntRange(0, len(s.Ranges)-1).Draw(t, "range")]
			p.LeaderEpoch = from.LeaderEpoch
			if rapid.IntRange(0, 4).Draw(t, "fits") > 0 {
				p.Part.Start = from.Committed
			}
		}
		p.Part.End = p.Part.Start + rapid.Int64Range(0, 9).Draw(t, "offsets")
		if rapid.IntRange(0, 3).Draw(t, "checkpoint") > 0 {
			p.Checkpoint = fmt.Append(nil, p.Part.End)
		}
		if rapid.IntRange(0, 2).Draw(t, "stored") == 0 {
			p.Checkpoint, p.Stored = nil, drawStored(t)
		}
		r.Parts = append(r.Parts, p)
	}
	return r
}

// drawReplacement replaces a run of parts of some streams by one or two parts, in one or two objects; in some draws a
// source or a part does not fit.
func drawReplacement(t *rapid.T, im *metadata.Image, object metadata.ObjectID, epoch metadata.BrokerEpoch) metadata.Record {
	r := &metadata.ReplaceParts{Epoch: epoch, Objects: []metadata.NewObject{{ID: object, Bytes: 7}}}
	if rapid.IntRange(0, 2).Draw(t, "two objects") == 0 {
		r.Objects = append(r.Objects, metadata.NewObject{ID: object + 1, Bytes: 8})
	}
	for id := metadata.StreamID(1); id <= 12; id++ {
		s, ok := im.Stream(id)
		if !ok || len(s.Parts) == 0 || rapid.IntRange(0, 3).Draw(t, "in replacement") == 0 {
			continue
		}
		first := rapid.IntRange(0, len(s.Parts)-1).Draw(t, "first source")
		last := rapid.IntRange(first, len(s.Parts)-1).Draw(t, "last source")
		p := metadata.Replacement{Stream: id}
		for _, q := range s.Parts[first : last+1] {
			p.Sources = append(p.Sources, metadata.Source{Object: q.Object, Start: q.Start, End: q.End})
		}
		start, end := s.Parts[first].Start, s.Parts[last].End+int64(max(0, rapid.IntRange(-20, 1).Draw(t, "too long")))
		middle := rapid.Int64Range(start+1, end).Draw(t, "middle")
		p.Parts = append(p.Parts, metadata.Part{Object: object, Start: start, End: middle, Bytes: middle - start})
		if middle < end {
			of := r.Objects[len(r.Objects)-1].ID
			p.Parts = append(p.Parts, metadata.Part{Object: of, Start: middle, End: end, Bytes: 0})
		}
		if stray := rapid.IntRange(0, 19).Draw(t, "stray source"); stray == 0 {
			p.Sources[0].Object++
		}
		r.Streams = append(r.Streams, p)
	}
	return r
}

// drawReplacing draws, beside any record, what the leader of most streams commits and replaces with the ids that were leased last.
func drawReplacing(t *rapid.T, im *metadata.Image) metadata.Record {
	leader, ok := im.Broker(1)
	if !ok {
		return drawRecord(t, im)
	}
	object := im.NextObject() - metadata.ObjectID(min(uint64(im.NextObject()), rapid.Uint64Range(1, 4).Draw(t, "leased")))
	switch rapid.IntRange(0, 5).Draw(t, "of the leader") {
	case 0:
		return &metadata.LeaseObjects{Epoch: leader.Epoch, Count: 4}
	case 1, 2:
		return drawCommit(t, im, object, leader.Epoch)
	case 3:
		return drawReplacement(t, im, object, leader.Epoch)
	}
	return drawRecord(t, im)
}

// offsets are the runs of offsets that a stream's parts hold from its log start on: a replacement changes none of them.
func offsets(s *metadata.Stream) (runs [][2]int64) {
	for _, p := range s.Parts {
		if n := len(runs); n > 0 && runs[n-1][1] == p.Start {
			runs[n-1][1] = p.End
			continue
		}
		runs = append(runs, [2]int64{max(p.Start, s.LogStart), p.End})
	}
	return runs
}

// leasedTopic makes a topic of three partitions, and leases ids of objects to their leader: what most drawn records need to be accepted.
func leasedTopic() []metadata.Record {
	return []metadata.Record{
		&metadata.RegisterBroker{ID: 1},
		&metadata.CreateTopic{ID: topicID("a"), Name: "a", Leaders: slices.Repeat([]metadata.Leader{{Broker: 1, Epoch: 1}}, 3)},
		&metadata.LeaseObjects{Epoch: 1, Count: 9},
	}
}

// R3a: a replacement changes which objects hold a stream's offsets and nothing else: no offset is lost, none is held
// twice, objects are destroyed with their last part, ids of which nothing came stay prepared, and what a trim has passed stays away.
func TestReplacementsKeepEveryOffset(t *testing.T) {
	replaced, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		im := metadata.NewImage()
		prelude := leasedTopic()
		for index := range uint64(rapid.IntRange(20, 150).Draw(t, "records")) {
			r := drawReplacing(t, im)
			if index < uint64(len(prelude)) {
				r = prelude[index]
			}
			replacement, ok := r.(*metadata.ReplaceParts)
			before := map[metadata.StreamID][][2]int64{}
			if ok {
				for _, p := range replacement.Streams {
					s, _ := im.Stream(p.Stream)
					before[p.Stream] = offsets(s)
				}
			}
			if im.Apply(index+1, r) != nil || !ok {
				continue
			}
			for i, p := range replacement.Streams {
				s, _ := im.Stream(p.Stream)
				if got := offsets(s); !slices.EqualFunc(got, before[p.Stream], func(a, b [2]int64) bool { return a == b }) {
					t.Fatalf("stream %d holds %v, before it held %v", p.Stream, got, before[p.Stream])
				}
				if !im.Outcome().Accepted[i] {
					refused++
					continue
				}
				replaced++
				for _, part := range p.Parts {
					if slices.Contains(s.Parts, part) != (part.End > s.LogStart) {
						t.Fatalf("stream %d, which starts at %d, was given part %+v and has %+v", p.Stream, s.LogStart, part, s.Parts)
					}
				}
			}
			wantReferences(t, im)
		}
	})
	if replaced == 0 || refused == 0 {
		t.Errorf("%d replacements were accepted, %d refused: the test says nothing", replaced, refused)
	}
}

// wantReferences counts anew what refers to each object: parts, and checkpoints that lie in it.
func wantReferences(t *rapid.T, im *metadata.Image) {
	references := map[metadata.ObjectID]int32{}
	for _, topic := range im.Topics() {
		for _, p := range topic.Partitions {
			s, _ := im.Stream(p.Stream)
			for _, part := range s.Parts {
				if !part.Lost() {
					references[part.Object]++
				}
			}
			if s.Stored.Named() {
				references[s.Stored.Object]++
				wantOneCheckpoint(t, s)
			}
		}
	}
	im.Objects(func(o *metadata.Object) {
		if o.Parts != references[o.ID] || (o.Parts == 0) != (o.State == metadata.ObjectDestroyed) {
			t.Fatalf("object %+v is referred to %d times", *o, references[o.ID])
		}
		delete(references, o.ID)
	})
	if len(references) > 0 {
		t.Fatalf("objects %v are referred to and not there", references)
	}
}

// wantOneCheckpoint holds a stream whose checkpoint lies in an object to that.
func wantOneCheckpoint(t *rapid.T, s *metadata.Stream) {
	if len(s.Checkpoint) > 0 || s.Stored.End > s.CheckpointEnd {
		t.Fatalf("stream %d has two checkpoints, or one from behind its end %d: %q, %+v", s.ID, s.CheckpointEnd, s.Checkpoint, s.Stored)
	}
}

// R4, I8: a checkpoint that lies in an object keeps that object, whatever becomes of its parts, and lets go of it once it is replaced.
func TestCheckpointsKeepTheirObjects(t *testing.T) {
	alone := 0
	rapid.Check(t, func(t *rapid.T) {
		im := metadata.NewImage()
		prelude := leasedTopic()
		for index := range uint64(rapid.IntRange(20, 100).Draw(t, "records")) {
			r := drawRecord(t, im)
			if index < uint64(len(prelude)) {
				r = prelude[index]
			}
			_ = im.Apply(index+1, r)
			wantReferences(t, im)
			for id := metadata.StreamID(1); id <= 12; id++ {
				if s, ok := im.Stream(id); ok && s.Stored.Named() && !slices.ContainsFunc(s.Parts, func(p metadata.Part) bool { return p.Object == s.Stored.Object }) {
					alone++
				}
			}
		}
	})
	require.Positive(t, alone, "no object was kept by a checkpoint alone: the test says nothing")
}

// I10: equal logs give equal images, however often the image was a snapshot in
// between. Loading also proves the image's invariants anew (I4, I8).
func TestEqualLogsGiveEqualImages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live, reloaded, replayed := metadata.NewImage(), metadata.NewImage(), metadata.NewImage()
		index := uint64(0)
		for range rapid.IntRange(1, 120).Draw(t, "records") {
			index += uint64(rapid.IntRange(1, 2).Draw(t, "gap")) // the quorum has entries of its own
			encoded := drawRecord(t, live).AppendTo(nil)
			r, err := metadata.DecodeRecord(encoded) // nothing is applied but what was encoded: some nonsense has no encoding
			if err != nil {
				t.Fatal(err)
			}
			before := live.AppendSnapshot(nil)
			floor := highs(live)
			topics, streams := show(live)
			live.TakeChanges()
			live.BeginTerm(1)
			err = live.Apply(index, r)
			wantChanges(t, live, topics, streams)
			after := live.AppendSnapshot(nil)
			if err != nil && !bytes.Equal(before, after) {
				t.Fatalf("a refused record changed the image: %v", err)
			}
			wantNotBack(t, floor, highs(live), live)
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				if err := reloaded.Restore(reloaded.AppliedIndex(), reloaded.AppendSnapshot(nil)); err != nil {
					t.Fatal(err)
				}
			}
			for _, im := range []*metadata.Image{reloaded, replayed} {
				again, decodeErr := metadata.DecodeRecord(encoded)
				if decodeErr != nil {
					t.Fatal(decodeErr)
				}
				if !bytes.Equal(again.AppendTo(nil), encoded) {
					t.Fatal("a record has two encodings")
				}
				im.BeginTerm(1)
				if got := im.Apply(index, again); fmt.Sprint(got) != fmt.Sprint(err) || !slices.Equal(im.Outcome().Accepted, live.Outcome().Accepted) {
					t.Fatalf("verdicts differ: %v and %v", got, err)
				}
				if !bytes.Equal(im.AppendSnapshot(nil), after) {
					t.Fatal("equal logs gave images that differ")
				}
				wantDerivedEqual(t, live, im)
			}
		}
		if _, err := metadata.LoadSnapshot(index, live.AppendSnapshot(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// show is the image's topics and streams in words.
func show(im *metadata.Image) (topics map[metadata.TopicID]string, streams map[metadata.StreamID]string) {
	topics, streams = map[metadata.TopicID]string{}, map[metadata.StreamID]string{}
	for _, topic := range im.Topics() {
		topics[topic.ID] = fmt.Sprintf("%+v", *topic)
		for _, p := range topic.Partitions {
			s, _ := im.Stream(p.Stream)
			streams[p.Stream] = fmt.Sprintf("%+v", *s)
		}
	}
	return topics, streams
}

// wantChanges holds what a record changed against what the image says of it.
func wantChanges(t *rapid.T, im *metadata.Image, topics map[metadata.TopicID]string, streams map[metadata.StreamID]string) {
	said := im.TakeChanges()
	if said.All {
		t.Fatal("one record changed all")
	}
	topicsNow, streamsNow := show(im)
	wantSaid(t, said.Topics, topics, topicsNow)
	wantSaid(t, said.Streams, streams, streamsNow)
}

func wantSaid[K comparable](t *rapid.T, said []K, before, now map[K]string) {
	either := maps.Clone(before)
	maps.Copy(either, now)
	for id := range either {
		if before[id] != now[id] && !slices.Contains(said, id) {
			t.Fatalf("%T %v changed, %v was said; it was\n%s and is\n%s", id, id, said, before[id], now[id])
		}
	}
}

// highs are the committed ends and log starts of all streams, which never go back.
func highs(im *metadata.Image) map[metadata.StreamID][2]int64 {
	all := map[metadata.StreamID][2]int64{}
	for _, topic := range im.Topics() {
		for _, p := range topic.Partitions {
			s, _ := im.Stream(p.Stream)
			all[p.Stream] = [2]int64{s.CommittedEnd(), s.LogStart}
		}
	}
	return all
}

func wantNotBack(t *rapid.T, before, after map[metadata.StreamID][2]int64, im *metadata.Image) {
	for id, now := range after {
		if was, ok := before[id]; ok && (now[0] < was[0] || now[1] < was[1]) {
			s, _ := im.Stream(id)
			t.Fatalf("stream %d went back from %v to %v: %+v", id, was, now, s)
		}
	}
}

// wantDerivedEqual compares what a snapshot does not hold.
func wantDerivedEqual(t *rapid.T, a, b *metadata.Image) {
	list := func(im *metadata.Image) (ids []metadata.ObjectID) {
		im.Destroyed(func(o *metadata.Object) bool { ids = append(ids, o.ID); return true })
		return ids
	}
	if !slices.Equal(list(a), list(b)) {
		t.Fatalf("destroyed objects are %v and %v", list(a), list(b))
	}
	for epoch := metadata.BrokerEpoch(1); uint64(epoch) <= a.AppliedIndex(); epoch++ {
		if leads := len(a.OpenRanges(epoch)) > 0; a.EpochLeads(epoch) != leads || b.EpochLeads(epoch) != leads {
			t.Fatalf("epoch %d leads: %v and %v, by its ranges %v", epoch, a.EpochLeads(epoch), b.EpochLeads(epoch), leads)
		}
		if a.EpochOwes(epoch) != b.EpochOwes(epoch) || a.EpochOwes(epoch) != owes(a, epoch) {
			t.Fatalf("epoch %d owes: %v and %v, by its ranges %v", epoch, a.EpochOwes(epoch), b.EpochOwes(epoch), owes(a, epoch))
		}
		for slot := range uint64(10) {
			if lowest, object := a.ObjectWAL(epoch); a.SlotDead(epoch, slot) && (a.EpochOwes(epoch) || a.Current(epoch)) && object && slot >= lowest {
				t.Fatalf("slot %d of epoch %d is dead, the lowest one is %d", slot, epoch, lowest)
			}
		}
	}
}

// owes is EpochOwes by looking at every range.
func owes(im *metadata.Image, epoch metadata.BrokerEpoch) bool {
	for _, topic := range im.Topics() {
		for _, p := range topic.Partitions {
			s, _ := im.Stream(p.Stream)
			for _, r := range s.Ranges {
				if r.BrokerEpoch == epoch && (r.End < 0 || r.Committed < r.End) {
					return true
				}
			}
		}
	}
	return false
}

// everyRecord is a log with each type of record but those of keyRecords, all accepted.
func everyRecord() []metadata.Record {
	checkpoint := []byte("state as of 10")
	return []metadata.Record{
		&metadata.FoundCluster{ClusterID: "MkU3OEVBNTcwNTJENDM2Qg", Features: []metadata.Feature{{Name: "weir.metadata", Level: 1}}},
		&metadata.RegisterBroker{ID: 1, Incarnation: [16]byte{1}, Rack: "zone-a", Listeners: []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "localhost", Port: 9092}}},
		&metadata.CreateTopic{ID: topicID("orders"), Name: "orders", Configs: []metadata.Config{{Key: "retention.ms", Value: "1"}}, Leaders: []metadata.Leader{{Broker: 1, Epoch: 2}, {Broker: 1, Epoch: 2}}},
		&metadata.AddPartitions{ID: topicID("orders"), From: 2, Leaders: []metadata.Leader{{Broker: 1, Epoch: 2}}},
		&metadata.CreateTopic{ID: topicID("gone"), Name: "gone", Leaders: []metadata.Leader{{Broker: 1, Epoch: 2}}},
		&metadata.SetTopicConfigs{ID: topicID("orders"), Base: 3, Configs: []metadata.Config{{Key: "retention.ms", Value: "2"}}},
		&metadata.SetBrokerConfigs{ID: metadata.AllBrokers, Configs: []metadata.Config{{Key: "log.retention.ms", Value: "3"}}},
		&metadata.AllocateProducerIDs{Broker: 1, Epoch: 2, Count: 1000},
		&metadata.LeaseObjects{Epoch: 2, Count: 10},
		&metadata.CommitObject{Object: 1, Epoch: 2, Bytes: 4096, Parts: []metadata.CommitPart{
			{Stream: 1, Part: metadata.Part{End: 10, MaxTimestamp: 1_700_000_000_000, Bytes: 2000, IndexOffset: 4000, IndexBytes: 48}, Checkpoint: checkpoint},
			{Stream: 2, Part: metadata.Part{End: 7, MaxTimestamp: -1, Bytes: 1000, IndexOffset: 4048, IndexBytes: 48}, Checkpoint: checkpoint},
			{Stream: 4, Part: metadata.Part{End: 1, Bytes: 1, IndexOffset: 1, IndexBytes: 1}, Checkpoint: checkpoint},
		}},
		&metadata.CommitObject{Object: 2, Epoch: 2, Bytes: 10, Parts: []metadata.CommitPart{{Stream: 2, Part: metadata.Part{Start: 7, End: 9}, Checkpoint: checkpoint}}},
		&metadata.DeleteTopic{ID: topicID("gone")},
		&metadata.RegisterBroker{ID: 1, Incarnation: [16]byte{2}},
		&metadata.TakeOver{Broker: 1, Epoch: 13, Ends: []metadata.RangeEnd{{Stream: 1, End: 20}, {Stream: 2, End: 9}}},
		&metadata.TrimStream{Stream: 2, LogStart: 9},
		&metadata.ExpireObjects{Epoch: 2, First: 5, End: 7},
		&metadata.DeleteObjects{Objects: []metadata.ObjectID{2}},
		&metadata.SetFeatures{Features: []metadata.Feature{{Name: "group.version", Level: 1}, {Name: "transaction.version", Level: 2}}},
		&metadata.SetGroupConfigs{Group: "billing", Configs: []metadata.Config{{Key: "consumer.session.timeout.ms", Value: "50000"}}},
		&metadata.RegisterBroker{ID: 2, Incarnation: [16]byte{3}, Rack: "zone-b", Term: 1, Peer: "b:9093", SharedWAL: true},
		&metadata.CreateTopic{ID: topicID("spread"), Name: "spread", Leaders: []metadata.Leader{{Broker: 2, Epoch: 20}}, ReplicationFactor: 3},
		&metadata.FenceBroker{ID: 2, Epoch: 20, Term: 1},
		&metadata.AssignRecovery{Ended: 20, By: 13, Term: 1},
		&metadata.SealRanges{By: 13, Seals: []metadata.Seal{
			{RangeEnd: metadata.RangeEnd{Stream: 5, End: 4}, Next: metadata.Leader{Broker: 1, Epoch: 13}, Checkpoint: checkpoint},
		}},
		&metadata.RegisterBroker{ID: 3, Incarnation: [16]byte{4}},
		&metadata.FenceBroker{ID: 3, Epoch: 25, Term: 1},
		&metadata.UnregisterBroker{ID: 3},
		&metadata.LeaseObjects{Epoch: 13, Count: 2},
		&metadata.ReplaceParts{Epoch: 13, Objects: []metadata.NewObject{{ID: 11, Bytes: 3000}, {ID: 12, Bytes: 200}}, Streams: []metadata.Replacement{
			{Stream: 1, Sources: []metadata.Source{{Object: 1, End: 10}}, Parts: []metadata.Part{
				{Object: 11, End: 6, LeaderEpoch: 0, MaxTimestamp: 1_700_000_000_000, Bytes: 1200, IndexOffset: 2500, IndexBytes: 80},
				{Object: 12, Start: 6, End: 10, MaxTimestamp: -1, Bytes: 100, IndexOffset: 150, IndexBytes: 80},
			}},
			{Stream: 2, Sources: []metadata.Source{{Object: 2, Start: 7, End: 9}}, Parts: []metadata.Part{{Object: 11, Start: 7, End: 9}}}, // trimmed: refused
		}},
	}
}

// objectWALRecords follow everyRecord, whose image im is: they have what is new for object WALs.
func objectWALRecords(im *metadata.Image) []metadata.Record {
	epoch := metadata.BrokerEpoch(im.AppliedIndex() + 1)
	return []metadata.Record{
		&metadata.RegisterBroker{ID: 9, Incarnation: [16]byte{9}, ObjectWAL: true},
		&metadata.CreateTopic{ID: topicID("objects"), Name: "objects", Leaders: []metadata.Leader{{Broker: 9, Epoch: epoch}}},
		&metadata.LeaseObjects{Epoch: epoch, Count: 1},
		&metadata.CommitObject{Object: im.NextObject(), Epoch: epoch, Bytes: 10, WALSlot: 300, Parts: []metadata.CommitPart{
			{Stream: 5, Part: metadata.Part{End: 1}, Checkpoint: []byte("state as of 1")},
		}},
	}
}

// keyRecords follow objectWALRecords: they have what is new for compaction by key.
func keyRecords(*metadata.Image) []metadata.Record {
	return []metadata.Record{&metadata.CleanStream{Epoch: 13, Stream: 1, Cleaned: 10}}
}

// checkpointRecords have what is new for checkpoints that lie in objects; they follow everything else.
func checkpointRecords(im *metadata.Image) []metadata.Record {
	object := im.NextObject()
	epoch := metadata.BrokerEpoch(im.AppliedIndex() + 1)
	at := func(position int64) metadata.StoredCheckpoint {
		return metadata.StoredCheckpoint{Position: position, Bytes: 5000, Sum: 0xcafe0000 + uint32(position)}
	}
	seal := metadata.Seal{RangeEnd: metadata.RangeEnd{Stream: 8, End: 20}, Next: metadata.Leader{Broker: 7, Epoch: epoch}, Stored: at(200)}
	seal.Stored.Object = object + 1
	moved := metadata.MovedCheckpoint{Stream: 9, End: 10, Stored: at(300)}
	moved.Stored.Object = object + 2
	return []metadata.Record{
		&metadata.RegisterBroker{ID: 7, Incarnation: [16]byte{7}},
		&metadata.CreateTopic{ID: topicID("many"), Name: "many", Leaders: slices.Repeat([]metadata.Leader{{Broker: 7, Epoch: epoch}}, 3)},
		&metadata.LeaseObjects{Epoch: epoch, Count: 3},
		&metadata.CommitObject{Object: object, Epoch: epoch, Bytes: 20_000, Parts: []metadata.CommitPart{
			{Stream: 8, Part: metadata.Part{End: 10}, Stored: at(100)},
			{Stream: 9, Part: metadata.Part{End: 10}, Stored: at(5100)},
			{Stream: 10, Part: metadata.Part{End: 10}, Checkpoint: []byte("state as of 10")},
		}},
		&metadata.SealRanges{By: epoch, Seals: []metadata.Seal{seal}, Objects: []metadata.NewObject{{ID: object + 1, Bytes: 6000}}},
		&metadata.MoveCheckpoints{Epoch: epoch, Objects: []metadata.NewObject{{ID: object + 2, Bytes: 7000}}, Checkpoints: []metadata.MovedCheckpoint{
			moved, {Stream: 10, End: 10, Checkpoint: []byte("state")},
		}},
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	im := metadata.NewImage()
	im.BeginTerm(1)
	for i, r := range slices.Concat(everyRecord(), keyRecords(nil)) {
		if err := im.Apply(uint64(i+1), r); err != nil {
			t.Fatal(err)
		}
	}
	wantDamageSeen(t, im.AppendSnapshot(nil))
	packed(t, im)
	wantDamageSeen(t, im.AppendSnapshot(nil))
}

func wantDamageSeen(t *testing.T, whole []byte) {
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x40
		if _, err := metadata.LoadSnapshot(99, damaged); !errors.Is(err, metadata.ErrSnapshot) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := metadata.LoadSnapshot(99, whole[:i]); !errors.Is(err, metadata.ErrSnapshot) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	// A snapshot cannot be older than what it holds.
	if _, err := metadata.LoadSnapshot(3, whole); !errors.Is(err, metadata.ErrSnapshot) {
		t.Fatalf("loaded at an index before its records: %v", err)
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	im := metadata.NewImage()
	for i, r := range everyRecord() {
		_ = im.Apply(uint64(i+1), r)
	}
	allocations := testing.AllocsPerRun(100, func() {
		im.Topic("orders")
		im.TopicByID(topicID("orders"))
		im.Stream(1)
		im.Object(1)
		im.Broker(1)
		_, _ = im.Topics(), im.Brokers()
		im.EpochOwes(2)
		im.Dead(5)
	})
	if allocations != 0 {
		t.Errorf("lookups allocated %v times", allocations)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range slices.Concat(everyRecord(), keyRecords(nil)) {
		f.Add(r.AppendTo(nil))
	}
	f.Add([]byte{11, 1, 1, 2, 2, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := metadata.DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, metadata.ErrRecord) {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		encoded := r.AppendTo(nil)
		again, err := metadata.DecodeRecord(encoded)
		if err != nil || !bytes.Equal(again.AppendTo(nil), encoded) {
			t.Fatalf("not stable: %v", err)
		}
		im := metadata.NewImage()
		for i, r := range everyRecord() {
			_ = im.Apply(uint64(i+1), r)
		}
		_ = im.Apply(100, r)
		if _, err := metadata.LoadSnapshot(100, im.AppendSnapshot(nil)); err != nil {
			t.Fatalf("the record left an image that does not load: %v", err)
		}
	})
}

func FuzzLoadSnapshot(f *testing.F) {
	im := metadata.NewImage()
	f.Add(unsummed(im.AppendSnapshot(nil)))
	for i, r := range everyRecord() {
		_ = im.Apply(uint64(i+1), r)
		f.Add(unsummed(im.AppendSnapshot(nil)))
	}
	packed(f, im)
	f.Add(unsummed(im.AppendSnapshot(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = metadata.LoadSnapshot(100, b)
		b = binary.BigEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		im, err := metadata.LoadSnapshot(100, b)
		if err != nil {
			return
		}
		// What loads behaves: no record trips over it.
		for i, r := range slices.Concat(everyRecord(), keyRecords(nil)) {
			_ = im.Apply(uint64(101+i), r)
		}
		again, err := metadata.LoadSnapshot(200, im.AppendSnapshot(nil))
		if err != nil || !bytes.Equal(again.AppendSnapshot(nil), im.AppendSnapshot(nil)) {
			t.Fatalf("not stable: %v", err)
		}
	})
}

func unsummed(snapshot []byte) []byte { return snapshot[:len(snapshot)-4] }
