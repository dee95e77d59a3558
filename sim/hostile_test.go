package sim

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"weir/core/node"
	"weir/core/record"
	"weir/core/wire"
	"weir/sim/checker"
	"weir/sim/network"
	"weir/sim/plan"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A stranger sends any request to a node that has topics, groups of both protocols with members, and open transactions. The
// node must answer or hang up in bounded time and memory, serve the next client, and load its coordinators after a crash.

const (
	strangersMax = 40 // requests to one node
	restartEvery = 20 // requests
	// answerLimit is how long an answer may take, in virtual time, and parkLimit that of requests that may wait for
	// others: then the client hangs up.
	answerLimit = 3 * time.Minute
	parkLimit   = 5 * time.Second
	// spentMax is what a request may make the process allocate, beside spentFactor times its size.
	spentMax    = 96 << 20
	spentFactor = 64
	// requestBytesMax is what the fuzzer builds; the node refuses what is larger, but for Produce.
	requestBytesMax = 1 << 20
)

// victim is a node and what a client would know of it.
type victim struct {
	t        testing.TB
	w        *world
	requests [][]byte // so far, for the report
	size     int      // of the request that is being changed
	copies   int      // of the fields within slices that were changed

	topics   map[string][16]byte
	members  map[string]string // by group
	epochs   map[string]int32  // generation or member epoch, by group
	producer int64             // of the open transaction
	epoch    int16
}

// newVictim starts a node with state of every kind.
func newVictim(t testing.TB) *victim {
	p := &plan.Plan{}
	p.Config.CleanBytes, p.Config.WALBytes = 64<<10, 4<<20
	v := &victim{t: t, w: newWorld(1, p, Options{Build: realNode}), topics: map[string][16]byte{}, members: map[string]string{}, epochs: map[string]int32{}}
	v.boot()
	v.createTopics()
	v.fillGroups()
	v.beginTransaction()
	return v
}

func (v *victim) boot() {
	v.guard(func() {
		v.w.boot()
		v.w.await(startLimit, "the start", v.w.ready)
	})
}

// restart kills the node and starts it again: it reads what the strangers have left in its logs.
func (v *victim) restart() {
	v.guard(func() { v.w.crash(false) })
	v.boot()
	v.serves()
}

// guard runs a piece of the world and reports what went wrong there.
func (v *victim) guard(f func()) {
	v.t.Helper()
	v.w.guard(f)
	if v.w.violated() {
		v.fail("%v", v.w.violations[0])
	}
	if v.w.failures > 0 {
		v.fail("the node gave up: %v", v.w.lastError())
	}
}

func (v *victim) fail(format string, args ...any) {
	v.t.Helper()
	v.saveRequests()
	last := v.requests[max(0, len(v.requests)-3):]
	text := ""
	for _, r := range last {
		text += fmt.Sprintf("\n%x", r[:min(len(r), 2000)])
	}
	v.t.Fatalf("%s\nafter %d requests, the last ones:%s\n%s", fmt.Sprintf(format, args...), len(v.requests), text, strings.Join(v.w.logTail(), "\n"))
}

// saveRequests writes the requests to one node to the file that WEIR_HOSTILE_REQUESTS names.
func (v *victim) saveRequests() {
	path := os.Getenv("WEIR_HOSTILE_REQUESTS")
	if path == "" {
		return
	}
	var b strings.Builder
	for _, r := range v.requests {
		fmt.Fprintln(&b, hex.EncodeToString(r))
	}
	os.WriteFile(path, []byte(b.String()), 0o644)
}

// patience is how long a request may take: less than what ends a worker of the fuzzer, without a word, after ten seconds.
func (v *victim) patience() time.Duration {
	if worker := flag.Lookup("test.fuzzworker"); worker != nil && worker.Value.String() == "true" {
		return 8 * time.Second
	}
	return 2 * time.Minute
}

// caller is a connection for one request.
type caller struct {
	frame    []byte
	answer   []byte
	answered bool
	closed   bool
}

func (c *caller) Connected(conn *network.Conn) { conn.Send(c.frame) }
func (c *caller) Received(_ *network.Conn, frame []byte) {
	c.answer, c.answered = append([]byte(nil), frame...), true
}
func (c *caller) Closed(*network.Conn, error) { c.closed = true }

