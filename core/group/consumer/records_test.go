package consumer

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/metadata"
)

var (
	topic1 = metadata.TopicID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	topic2 = metadata.TopicID{17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32}
)

// golden are the records in testdata/records.txt, which Apache Kafka 4.4.0 encoded.
var golden = map[string]struct {
	key   Key
	value value
}{
	"metadata":           {Key{TypeGroup, "group-a", ""}, groupValue{7, 0x1122334455667788}},
	"metadata-default":   {Key{TypeGroup, "group-a", ""}, groupValue{7, 0}},
	"partition-metadata": {Key{TypePartitions, "group-a", ""}, nil},
	"member": {Key{TypeMember, "group-a", "member-1"}, memberValue{Metadata{
		InstanceID: "i1", Rack: "r1", ClientID: "client", ClientHost: "/127.0.0.1", Topics: []string{"a", "b"}, Expression: "x.*",
		RebalanceTimeoutMillis: 300000, Assignor: "range",
		Classic: &Classic{45000, []ClassicProtocol{{"range", []byte{1, 2, 3}}}},
	}}},
	"target-metadata":         {Key{TypeTarget, "group-a", ""}, targetValue{9, 1234567890123}},
	"target-metadata-default": {Key{TypeTarget, "group-a", ""}, targetValue{9, 0}},
	"target-member": {Key{TypeTargetOf, "group-a", "member-1"}, targetOfValue{Assignment{
		{Topic: topic1, Partitions: []int32{0, 1, 300}}, {Topic: topic2, Partitions: []int32{2}},
	}}},
	"current": {Key{TypeCurrent, "group-a", "member-1"}, currentValue{
		epoch: 11, previous: 10, state: Unrevoked,
		assigned: Assignment{{topic1, []int32{0, 1}, []int32{5, 11}}}, revoking: Assignment{{topic2, []int32{4}, []int32{3}}},
	}},
	"regex": {Key{TypeExpression, "group-a", "x.*"}, expressionValue{Resolved{[]string{"x1", "x2"}, 42, 1234567890123}}},
}

func readGolden(t *testing.T) map[string][2]string {
	text, err := os.ReadFile("testdata/records.txt")
	require.NoError(t, err)
	all := map[string][2]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		f := strings.Fields(line)
		all[f[0]] = [2]string{f[1], f[2]}
	}
	return all
}

func TestRecordsAsKafka(t *testing.T) {
	text := readGolden(t)
	for name, want := range golden {
		e := entry(want.key, want.value)
		require.Equal(t, text[name][0], hex.EncodeToString(e.Key), name)
		k, ok, err := ParseKey(e.Key)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want.key, k)
		if want.value == nil {
			require.Equal(t, "-", text[name][1])
			require.Nil(t, e.Value)
			continue
		}
		require.Equal(t, text[name][1], hex.EncodeToString(e.Value), name)
		// What is applied is written again with the same bytes.
		g := NewGroup("group-a")
		require.NoError(t, g.Apply(k, e.Value))
		require.False(t, g.Gone())
		require.Equal(t, []byte(e.Value), g.Rewrite()[0].Value, name)
	}
}

// Kafka before 4.3 wrote no assignment epochs; null strings are empty ones.
func TestRecordsOfOlderReleases(t *testing.T) {
	text := readGolden(t)
	read := func(name string, into interface{ decode(*decoder) }) {
		data, err := hex.DecodeString(text[name][1])
		require.NoError(t, err)
		require.NoError(t, decode(data, into))
	}
	var c currentValue
	read("current-no-epochs", &c)
	require.Equal(t, Assignment{{topic1, []int32{0, 1}, []int32{11, 11}}}, c.assigned)
	var m memberValue
	read("member-default", &m)
	require.Equal(t, Metadata{ClientID: "client", ClientHost: "/127.0.0.1", RebalanceTimeoutMillis: -1}, m.Metadata)
}

// Whatever a record holds, it is read or refused: nothing panics, and no count makes it allocate without bound.
func TestRecordsHostile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := readHostile()
		name := rapid.SampledFrom(text).Draw(t, "record")
		data := append([]byte{}, name...)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
			data[at] = rapid.Byte().Draw(t, "to")
		}
		data = data[:rapid.IntRange(0, len(data)).Draw(t, "length")]
		for _, into := range []interface{ decode(*decoder) }{&groupValue{}, &memberValue{}, &targetValue{}, &targetOfValue{}, &currentValue{}, &expressionValue{}} {
			_ = decode(data, into)
		}
		_, _, _ = ParseKey(data)
	})
}

func readHostile() (all [][]byte) {
	for _, name := range sortedKeys(golden) {
		if v := golden[name].value; v != nil {
			all = append(all, entry(golden[name].key, v).Value)
		}
	}
	return all
}

func TestUnknownVersionIsRefused(t *testing.T) {
	g := NewGroup("g")
	require.ErrorIs(t, g.Apply(Key{TypeGroup, "g", ""}, []byte{0, 1, 0, 0, 0, 1, 0}), ErrRecord)
	require.ErrorIs(t, g.Apply(Key{TypeGroup, "g", ""}, []byte{0}), ErrRecord)
}
