package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// populate fills every field with something: two elements in each array.
func populate(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		populate(v.Elem(), depth)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			return
		}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
				populate(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("bytes"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			populate(v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(i + 1))
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text%d", depth))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(depth + 3))
	}
}

// eachServed calls f with a populated, an empty and a null request of every key and
// version but Produce's.
func eachServed(f func(a *wire.API, version int16, request kmsg.Request)) {
	for i := range wire.APIs {
		a := &wire.APIs[i]
		if a.Key == produceKey {
			continue
		}
		for version := a.Min; version <= a.Max; version++ {
			full := kmsg.RequestForKey(a.Key)
			populate(reflect.ValueOf(full).Elem(), 0)
			full.SetVersion(version)
			if fetch, ok := full.(*kmsg.FetchRequest); ok {
				withoutEarlyTags(fetch)
			}
			f(a, version, full)
			empty := kmsg.RequestForKey(a.Key)
			empty.SetVersion(version)
			f(a, version, empty)
		}
	}
}

// withoutEarlyTags resets what kmsg would encode in any version, and Kafka refuses in those that do not have it.
func withoutEarlyTags(r *kmsg.FetchRequest) {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p, plain := &r.Topics[i].Partitions[j], kmsg.NewFetchRequestTopicPartition()
			if r.Version < 17 {
				p.ReplicaDirectoryID = plain.ReplicaDirectoryID
			}
			if r.Version < 18 {
				p.HighWatermark = plain.HighWatermark
			}
		}
	}
	if r.Version < 15 {
		r.ReplicaState = kmsg.NewFetchRequest().ReplicaState
	}
}

func TestTagOfALaterVersionIsRefused(t *testing.T) {
	a := wire.FindAPI(fetchRequestKey)
	for version := int16(12); version <= a.Max; version++ {
		state, directory, mark := kmsg.NewPtrFetchRequest(), kmsg.NewPtrFetchRequest(), kmsg.NewPtrFetchRequest()
		state.ReplicaState.ID = 3
		one := kmsg.NewFetchRequestTopicPartition()
		one.ReplicaDirectoryID = [16]byte{1}
		directory.Topics = []kmsg.FetchRequestTopic{{Partitions: []kmsg.FetchRequestTopicPartition{one}}}
		one = kmsg.NewFetchRequestTopicPartition()
		one.HighWatermark = 4
		mark.Topics = []kmsg.FetchRequestTopic{{Partitions: []kmsg.FetchRequestTopicPartition{one}}}
		for _, c := range []struct {
			request *kmsg.FetchRequest
			since   int16
		}{{state, 15}, {directory, 17}, {mark, 18}} {
			c.request.Version = version
			err := a.Schema.Check(version, c.request.AppendTo(nil))
			require.Equal(t, version >= c.since, err == nil, "version %d, since %d: %v", version, c.since, err)
		}
	}
}

func TestSchemasAgreeWithKmsg(t *testing.T) {
	eachServed(func(a *wire.API, version int16, request kmsg.Request) {
		body := request.AppendTo(nil)
		if err := a.Schema.Check(version, body); err != nil {
			t.Errorf("key %d version %d: %v\n%x", a.Key, version, err, body)
			return
		}
		if a.Schema.IsFlexible(version) != request.IsFlexible() {
			t.Errorf("key %d version %d: flexible differs", a.Key, version)
		}
		got, err := decoderOf(a.Key)(a, version, body)
		if err != nil {
			t.Errorf("key %d version %d: %v", a.Key, version, err)
			return
		}
		if again := got.(kmsg.Request).AppendTo(nil); !bytes.Equal(again, body) {
			t.Errorf("key %d version %d changes when decoded:\n%x\n%x", a.Key, version, body, again)
		}
		for cut := range body {
			if a.Schema.Check(version, body[:cut]) == nil {
				t.Errorf("key %d version %d: passes when cut at %d of %d", a.Key, version, cut, len(body))
			}
		}
		if err := a.Schema.Check(version, append(slices.Clone(body), 1, 2, 3)); err != nil {
			t.Errorf("key %d version %d: bytes behind the body are ignored by Kafka: %v", a.Key, version, err)
		}
	})
}