// send sends a frame on a connection of its own, and waits for the answer or the end of the connection.
func (v *victim) send(frame []byte, limit time.Duration) *caller {
	v.t.Helper()
	c := &caller{frame: frame}
	v.guard(func() {
		conn := v.w.net.Dial(1, "broker:9092", c)
		v.w.run(limit, func() bool { return c.answered || c.closed })
		conn.Close()
		v.w.run(100*time.Millisecond, never)
	})
	return c
}

var hostileFormat = kmsg.NewRequestFormatter(kmsg.FormatterClientID("stranger"))

// ask sends a request that must be answered.
func (v *victim) ask(r kmsg.Request) kmsg.Response {
	v.t.Helper()
	c := v.send(hostileFormat.AppendRequest(nil, r, 1)[4:], answerLimit)
	if !c.answered {
		v.fail("%s of version %d is not answered", kmsg.NameForKey(r.Key()), r.GetVersion())
	}
	body := c.answer[4:]
	if r.IsFlexible() && r.Key() != 18 {
		body = body[1:]
	}
	answer := r.ResponseKind()
	require.NoError(v.t, answer.ReadFrom(body))
	return answer
}

func (v *victim) createTopics() {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version, r.TimeoutMillis = 7, 10_000
	for _, name := range []string{"t", "u"} {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, 3, 1
		r.Topics = append(r.Topics, t)
	}
	for _, t := range v.ask(r).(*kmsg.CreateTopicsResponse).Topics {
		require.Zero(v.t, t.ErrorCode)
		v.topics[t.Topic] = t.TopicID
	}
}

// TestRecordsThatAreAppliedTogetherAreToldOnce: each time its parts are told, they look at what they have.
func TestRecordsThatAreAppliedTogetherAreToldOnce(t *testing.T) {
	v := newVictim(t)
	marks := v.w.brokers[0].machine.Node().(*node.Node).Telemetry()
	told := marks.Mark("node: its parts were told of records")
	before := told.Hits
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version, r.TimeoutMillis = 7, 10_000
	for i := range 50 {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("together-%d", i), 1, 1
		r.Topics = append(r.Topics, topic)
	}
	for _, topic := range v.ask(r).(*kmsg.CreateTopicsResponse).Topics {
		require.Zero(t, topic.ErrorCode)
	}
	require.Positive(t, told.Hits-before)
	require.Less(t, told.Hits-before, int64(10))
}

// until repeats a request while its coordinator comes to be.
func (v *victim) until(r kmsg.Request, code func(kmsg.Response) int16) kmsg.Response {
	v.t.Helper()
	for range 200 {
		answer := v.ask(r)
		switch c := code(answer); c {
		case wire.CoordinatorLoadInProgress, wire.CoordinatorNotAvailable, wire.NotCoordinator, wire.LeaderNotAvailable, wire.NotLeaderOrFollower, wire.ConcurrentTransactions:
			v.guard(func() { v.w.run(200*time.Millisecond, never) })
		default:
			require.Zero(v.t, c, "%s: %s", kmsg.NameForKey(r.Key()), checker.CodeName(c))
			return answer
		}
	}
	v.fail("%s does not come to an end", kmsg.NameForKey(r.Key()))
	return nil
}

func (v *victim) findCoordinators() {
	for kind, key := range []string{"classic", "open"} {
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.Version, r.CoordinatorType, r.CoordinatorKey = 3, int8(kind), key
		v.until(r, func(a kmsg.Response) int16 { return a.(*kmsg.FindCoordinatorResponse).ErrorCode })
	}
}

