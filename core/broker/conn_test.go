package broker

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func metadataOf(topics ...string) *kmsg.MetadataRequest {
	m := kmsg.NewPtrMetadataRequest()
	m.Version = 9
	m.Topics = []kmsg.MetadataRequestTopic{}
	for i := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topics[i]
		m.Topics = append(m.Topics, t)
	}
	return m
}

func TestPipelinedProduceRequestsAreAnsweredInOrder(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.send(id, produceOf("t", -1, 0))
	r.send(id, produceOf("t", -1, 1))
	r.send(id, produceOf("t", -1, 2))
	if got := r.answered(id); len(got) != 0 {
		t.Fatalf("answered before anything is durable: %v", got)
	}
	r.logs[3].durable()
	r.logs[2].durable()
	r.turn()
	if got := r.answered(id); len(got) != 0 {
		t.Fatalf("a later request was answered before the first: %v", got)
	}
	r.logs[1].durable()
	r.turn()
	if got := r.answered(id); !slices.Equal(got, []int32{1, 2, 3}) {
		t.Fatalf("answered %v", got)
	}
}

func TestOtherRequestsWaitForTheirTurn(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.send(id, produceOf("t", -1, 0))
	r.send(id, fetchOf(time.Second))
	r.send(id, metadataOf("t"))
	r.send(id, produceOf("t", -1, 0))
	if r.logs[1].end != 1 {
		t.Fatalf("the log ends at %d: the last produce request did not wait for the fetch before it", r.logs[1].end)
	}
	r.logs[1].durable() // the fetch starts, and finds the record
	r.turn()
	if got := r.answered(id); !slices.Equal(got, []int32{1, 2, 3}) || r.logs[1].end != 2 {
		t.Fatalf("answered %v, the log ends at %d", got, r.logs[1].end)
	}
	fetched := answerOf[*kmsg.FetchResponse](r, id, 2, fetchOf(0))
	if len(fetched.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Fatal("a client does not read its own acknowledged write")
	}
}

// A request that gets no answer fails behind one that waits for its own: what the client sent behind it must not be appended without it.
func TestNothingStartsBehindARequestThatHangsUp(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.send(id, produceOf("t", -1, 0))
	r.send(id, produceOf("unknown", 0, 0))
	r.send(id, produceOf("t", 0, 1))
	r.turn()
	if r.logs[2].end != 0 || len(r.net.closed) != 0 {
		t.Fatalf("the log ends at %d, closed are %v", r.logs[2].end, r.net.closed)
	}
	r.logs[1].durable()
	r.turn()
	if got := r.answered(id); !slices.Equal(got, []int32{1}) || !slices.Equal(r.net.closed, []env.ConnID{id}) || r.logs[2].end != 0 {
		t.Fatalf("answered %v, closed %v, the log ends at %d", got, r.net.closed, r.logs[2].end)
	}
}

func TestSilentRequestKeepsTheOrder(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.send(id, produceOf("t", 0, 0))
	r.send(id, metadataOf("t"))
	if got := r.answered(id); !slices.Equal(got, []int32{2}) {
		t.Fatalf("answered %v, want only the second", got)
	}
}

func TestFrameOfProduceIsHeldUntilItsPayloadWasTaken(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	frame := r.deliver(id, frameOf(produceOf("t", -1, 0), 1))
	r.wantFramesReleased(frame) // the fake log copies at once
	r.logs[1].durable()
	r.turn()
	r.wantFramesReleased(frame)
}

func TestConnectionWithTooManyRequestsIsMuted(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	for range queuedMax - 1 {
		r.send(id, produceOf("t", -1, 0))
	}
	if r.net.muted[id] {
		t.Fatal("muted below the limit")
	}
	r.send(id, produceOf("t", -1, 0))
	if !r.net.muted[id] {
		t.Fatal("not muted at the limit")
	}
	r.send(id, produceOf("t", -1, 0)) // was read already
	r.logs[1].durable()
	r.turn()
	if r.net.muted[id] || len(r.answered(id)) != queuedMax+1 {
		t.Fatalf("muted=%v after %d answers", r.net.muted[id], len(r.answered(id)))
	}
}

func TestConnectionWithTooMuchWaitingIsMuted(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.send(id, fetchOf(time.Second))
	large := metadataOf(strings.Repeat("x", 30_000), strings.Repeat("y", 30_000))
	r.send(id, large)
	if r.net.muted[id] {
		t.Fatal("muted for one request that waits")
	}
	r.send(id, large)
	if !r.net.muted[id] {
		t.Fatal("not muted")
	}
	r.pass(time.Second)
	if got := r.answered(id); r.net.muted[id] || len(got) != 3 {
		t.Fatalf("muted=%v, answered %v", r.net.muted[id], got)
	}
}

