package main

import (
	"encoding/binary"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	latestOffset = -1 // the timestamp of ListOffsets that asks for the end

	// Places in a record batch, of magic 2.
	batchLastDeltaAt = 23
	batchHeaderBytes = 61
)

// nullTail keeps batches in memory and gives them to whoever fetches: the bound of what any broker could reach in tail reads with this
// client. It forgets nothing.
type nullTail struct {
	mutex   sync.Mutex
	logs    map[nullPartition]*nullLog
	changed chan struct{} // closed, and replaced, when something is appended while somebody waits
	waited  bool
}

type nullPartition struct {
	topic [16]byte
	index int32
}

// nullLog is one partition. Each element of a slice is a batch.
type nullLog struct {
	ends    []int64 // offsets behind the batches
	batches [][]byte
}

func newNullTail() *nullTail {
	return &nullTail{logs: map[nullPartition]*nullLog{}, changed: make(chan struct{})}
}

func (t *nullTail) log(p nullPartition) *nullLog {
	l := t.logs[p]
	if l == nil {
		l = &nullLog{}
		t.logs[p] = l
	}
	return l
}

func (l *nullLog) end() int64 {
	if len(l.ends) == 0 {
		return 0
	}
	return l.ends[len(l.ends)-1]
}

// end is the offset behind the last record of a partition.
func (t *nullTail) end(p nullPartition) int64 {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.log(p).end()
}

// append takes one batch, which the request lends, and returns the offset of its first record.
func (t *nullTail) append(p nullPartition, batch []byte) int64 {
	if len(batch) < batchHeaderBytes {
		return -1
	}
	batch = append([]byte(nil), batch...)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	l := t.log(p)
	base := l.end()
	binary.BigEndian.PutUint64(batch, uint64(base))
	l.ends = append(l.ends, base+int64(binary.BigEndian.Uint32(batch[batchLastDeltaAt:]))+1)
	l.batches = append(l.batches, batch)
	if t.waited {
		close(t.changed)
		t.changed, t.waited = make(chan struct{}), false
	}
	return base
}

// fetchTail answers with what there is, or waits for something as long as the client lets it.
func (b *nullBroker) fetchTail(request *kmsg.FetchRequest) kmsg.Response {
	over := time.After(time.Duration(request.MaxWaitMillis) * time.Millisecond)
	for {
		response, bytes, changed := b.tail.read(request, b.idOf)
		if bytes >= int(request.MinBytes) {
			return response
		}
		select {
		case <-changed:
		case <-over:
			return response
		}
	}
}

// read gathers batches within the limits of a request; the channel is closed once there are more.
func (t *nullTail) read(request *kmsg.FetchRequest, idOf func(string, [16]byte) [16]byte) (_ *kmsg.FetchResponse, bytes int, changed <-chan struct{}) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	response := kmsg.NewPtrFetchResponse()
	for i := range request.Topics {
		from, topic := &request.Topics[i], kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = from.Topic, from.TopicID
		for j := range from.Partitions {
			asked, partition := &from.Partitions[j], kmsg.NewFetchResponseTopicPartition()
			l := t.log(nullPartition{idOf(from.Topic, from.TopicID), asked.Partition})
			partition.Partition, partition.HighWatermark, partition.LastStableOffset = asked.Partition, l.end(), l.end()
			partition.RecordBatches = l.from(asked.FetchOffset, min(int(asked.PartitionMaxBytes), int(request.MaxBytes)-bytes))
			bytes += len(partition.RecordBatches)
			topic.Partitions = append(topic.Partitions, partition)
		}
		response.Topics = append(response.Topics, topic)
	}
	t.waited = true
	return response, bytes, t.changed
}

// from returns batches from an offset on, up to a limit.
func (l *nullLog) from(offset int64, most int) (all []byte) {
	for i := sort.Search(len(l.ends), func(i int) bool { return l.ends[i] > offset }); i < len(l.ends) && len(all)+len(l.batches[i]) <= most; i++ {
		all = append(all, l.batches[i]...)
	}
	return all
}