func (v *victim) fillGroups() {
	v.findCoordinators()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 3, "classic", "consumer", 1_700_000, 1000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", subscriptionTo("t")
	join.Protocols = append(join.Protocols, p)
	joined := v.until(join, func(a kmsg.Response) int16 { return a.(*kmsg.JoinGroupResponse).ErrorCode }).(*kmsg.JoinGroupResponse)
	v.members["classic"], v.epochs["classic"] = joined.MemberID, joined.Generation
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 3, "classic", joined.MemberID, joined.Generation
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: []byte("assignment")}}
	v.until(sync, func(a kmsg.Response) int16 { return a.(*kmsg.SyncGroupResponse).ErrorCode })

	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Version, beat.Group, beat.MemberID, beat.RebalanceTimeoutMillis = 1, "consumer", "AAAAAAAAAAAAAAAAAAAAAQ", 10_000
	beat.SubscribedTopicNames, beat.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	beaten := v.until(beat, func(a kmsg.Response) int16 { return a.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode }).(*kmsg.ConsumerGroupHeartbeatResponse)
	v.members["consumer"], v.epochs["consumer"] = beat.MemberID, beaten.MemberEpoch

	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group, commit.Generation = 8, "simple", -1
	commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 3, LeaderEpoch: -1}}}}
	v.until(commit, func(a kmsg.Response) int16 { return a.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode })
}

func subscriptionTo(topic string) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Topics = []string{topic}
	return s.AppendTo(nil)
}

func (v *victim) beginTransaction() {
	initial := kmsg.NewPtrInitProducerIDRequest()
	initial.Version, initial.TransactionalID, initial.TransactionTimeoutMillis, initial.ProducerID, initial.ProducerEpoch = 4, kmsg.StringPtr("open"), 800_000, -1, -1
	got := v.until(initial, func(a kmsg.Response) int16 { return a.(*kmsg.InitProducerIDResponse).ErrorCode }).(*kmsg.InitProducerIDResponse)
	v.producer, v.epoch = got.ProducerID, got.ProducerEpoch
	produce := kmsg.NewPtrProduceRequest()
	produce.Version, produce.Acks, produce.TimeoutMillis, produce.TransactionID = 12, -1, 1000, kmsg.StringPtr("open")
	produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: v.batch(true)}}}}
	v.until(produce, func(a kmsg.Response) int16 { return a.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode })
	stage := kmsg.NewPtrTxnOffsetCommitRequest()
	stage.Version, stage.TransactionalID, stage.Group, stage.ProducerID, stage.ProducerEpoch, stage.Generation = 5, "open", "staged", v.producer, v.epoch, -1
	stage.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: 0, Offset: 3, LeaderEpoch: -1}}}}
	v.until(stage, func(a kmsg.Response) int16 {
		return a.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
	})
}

