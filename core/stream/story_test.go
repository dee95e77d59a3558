package stream

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"weir/core/metadata"
)

// story runs a text script against one node after another. Commands:
//
//	boot                      start the next incarnation, after a crash or shutdown
//	create 1 2                make streams
//	append 1 batches=3 bytes=500 ts=7
//	settle                    complete everything in flight, let no time pass
//	sleep 1s                  let time pass, timer by timer, completing everything
//	store put=failed,failed   how the next operations of that kind end; "well" heals
//	commit error,lost         how the next commits end
//	arrive                    late PUTs arrive
//	read 1 offset=0 bytes=1000
//	trim 1 to=5 / delete 1 / crash / shutdown
//	abandon offsets=100       the log of the incarnation that ended is gone, and is given up
//	state                     streams, ranges, parts, objects, log
type story struct {
	t       *testing.T
	w       *world
	c       *cluster
	n       *node
	weather map[string][]string
}

func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{t: t, w: newWorld(t), weather: map[string][]string{}}
		s.c = newCluster(s.w)
		s.w.store.weather = s.next
		s.c.weather = func() string { return s.next("commit") }
		datadriven.RunTest(t, path, s.run)
	})
}

// next takes the next ending of that kind off the script's list.
func (s *story) next(kind string) string {
	list := s.weather[kind]
	if len(list) == 0 {
		return ""
	}
	s.weather[kind] = list[1:]
	return strings.ReplaceAll(list[0], "-", " ")
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	s.w.t = t
	switch d.Cmd {
	case "boot":
		s.n = boot(s.w, s.c, smallOptions, smallLog)
	case "create":
		for _, id := range s.streams(d) {
			s.n.create(id)
		}
	case "append":
		return s.append(d)
	case "settle":
		s.w.settle()
	case "sleep":
		s.sleep(d)
	case "store", "commit":
		s.setWeather(d)
	case "arrive":
		for _, arrive := range s.w.late {
			arrive()
		}
		s.w.late = nil
	case "read":
		return s.read(d)
	case "trim":
		var to int64
		d.ScanArgs(t, "to", &to)
		s.c.trim(s.streams(d)[0], to)
		s.w.turn(s.n.e.ImageChanged)
	case "delete":
		for _, id := range s.streams(d) {
			delete(s.c.streams, id)
			s.w.turn(s.n.e.ImageChanged)
			s.w.turn(func() { s.n.e.Close(id) })
			delete(s.n.owners, id)
		}
	case "crash":
		s.w.crash()
	case "shutdown":
		s.n.shutdown()
	case "abandon":
		var offsets int64
		d.ScanArgs(t, "offsets", &offsets)
		s.c.abandon(offsets)
	case "state":
		return s.state()
	default:
		t.Fatalf("%s: no such command %q", d.Pos, d.Cmd)
	}
	return ""
}

func (s *story) streams(d *datadriven.TestData) (ids []metadata.StreamID) {
	for _, a := range d.CmdArgs {
		if id, err := strconv.ParseUint(a.Key, 10, 64); err == nil {
			ids = append(ids, metadata.StreamID(id))
		}
	}
	return ids
}

func (s *story) append(d *datadriven.TestData) string {
	batches, bytes, ts := 1, 100, int64(0)
	d.MaybeScanArgs(s.t, "batches", &batches)
	d.MaybeScanArgs(s.t, "bytes", &bytes)
	d.MaybeScanArgs(s.t, "ts", &ts)
	for _, id := range s.streams(d) {
		for i := range batches {
			if !s.n.owners[id].append(s.n, 1, bytes, ts) {
				return fmt.Sprintf("stream %d: refused after %d batches", id, i)
			}
		}
	}
	return ""
}

func (s *story) sleep(d *datadriven.TestData) {
	span, err := time.ParseDuration(d.CmdArgs[0].Key)
	if err != nil {
		s.t.Fatal(err)
	}
	until := s.w.now.Add(span)
	s.w.settle()
	for s.w.wake > s.w.now && s.w.wake <= until {
		s.w.sleep()
		s.w.settle()
	}
	s.w.now = max(s.w.now, until)
}

func (s *story) setWeather(d *datadriven.TestData) {
	for _, a := range d.CmdArgs {
		kind, list := a.Key, a.Vals
		if d.Cmd == "commit" {
			kind, list = "commit", append([]string{a.Key}, a.Vals...)
			list = strings.Split(list[0], ",")
		} else if len(list) == 1 {
			list = strings.Split(list[0], ",")
		}
		s.weather[kind] = slices.DeleteFunc(list, func(w string) bool { return w == "well" })
	}
}

func (s *story) read(d *datadriven.TestData) string {
	offset, bytes := int64(0), 1<<20
	d.MaybeScanArgs(s.t, "offset", &offset)
	d.MaybeScanArgs(s.t, "bytes", &bytes)
	gets := s.w.store.gets
	next, err := s.n.owners[s.streams(d)[0]].read(s.n, offset, bytes)
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprintf("[%d, %d), %d reads of the store", offset, next, s.w.store.gets-gets)
}

func (s *story) state() string {
	var b strings.Builder
	for _, id := range s.c.sorted() {
		image := s.c.streams[id]
		fmt.Fprintf(&b, "stream %d: log start %d", id, image.LogStart)
		if o := s.n.owners[id]; o != nil {
			fmt.Fprintf(&b, ", high watermark %d, end %d", o.stream.HighWatermark(), o.stream.End())
		}
		fmt.Fprintf(&b, ", checkpoint at %d\n", image.CheckpointEnd)
		for _, r := range image.Ranges {
			fmt.Fprintf(&b, "  range of leader epoch %d, broker epoch %d: start %d, committed %d, end %d\n", r.LeaderEpoch, r.BrokerEpoch, r.Start, r.Committed, r.End)
		}
		for _, p := range image.Parts {
			fmt.Fprintf(&b, "  object %d: [%d, %d)\n", p.Object, p.Start, p.End)
		}
	}
	fmt.Fprintf(&b, "objects in the store: %d; logs: %d; tails: %d\n", len(s.w.store.objects), len(s.w.disk.files), len(s.n.e.recovered.tails))
	return b.String()
}