func TestClientThatDoesNotReadMakesNothingPileUp(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.net.hold = true
	for range 10 {
		r.send(id, metadataOf("t"))
	}
	if got := len(r.answered(id)); got != unwrittenMax {
		t.Fatalf("%d answers wait for the socket, want %d", got, unwrittenMax)
	}
	r.net.hold = false
	r.net.deliver()
	r.turn()
	if got := len(r.answered(id)); got != 10 {
		t.Fatalf("%d answers in the end", got)
	}
}

func TestMalformedRequestClosesBehindTheAnswersBeforeIt(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.send(id, produceOf("t", -1, 0))
	bad := frameOf(metadataOf("t"), 2)
	frames := []*env.Frame{r.deliver(id, bad[:len(bad)-3]), r.deliver(id, frameOf(metadataOf("t"), 3))}
	if len(r.net.closed) != 0 {
		t.Fatal("closed before the first request was answered")
	}
	r.logs[1].durable()
	r.turn()
	if got := r.answered(id); !slices.Equal(got, []int32{1}) || !slices.Equal(r.net.closed, []env.ConnID{id}) || r.net.aborted != 0 {
		t.Fatalf("answered %v, closed %v", got, r.net.closed)
	}
	r.wantFramesReleased(frames...)
}

func TestUnsupportedVersionClosesTheConnection(t *testing.T) {
	for name, request := range map[string]kmsg.Request{
		"too new": &kmsg.MetadataRequest{Version: 14},
		"too old": &kmsg.FetchRequest{Version: 3},
		// Produce is said to begin at 0, and refused below 3.
		"advertised and refused": &kmsg.ProduceRequest{Version: 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "")
			id := r.connect()
			frame := r.deliver(id, frameOf(request, 1))
			if len(r.answered(id)) != 0 || !slices.Equal(r.net.closed, []env.ConnID{id}) {
				t.Fatalf("answered %v, closed %v", r.answered(id), r.net.closed)
			}
			r.wantFramesReleased(frame)
		})
	}
}

func TestAnswerAfterTheConnectionClosedIsDropped(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	frames := []*env.Frame{
		r.deliver(id, frameOf(produceOf("t", -1, 0), 1)),
		r.deliver(id, frameOf(produceOf("t", -1, 1), 2)),
		r.deliver(id, frameOf(fetchOf(time.Second), 3)),
	}
	r.logs[2].durable() // the second is answered, and waits for the first
	r.turn()
	r.broker.Closed(id, nil)
	r.logs[1].durable()
	r.turn()
	if len(r.net.sent) != 0 {
		t.Fatalf("sent to a connection that is gone: %v", r.net.sent)
	}
	r.wantFramesReleased(frames...)
	if len(r.broker.conns) != 0 || len(r.broker.byID) != 0 {
		t.Fatal("the connection is still known")
	}
}

func TestFetchOfAClosedConnectionGivesUpItsWait(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.send(id, fetchOf(time.Minute))
	r.broker.Closed(id, nil)
	r.fill(1, 1)
	r.pass(2 * time.Minute)
	if len(r.net.sent) != 0 || r.logs[1].lent != r.logs[1].released {
		t.Fatalf("sent %d, slabs lent %d, released %d", len(r.net.sent), r.logs[1].lent, r.logs[1].released)
	}
}

func TestFetchedSlabsAreReleasedWhenWritten(t *testing.T) {
	r := newRig(t, "")
	r.fill(1, 3)
	id := r.connect()
	r.net.hold = true
	r.send(id, fetchOf(0))
	if len(r.net.sent) != 1 || r.logs[1].lent != 1 || r.logs[1].released != 0 {
		t.Fatalf("sent %d, lent %d, released %d", len(r.net.sent), r.logs[1].lent, r.logs[1].released)
	}
	r.broker.Closed(id, nil) // the completion comes in any case
	r.net.deliver()
	r.turn()
	if r.logs[1].released != 1 {
		t.Fatal("the slab leaks")
	}
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	r := newRig(t, "")
	idle, busy := r.connect(), r.connect()
	r.send(busy, produceOf("t", -1, 0))
	drained := false
	r.broker.Drain(time.Second, func() { drained = true })
	r.turn()
	if !r.net.deaf || !slices.Equal(r.net.closed, []env.ConnID{idle}) || drained {
		t.Fatalf("deaf=%v closed=%v drained=%v", r.net.deaf, r.net.closed, drained)
	}
	late := r.deliver(busy, frameOf(metadataOf("t"), 9))
	r.wantFramesReleased(late)
	r.logs[1].durable()
	r.turn()
	if got := r.answered(busy); !slices.Equal(got, []int32{1}) || !drained || r.net.aborted != 0 {
		t.Fatalf("answered %v, drained=%v", got, drained)
	}
}