func (v *victim) batch(transactional bool) []byte {
	b := &record.Builder{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	if transactional {
		b = &record.Builder{ProducerID: v.producer, ProducerEpoch: v.epoch, Transactional: true}
	}
	return b.AppendBatch(nil, []record.Record{{Timestamp: 1_790_000_000_000, Key: []byte("key"), Value: []byte("value")}})
}

// strike sends a hostile frame and checks what must hold.
func (v *victim) strike(key int16, frame []byte) {
	v.t.Helper()
	v.requests = append(v.requests, frame)
	limit := answerLimit
	if mayPark(key) {
		limit = parkLimit
	}
	before := allocated()
	watchdog := time.AfterFunc(v.patience(), func() {
		v.saveRequests()
		debug.SetTraceback("all")
		panic(fmt.Sprintf("a request is never over: %x", frame[:min(len(frame), 2000)]))
	})
	c := v.send(frame, limit)
	watchdog.Stop()
	if spent := allocated() - before; spent > uint64(spentMax+spentFactor*len(frame)) {
		v.fail("%d bytes were allocated for a frame of %d", spent, len(frame))
	}
	if !c.answered && !c.closed && !mayPark(key) {
		v.fail("no answer within %v", limit)
	}
	if len(v.requests)%restartEvery == 0 {
		v.restart()
		return
	}
	v.serves()
}

// mayPark reports whether a request may wait for something else to happen, or has no answer.
func mayPark(key int16) bool { return key == 0 || key == 1 || key == 11 || key == 14 }

// serves checks that a client which asks for nothing special is served.
func (v *victim) serves() {
	v.t.Helper()
	v.findCoordinators()
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version, fetch.Group = 5, "bystander"
	fetch.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	v.until(fetch, func(a kmsg.Response) int16 { return a.(*kmsg.OffsetFetchResponse).ErrorCode })
	if failed := v.w.brokers[0].metrics.Value("weir_coordinator_failed_total"); failed.Sum > 0 {
		v.fail("a coordinator stopped")
	}
}

// worn reports whether the strangers have changed so much that the next should find a new node.
func (v *victim) worn() bool {
	n, ok := v.w.brokers[0].machine.Node().(*node.Node)
	if !ok || len(v.requests) >= strangersMax {
		return true
	}
	_, t := n.Image().Topic("t")
	return !t
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// victims keeps one node for many inputs.
type victims struct{ current *victim }

func (k *victims) next(t testing.TB) *victim {
	if k.current == nil || k.current.t.Failed() || k.current.worn() {
		k.current = newVictim(t)
	}
	k.current.t = t
	return k.current
}

// request returns a request as a client that knows the node would send it.
func (v *victim) request(key, version int16) kmsg.Request {
	r := kmsg.RequestForKey(key)
	v.copies = 1
	r.SetVersion(version)
	v.fill(reflect.ValueOf(r).Elem(), key, "")
	r.SetVersion(version)
	return r
}

var (
	tagsType    = reflect.TypeFor[kmsg.Tags]()
	hostileKeys = wire.APIs[:]
)

// fill sets each field to what its name asks for.
func (v *victim) fill(at reflect.Value, key int16, name string) {
	switch at.Kind() {
	case reflect.Struct:
		if at.Type() == tagsType {
			return
		}
		if d := at.Addr().MethodByName("Default"); d.IsValid() {
			d.Call(nil)
		}
		for i := range at.NumField() {
			if f := at.Type().Field(i).Name; f != "Version" && f != "UnknownTags" {
				v.fill(at.Field(i), key, f)
			}
		}
	case reflect.Pointer:
		if name == "InstanceID" || name == "Cursor" {
			return
		}
		at.Set(reflect.New(at.Type().Elem()))
		v.fill(at.Elem(), key, name)
	case reflect.Slice:
		if at.Type().Elem().Kind() == reflect.Uint8 {
			at.SetBytes(v.bytes(name))
			return
		}
		at.Set(reflect.MakeSlice(at.Type(), 1, 1))
		v.fill(at.Index(0), key, name)
	case reflect.Array:
		at.Set(reflect.ValueOf(v.topics["t"]).Convert(at.Type()))
	case reflect.String:
		at.SetString(v.text(key, name))
	case reflect.Bool:
		at.SetBool(name == "Committed" || name == "Commit")
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		at.SetInt(v.number(key, name, at.Int()))
	}
}

func (v *victim) bytes(name string) []byte {
	switch name {
	case "Records":
		return v.batch(false)
	case "Metadata", "ProtocolMetadata":
		return subscriptionTo("t")
	}
	return []byte("bytes")
}

func (v *victim) group(key int16) string {
	switch key {
	case 68, 69:
		return "consumer"
	case 42, 47:
		return "simple"
	case 25, 28:
		return "staged"
	}
	return "classic"
}

func (v *victim) text(key int16, name string) string {
	switch {
	case strings.Contains(name, "Group"):
		return v.group(key)
	case name == "MemberID" && (key == 28 || key == 25):
		return ""
	case name == "MemberID":
		return v.members[v.group(key)]
	case strings.HasPrefix(name, "Transaction"):
		return "open"
	case strings.HasPrefix(name, "Topic"), name == "ResourceName", name == "SubscribedTopicNames":
		return "t"
	case strings.HasPrefix(name, "CoordinatorKey"):
		return "classic"
	case name == "Protocol":
		return "range"
	case name == "ProtocolType":
		return "consumer"
	case name == "ServerAssignor":
		return "uniform"
	case strings.Contains(name, "Regex"), strings.Contains(name, "Pattern"):
		return "t.*"
	case name == "Feature":
		return "transaction.version"
	case name == "StateFilters":
		return "Ongoing"
	case name == "StatesFilter":
		return "Stable"
	case name == "TypesFilter":
		return "classic"
	case key == 11 && name == "Name":
		return "range"
	case name == "Name", name == "ConfigNames":
		return "retention.ms"
	case name == "Value":
		return "100000000"
	}
	return name
}

func (v *victim) number(key int16, name string, standard int64) int64 {
	switch name {
	case "ProducerID":
		return v.producer
	case "ProducerEpoch":
		return int64(v.epoch)
	case "Generation", "MemberEpoch", "GenerationID":
		if key == 28 {
			return -1
		}
		return int64(v.epochs[v.group(key)])
	case "TimeoutMillis", "RebalanceTimeoutMillis", "TransactionTimeoutMillis", "MaxBytes", "PartitionMaxBytes":
		return 10_000
	case "SessionTimeoutMillis":
		return 100_000
	case "MaxWaitMillis":
		return 100
	case "NumPartitions", "ReplicationFactor", "MinBytes", "Acks":
		return 1
	case "Count":
		return 4
	case "ResourceType":
		return 2
	case "ReplicaID", "CurrentLeaderEpoch", "LeaderEpoch", "SessionEpoch", "Timestamp", "DurationFilterMillis", "RetentionTimeMillis":
		return -1
	case "TransactionVersion", "UpgradeType", "FeatureLevel", "MaxVersionLevel":
		return 2
	case "ResponsePartitionLimit":
		return 10
	case "EndpointType":
		return 1
	}
	return standard
}

// field is a place in a request.
type field struct{ at reflect.Value }

// fieldsOf lists the places of a request, arrays and their first elements too.
func fieldsOf(at reflect.Value, all []field) []field {
	switch at.Kind() {
	case reflect.Struct:
		if at.Type() == tagsType {
			return all
		}
		for i := range at.NumField() {
			if f := at.Type().Field(i).Name; f != "Version" && f != "UnknownTags" {
				all = fieldsOf(at.Field(i), all)
			}
		}
		return all
	case reflect.Pointer:
		all = append(all, field{at})
		if !at.IsNil() && at.Elem().Kind() == reflect.Struct {
			return fieldsOf(at.Elem(), all)
		}
		return all
	case reflect.Slice:
		all = append(all, field{at})
		if at.Type().Elem().Kind() != reflect.Uint8 {
			for i := range min(at.Len(), 3) {
				all = fieldsOf(at.Index(i), all)
			}
		}
		return all
	}
	return append(all, field{at})
}

// mutate changes one place of a request.
func (v *victim) mutate(f field, kind byte) {
	at := f.at
	if !at.CanSet() {
		return
	}
	switch at.Kind() {
	case reflect.Pointer:
		if kind%4 == 0 {
			at.SetZero()
			return
		}
		if at.IsNil() {
			at.Set(reflect.New(at.Type().Elem()))
		}
		if at.Elem().Kind() != reflect.Struct {
			v.mutate(field{at.Elem()}, kind)
		}
	case reflect.Bool:
		at.SetBool(!at.Bool())
	case reflect.String:
		if text := v.hostileText(kind); v.fits(len(text)) {
			at.SetString(text)
		}
	case reflect.Array:
		at.SetZero()
		if kind%2 == 0 {
			at.Index(0).SetUint(uint64(kind))
		}
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		at.SetInt(hostileNumber(at.Int(), kind, at.Type().Bits()))
	case reflect.Slice:
		v.mutateSlice(at, kind)
	}
}

// fits reports whether a request may have so many bytes in each copy of a field: what is far too long takes gigabytes to encode.
func (v *victim) fits(bytes int) bool { return bytes*v.copies <= 2*requestBytesMax }

func hostileNumber(n int64, kind byte, bits int) int64 {
	lowest, highest := int64(math.MinInt64>>(64-bits)), int64(math.MaxInt64>>(64-bits))
	numbers := []int64{-1, 0, 1, 2, 3, n + 1, n - 1, lowest, highest, highest - 1, lowest + 1, highest / 2, -2, 7, 100, 1000, 32767, 1 << 20}
	return numbers[int(kind)%len(numbers)]
}

func (v *victim) hostileText(kind byte) string {
	texts := []string{
		"", "t", "u", "classic", "consumer", "simple", "staged", "open", v.members["classic"], v.members["consumer"], "__consumer_offsets", "__transaction_state",
		"absent", "a b", "\xff\xfe", "..", strings.Repeat("x", 249), strings.Repeat("y", 32_767), strings.Repeat("(a*)*", 300), "(((((((((((x{1,1000}){1,1000})", ".*", "[[:^ascii:]]", "range", "uniform",
		"cleanup.policy", "compact", "-1", "\u0000", "𝒳", "__cluster_metadata", "another", "transaction.version", "group.version", "metadata.version", "PrepareCommit", "Empty", "consumer.session.timeout.ms",
	}
	return texts[int(kind)%len(texts)]
}

func (v *victim) mutateSlice(at reflect.Value, kind byte) {
	if at.Type().Elem().Kind() == reflect.Uint8 {
		switch kind % 5 {
		case 0:
			at.SetZero()
		case 1:
			at.SetBytes([]byte{})
		case 2:
			if v.fits(200_000) {
				at.SetBytes(make([]byte, 200_000))
			}
		case 3:
			at.SetBytes(v.batch(true))
		case 4:
			b := append([]byte(nil), at.Bytes()...)
			for i := range b {
				if i%7 == int(kind)%7 {
					b[i] ^= kind
				}
			}
			at.SetBytes(b)
		}
		return
	}
	switch kind % 6 {
	case 0:
		at.SetZero()
	case 1:
		at.Set(reflect.MakeSlice(at.Type(), 0, 0))
	case 2, 3:
		if at.Len() > 0 {
			at.Set(reflect.Append(at, at.Index(0)))
		}
	case 4:
		if n := min(100*int(kind), requestBytesMax/max(1, v.size)); at.Len() > 0 && n > 0 { // the same again and again
			many := reflect.MakeSlice(at.Type(), 0, n)
			for range n {
				many = reflect.Append(many, at.Index(0))
			}
			at.Set(many)
			v.copies *= n
		}
	case 5:
		at.Set(reflect.MakeSlice(at.Type(), 2, 2))
	}
}

// frameOfBody is a frame with a body of any bytes.
func frameOfBody(key, version int16, body []byte) []byte {
	frame := binary.BigEndian.AppendUint16(nil, uint16(key))
	frame = binary.BigEndian.AppendUint16(frame, uint16(version))
	frame = append(frame, 0, 0, 0, 1, 0, 1, 's')
	if a := wire.FindAPI(key); a != nil && a.Schema.IsFlexible(version) {
		frame = append(frame, 0)
	}
	return append(frame, body...)
}

// FuzzRequestBody sends any body under any key and version.
func FuzzRequestBody(f *testing.F) {
	seeds := newVictim(f)
	for i := range hostileKeys {
		for version := hostileKeys[i].Min; version <= hostileKeys[i].Max; version++ {
			f.Add(hostileKeys[i].Key, version, seeds.request(hostileKeys[i].Key, version).AppendTo(nil))
		}
	}
	var all victims
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if len(body) > requestBytesMax {
			return
		}
		all.next(t).strike(key, frameOfBody(key, version, body))
	})
}