func TestTrap04FlexibleEmptiesAndUnknownTags(t *testing.T) {
	// A tag that nobody knows, on every struct of a flexible request.
	body := []byte{3} // two topics
	for _, name := range []string{"a", "b"} {
		body = append(body, make([]byte, 16)...)
		body = kbin.AppendCompactString(body, name)
		body = append(body, 1, 77, 3, 'x', 'y', 'z')
	}
	body = append(body, 1, 0, 1, 99, 0) // booleans, and a tag without a value
	a := wire.FindAPI(3)
	got, err := decoderOf(a.Key)(a, 12, body)
	if err != nil || len(got.(*kmsg.MetadataRequest).Topics) != 2 {
		t.Fatalf("%v %v", got, err)
	}
	// Null and empty compact arrays differ.
	null, err := decoderOf(a.Key)(a, 12, []byte{0, 1, 0, 0})
	if err != nil || null.(*kmsg.MetadataRequest).Topics != nil {
		t.Fatalf("null: %v %v", null, err)
	}
	empty, err := decoderOf(a.Key)(a, 12, []byte{1, 1, 0, 0})
	if err != nil || empty.(*kmsg.MetadataRequest).Topics == nil {
		t.Fatalf("empty: %v %v", empty, err)
	}
}

func TestHostileLengthsAreRefusedBeforeDecoding(t *testing.T) {
	array := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for name, c := range map[string]struct {
		key, version int16
		body         []byte
	}{
		"array longer than its frame": {3, 1, append(array(1000), make([]byte, 1000)...)},
		"array of 2 billion":          {3, 1, append(array(1<<31-1), make([]byte, 100)...)},
		"negative array":              {3, 1, array(1<<32 - 2)},
		"compact array of 4 billion":  {3, 9, kbin.AppendUvarint(nil, 1<<32-1)},
		"negative string":             {3, 1, append(array(1), 0xff, 0xfe)},
		"null where none may be":      {3, 1, append(array(1), 0xff, 0xff)},
		"4 billion tags":              {3, 9, append([]byte{1, 0, 0, 0}, 0xff, 0xff, 0xff, 0xff, 0x0f)},
		"a tag longer than its frame": {3, 11, append([]byte{1, 0, 0}, 1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f)},
		"too many tags":               {3, 11, append(append([]byte{1, 0, 0}, kbin.AppendUvarint(nil, 200)...), bytes.Repeat([]byte{9, 0}, 200)...)},
		"tags of tags in a fetch":     {1, 17, fetchWithState(0xff, 0xff, 0xff, 0xff, 0x0f)},
		"a cursor that is cut off":    {75, 0, []byte{1, 0, 0, 0, 9, 1}},
		"2 billion names to delete":   {20, 1, append(array(1<<31-1), make([]byte, 64)...)},
		"2 billion config names":      {32, 1, append(append(array(1), 2, 0, 1, 't'), array(1<<31-1)...)},
		"2 billion replicas":          {37, 0, append(append(append(array(1), 0, 1, 't', 0, 0, 0, 9), array(1)...), array(1<<31-1)...)},
	} {
		a := wire.FindAPI(c.key)
		if a == nil {
			t.Fatalf("%s: no key %d", name, c.key)
		}
		if _, err := decoderOf(a.Key)(a, c.version, c.body); err == nil {
			t.Errorf("%s: is decoded", name)
		}
	}
}

// fetchWithState is a Fetch 17 whose replica state ends in the given tags.
func fetchWithState(tags ...byte) []byte {
	f := kmsg.NewPtrFetchRequest()
	f.Version = 17
	body := f.AppendTo(nil)
	body = body[:len(body)-1]
	state := append(make([]byte, 12), tags...)
	body = append(body, 1, 1)
	body = kbin.AppendUvarint(body, uint32(len(state)))
	return append(body, state...)
}

