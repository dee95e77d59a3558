package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/metadata"
	"weir/core/wire"
)

// A string of a request may have 32 KiB, where no topic has more than 249 bytes: what is done with a name must not be done
// for each of its partitions, nor be kept.

var longName = strings.Repeat("x", 32767)

func TestSessionsKeepNoNamesThatNoTopicHas(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 1)
	ask := func(name string, session, epoch int32) *kmsg.FetchResponse {
		q := kmsg.NewPtrFetchRequest()
		q.Version, q.SessionID, q.SessionEpoch, q.MaxBytes = 12, session, epoch, 1<<20
		q.Topics = []kmsg.FetchRequestTopic{{Topic: name, Partitions: []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}}}
		q.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: name + "y", Partitions: []int32{0}}}
		x := &trade{t: t, v: 12}
		r.plane.fetch(x, q)
		r.turn()
		return x.fetched()
	}
	opened := ask(longName, 0, 0)
	require.Zero(t, opened.SessionID, "none is made")
	require.EqualValues(t, wire.UnknownTopicOrPartition, opened.Topics[0].Partitions[0].ErrorCode)

	longest := ask(longName[:metadata.TopicNameBytesMax], 0, 0)
	require.NotZero(t, longest.SessionID)
	require.EqualValues(t, wire.FetchSessionIDNotFound, ask(longName, longest.SessionID, 1).ErrorCode)
	require.Empty(t, r.plane.sessions.byID)
	require.Zero(t, r.plane.sessions.parts)
}

// TestProduceDoesNotCopyALongNameForEachPartition: it took the loop a copy of 32 KiB for each six bytes of a request.
func TestProduceDoesNotCopyALongNameForEachPartition(t *testing.T) {
	r := newDataRig(t)
	name := []byte(longName)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, code := r.plane.find(false, metadata.TopicID{}, name, 0); code != wire.UnknownTopicOrPartition {
			t.Errorf("code %d", code)
		}
	}))
}

func TestPartitionsAreFoundAgainWhateverTheOrderOfTopics(t *testing.T) {
	asked := newOnceEach()
	for i, name := range []string{"", longName, "", strings.Clone(longName), longName + "y", longName} {
		asked.add(name, 7, int64(i)).epoch = int32(i)
		asked.add(name, int32(i), 0)
	}
	var got []string
	for _, topic := range asked.topics {
		for _, p := range topic.partitions {
			got = append(got, fmt.Sprint(len(topic.name), " ", p.index, " ", p.offset, " ", p.repeated))
		}
	}
	require.Equal(t, []string{
		"0 7 2 true", "0 0 0 false", "0 2 0 false", "32767 7 5 true", "32767 1 0 false", "32767 3 0 false",
		"32767 5 0 false", "32768 7 4 false", "32768 4 0 false",
	}, got)
}

func TestFetchedPartitionsAreReplacedWhateverTheOrderOfTopics(t *testing.T) {
	q := kmsg.NewPtrFetchRequest()
	q.Version = 12
	for i, name := range []string{"b", "a", "b"} {
		q.Topics = append(q.Topics, kmsg.FetchRequestTopic{Topic: strings.Clone(name), Partitions: []kmsg.FetchRequestTopicPartition{{Partition: 1, FetchOffset: int64(i)}}})
	}
	parts := fetchPartsOf(q, false)
	require.Len(t, parts, 2)
	require.EqualValues(t, 2, parts[0].offset)
	require.EqualValues(t, 1, parts[1].offset)
}

// BenchmarkPartitionsOfALongName is what a megabyte of partitions under one long name costs the loop.
func BenchmarkPartitionsOfALongName(b *testing.B) {
	for b.Loop() {
		asked := newOnceEach()
		for index := range int32(250_000) {
			asked.add(longName, index, 0)
		}
	}
}