// FuzzRequestFields changes fields of requests that a client of the node would send: three bytes for each change.
func FuzzRequestFields(f *testing.F) {
	for i := range hostileKeys {
		for version := hostileKeys[i].Min; version <= hostileKeys[i].Max; version++ {
			f.Add(byte(i), byte(version-hostileKeys[i].Min), []byte{})
			f.Add(byte(i), byte(version-hostileKeys[i].Min), []byte{0, byte(version), 7, 1, 0, 4})
		}
	}
	var all victims
	f.Fuzz(func(t *testing.T, api, version byte, changes []byte) {
		a := &hostileKeys[int(api)%len(hostileKeys)]
		v := all.next(t)
		r := v.request(a.Key, a.Min+int16(version)%(a.Max-a.Min+1))
		for ; len(changes) >= 3; changes = changes[3:] {
			fields := fieldsOf(reflect.ValueOf(r).Elem(), nil)
			if len(fields) == 0 {
				break
			}
			at := int(binary.BigEndian.Uint16(changes)) % len(fields)
			v.size = len(r.AppendTo(nil))
			if v.size > requestBytesMax {
				return
			}
			v.mutate(fields[at], changes[2])
		}
		body := r.AppendTo(nil)
		if len(body) > requestBytesMax {
			return
		}
		v.strike(a.Key, frameOfBody(a.Key, r.GetVersion(), body))
	})
}