func TestDrainCutsWhatTakesTooLong(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	r.send(id, produceOf("t", -1, 0))
	drained := false
	r.broker.Drain(time.Second, func() { drained = true })
	r.pass(time.Second)
	r.turn()
	if !drained || r.net.aborted != 1 {
		t.Fatalf("drained=%v aborted=%d", drained, r.net.aborted)
	}
}

func TestAdmit(t *testing.T) {
	c := &Codec{ProduceBytesMax: 100 << 20}
	head := func(key int16) []byte {
		b := make([]byte, 8)
		binary.BigEndian.PutUint16(b, uint16(key))
		return b
	}
	for name, tc := range map[string]struct {
		size int
		head []byte
		ok   bool
	}{
		"produce":             {100 << 20, head(0), true},
		"produce too large":   {100<<20 + 1, head(0), false},
		"zero-filled":         {100 << 20, make([]byte, 8), true}, // a Produce 0, by its looks: within its limit, refused when decoded
		"fetch":               {1 << 20, head(1), true},
		"fetch too large":     {1<<20 + 1, head(1), false},
		"versions":            {100, head(18), true},
		"versions, long id":   {32_767 + 100, head(18), true},
		"versions too large":  {40_000, head(18), false},
		"unknown key":         {100, head(999), false},
		"key of a controller": {100, head(52), false},
		"not served yet":      {100, head(76), false},
		"negative key":        {100, head(-1), false},
		"text":                {0x47455420, []byte("GET / HT"), false},
		"too short":           {3, []byte{0, 0, 0}, false},
		"empty":               {0, nil, false},
	} {
		if err := c.Admit(tc.size, tc.head); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestZeroFilledFrameHarmsOnlyItsSender(t *testing.T) {
	r := newRig(t, "")
	bad, good := r.connect(), r.connect()
	frame := r.deliver(bad, make([]byte, 1<<20))
	r.send(good, metadataOf("t"))
	if !slices.Equal(r.net.closed, []env.ConnID{bad}) || len(r.answered(good)) != 1 {
		t.Fatalf("closed %v, answered %v", r.net.closed, r.answered(good))
	}
	r.wantFramesReleased(frame)
}

func TestResponsesKeepNothingOfTheirFrame(t *testing.T) {
	r := newRig(t, "auto.create.topics.enable=false")
	id := r.connect()
	r.net.hold = true
	data := frameOf(metadataOf("nothing-there"), 1)
	message, _ := r.codec.Decode(data)
	clear(data) // as if the frame's memory were used again
	r.broker.Received(id, message, &env.Frame{Data: data})
	r.turn()
	if len(r.net.sent) != 1 || !bytes.Contains(r.net.sent[0].body, []byte("nothing-there")) {
		t.Fatal("the answer points into the frame")
	}
}

func BenchmarkProduceThroughTheLoop(b *testing.B) {
	r := newRig(&testing.T{}, "")
	id := r.connect()
	data := frameOf(produceOf("t", -1, 0), 1)
	frame := &env.Frame{Data: data}
	message, _ := r.codec.Decode(data)
	kept := message.(*Request)
	body := *kept.Body.(*produceRequest)
	parts := slices.Clone(body.parts)
	b.ReportAllocs()
	for range b.N {
		*kept = Request{Key: 0, Version: 9, CorrelationID: 1, api: wire.FindAPI(0)}
		fresh := body
		fresh.parts = append(fresh.parts[:0], parts...)
		kept.Body = &fresh
		r.broker.Received(id, kept, frame)
		r.logs[1].durable()
		r.turn()
		r.logs[1].batches, r.net.sent = r.logs[1].batches[:0], r.net.sent[:0]
		clear(r.net.released)
	}
}

// times keeps what was observed.
type times []time.Duration

func (h *times) Observe(v int64) { *h = append(*h, time.Duration(v)) }

func TestRequestsAreTimed(t *testing.T) {
	r := newRig(t, "")
	var produce, fetch, other times
	r.broker.counts.produceTime, r.broker.counts.fetchTime, r.broker.counts.otherTime = &produce, &fetch, &other
	id := r.connect()
	r.send(id, metadataOf("t"))
	r.send(id, produceOf("t", -1, 0))
	r.pass(time.Second)
	r.logs[1].durable()
	r.turn()
	r.net.hold = true
	r.send(id, fetchOf(0))
	r.pass(time.Minute)
	if len(fetch) != 0 {
		t.Fatal("an answer that is not written yet was timed")
	}
	r.net.deliver()
	r.turn()
	if !slices.Equal(produce, times{time.Second}) || !slices.Equal(fetch, times{time.Minute}) || !slices.Equal(other, times{0}) {
		t.Fatalf("produce %v, fetch %v, other %v", produce, fetch, other)
	}
}