// TestDecodingCostsASmallMultipleOfTheFrame builds the worst frames that the schemas
// let pass, and measures.
func TestDecodingCostsASmallMultipleOfTheFrame(t *testing.T) {
	const size = 64 << 10
	for name, c := range map[string]struct {
		key, version int16
		head, unit   []byte
		tail         []byte
		count        func(n int) []byte
	}{
		"names to delete": {20, 4, nil, []byte{1}, []byte{0, 0, 0, 0, 0}, compactCount},
		"config names":    {32, 4, []byte{2, 2, 2, 't'}, []byte{1}, []byte{0, 0, 0, 0}, compactCount},
		"assignments":     {37, 2, []byte{2, 2, 't', 0, 0, 0, 9}, []byte{1, 0}, []byte{0, 0, 0, 0, 0, 0, 0}, compactCount},
		"topic configs":   {19, 5, []byte{2, 2, 't', 0, 0, 0, 1, 0, 1, 1}, []byte{1, 0, 0}, []byte{0, 0, 0, 0, 0, 0, 0}, compactCount},
		"new topics":      {19, 5, nil, []byte{1, 0, 0, 0, 0, 0, 0, 1, 1, 0}, []byte{0, 0, 0, 0, 0, 0}, compactCount},
		"resources":       {44, 1, nil, []byte{0, 1, 1, 0}, []byte{0, 0}, compactCount},
		"page topics":     {75, 0, nil, []byte{1, 0}, []byte{0, 0, 0, 0, 0xff, 0}, compactCount},
	} {
		n := size / len(c.unit)
		body := slices.Concat(c.head, c.count(n), bytes.Repeat(c.unit, n), c.tail)
		a := wire.FindAPI(c.key)
		if err := a.Schema.Check(c.version, body); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := decoderOf(a.Key)(a, c.version, body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		runtime.ReadMemStats(&after)
		if ratio := (after.TotalAlloc - before.TotalAlloc) / uint64(len(body)); ratio > 20 {
			t.Errorf("%s: decoding allocates %d times the frame", name, ratio)
		}
	}
}

func compactCount(n int) []byte { return kbin.AppendUvarint(nil, uint32(n)+1) }

func TestRequestHeaderIsBounded(t *testing.T) {
	c := &Codec{ProduceBytesMax: 1 << 20}
	for name, frame := range map[string][]byte{
		"cut off":          {0, 3, 0, 9, 0},
		"client id":        {0, 3, 0, 9, 0, 0, 0, 1, 0x7f, 0xff, 'x'},
		"4 billion tags":   {0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"unknown key":      {3, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0},
		"negative version": {0, 3, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff, 0},
	} {
		message, err := c.Decode(frame)
		if r, ok := message.(*Request); err != nil || !ok || r.fault == nil {
			t.Errorf("%s: is accepted", name)
		}
	}
}

func TestLongClientIDIsCut(t *testing.T) {
	c := &Codec{ProduceBytesMax: 1 << 20}
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(strings.Repeat("x", 2000))).AppendRequest(nil, metadataOf("t"), 1)[4:]
	message, err := c.Decode(frame)
	require.NoError(t, err)
	require.NoError(t, message.(*Request).fault)
	require.Len(t, message.(*Request).sentClientID, clientIDBytesMax)
}

// FuzzRequestFrame throws frames at the codec: no panic, and no allocation beyond a
// multiple of the frame.
func FuzzRequestFrame(f *testing.F) {
	eachServed(func(_ *wire.API, _ int16, request kmsg.Request) { f.Add(frameOf(request, 1)) })
	for version := int16(0); version <= 13; version++ {
		p := produceOf("topic", -1, 0, 1)
		p.Version = version
		f.Add(frameOf(p, 1))
	}
	f.Add(make([]byte, 4096))
	f.Add(fetchWithState(0xff, 0xff, 0xff, 0xff, 0x0f))
	c := &Codec{ProduceBytesMax: 1 << 20}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if c.Admit(len(frame), frame[:min(8, len(frame))]) != nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		message, err := c.Decode(frame)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatalf("the codec gave an error, not a request: %v", err)
		}
		r := message.(*Request)
		if r.fault == nil && r.Body == nil {
			t.Fatal("a request without a body and without a fault")
		}
		// A Produce request's batches may be opened to look at them: those have a
		// limit of their own. Other goroutines of the fuzzer allocate a little too.
		if spent := after.TotalAlloc - before.TotalAlloc; r.Key != produceKey && spent > uint64(64*len(frame)+1<<20) {
			t.Fatalf("%d bytes allocated for a frame of %d", spent, len(frame))
		}
	})
}

// TestOptionalStructsAreThereOrNot: for kmsg a struct is absent at -1 alone. At -2 it read one that nothing had checked, with as
// many tags as it said: here 2^32-1, a minute of a processor for 16 bytes.
func TestOptionalStructsAreThereOrNot(t *testing.T) {
	for there, fits := range map[byte]bool{0xff: true, 0xfe: false, 0x80: false} {
		body := []byte{1, 0, 0, 0, 9, there, 1, 9, 2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}
		err := wire.FindAPI(75).Schema.Check(0, body)
		require.Equal(t, fits, err == nil, "%#x: %v", there, err)
	}
}

// TestTagsThatTheSchemaNamesAreNotCounted: a replica that fetches sends one for each partition.
func TestTagsThatTheSchemaNamesAreNotCounted(t *testing.T) {
	q := kmsg.NewPtrFetchRequest()
	q.Version = 18
	topic := kmsg.NewFetchRequestTopic()
	for range wire.UnknownTagsMax + 1 {
		p := kmsg.NewFetchRequestTopicPartition()
		p.HighWatermark = 4
		topic.Partitions = append(topic.Partitions, p)
	}
	q.Topics = append(q.Topics, topic)
	require.NoError(t, wire.FindAPI(fetchRequestKey).Schema.Check(q.Version, q.AppendTo(nil)))
}
