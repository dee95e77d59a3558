package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nullFrameMax bounds a request, as socket.request.max.bytes does in Kafka.
const nullFrameMax = 100 << 20

// nullBroker answers as fast as sockets and decoding allow and keeps nothing but the
// names of topics: the bound of what any broker could reach with this client.
type nullBroker struct {
	host      string
	port      int32
	producers atomic.Int64

	mutex  sync.Mutex
	topics map[string]int32 // partitions
	ids    map[[16]byte]string
	tail   *nullTail // nil: nothing is kept
}

// nullVersions are what is answered, with the highest version of each.
var nullVersions = map[int16]int16{0: 13, 1: 17, 2: 10, 3: 13, 18: 4, 19: 7, 22: 5}

func nullCommand(ctx context.Context, args []string) error {
	set := newFlags("null")
	address := set.String("listen", "127.0.0.1:9092", "host:port; port 0 is a free one")
	tail := set.Bool("tail", false, "keep all that is written in memory, and serve it")
	set.Parse(args)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "listening on %s\n", listener.Addr())
	return serveNull(ctx, listener, *tail)
}

// serveNull answers connections until ctx ends.
func serveNull(ctx context.Context, listener net.Listener, tail bool) error {
	address := listener.Addr().(*net.TCPAddr)
	b := &nullBroker{host: address.IP.String(), port: int32(address.Port), topics: map[string]int32{}, ids: map[[16]byte]string{}}
	if tail {
		b.tail = newNullTail()
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go b.serve(ctx, conn)
	}
}

func (b *nullBroker) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in := bufio.NewReaderSize(conn, 64<<10)
	var frame, out []byte
	for {
		var err error
		if frame, err = readFrame(in, frame); err != nil {
			return
		}
		if out, err = b.answer(frame, out[:0]); err != nil {
			fmt.Fprintln(os.Stderr, "weir-bench null:", err)
			return
		}
		if len(out) == 0 {
			continue // acks=0
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// readFrame reads a request into buffer, or a larger one.
func readFrame(in io.Reader, buffer []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return buffer, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 10 || size > nullFrameMax {
		return buffer, fmt.Errorf("a request of %d bytes", size)
	}
	if int(size) > cap(buffer) {
		buffer = make([]byte, size)
	}
	buffer = buffer[:size]
	_, err := io.ReadFull(in, buffer)
	return buffer, err
}

// answer appends the framed response to out.
func (b *nullBroker) answer(frame, out []byte) ([]byte, error) {
	r := kbin.Reader{Src: frame}
	key, version, correlation := r.Int16(), r.Int16(), r.Int32()
	r.NullableString()
	highest, known := nullVersions[key]
	request := kmsg.RequestForKey(key)
	if !known || request == nil {
		return out, fmt.Errorf("request key %d is not served", key)
	}
	refuse := version > highest || version < 0
	if refuse && key != 18 {
		return out, fmt.Errorf("version %d of request key %d is not served", version, key)
	}
	var response kmsg.Response
	if refuse {
		response = refuseVersion()
	} else {
		request.SetVersion(version)
		if request.IsFlexible() {
			kmsg.SkipTags(&r)
		}
		if err := errors.Join(r.Complete(), request.ReadFrom(r.Src)); err != nil {
			return out, fmt.Errorf("request key %d: %w", key, err)
		}
		if response = b.respond(request); response == nil {
			return out, nil
		}
		response.SetVersion(version)
	}
	out = append(out, 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(correlation))
	if response.IsFlexible() && key != 18 {
		out = append(out, 0)
	}
	out = response.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}

// refuseVersion is what ApiVersions answers to a version it does not know: version 0.
func refuseVersion() kmsg.Response {
	response := nullApiVersions()
	response.ErrorCode = kerr.UnsupportedVersion.Code
	return response
}

// respond returns the answer, or nil where the client wants none.
func (b *nullBroker) respond(request kmsg.Request) kmsg.Response {
	switch request := request.(type) {
	case *kmsg.ProduceRequest:
		return b.produce(request)
	case *kmsg.FetchRequest:
		return b.fetch(request)
	case *kmsg.ListOffsetsRequest:
		return b.listOffsets(request)
	case *kmsg.MetadataRequest:
		return b.metadata(request)
	case *kmsg.CreateTopicsRequest:
		return b.createTopics(request)
	case *kmsg.InitProducerIDRequest:
		response := kmsg.NewPtrInitProducerIDResponse()
		response.ProducerID = b.producers.Add(1)
		return response
	}
	return nullApiVersions()
}

func nullApiVersions() *kmsg.ApiVersionsResponse {
	response := kmsg.NewPtrApiVersionsResponse()
	for key := int16(0); key <= 22; key++ {
		if highest, ok := nullVersions[key]; ok {
			one := kmsg.NewApiVersionsResponseApiKey()
			one.ApiKey, one.MaxVersion = key, highest
			response.ApiKeys = append(response.ApiKeys, one)
		}
	}
	return response
}

func (b *nullBroker) produce(request *kmsg.ProduceRequest) kmsg.Response {
	if request.Acks == 0 {
		return nil
	}
	response := kmsg.NewPtrProduceResponse()
	response.Topics = make([]kmsg.ProduceResponseTopic, len(request.Topics))
	for i := range request.Topics {
		from, to := &request.Topics[i], &response.Topics[i]
		to.Topic, to.TopicID = from.Topic, from.TopicID
		to.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(from.Partitions))
		for j := range from.Partitions {
			to.Partitions[j].Default()
			to.Partitions[j].Partition = from.Partitions[j].Partition
			if b.tail != nil {
				to.Partitions[j].BaseOffset = b.tail.append(nullPartition{b.idOf(from.Topic, from.TopicID), from.Partitions[j].Partition}, from.Partitions[j].Records)
			}
		}
	}
	return response
}

// idOf is the id of a topic that a request names either way.
func (b *nullBroker) idOf(name string, id [16]byte) [16]byte {
	if id != [16]byte{} {
		return id
	}
	return topicID(name)
}

// fetch says that there is nothing, after the time that the client gives, unless what is written is kept.
func (b *nullBroker) fetch(request *kmsg.FetchRequest) kmsg.Response {
	if b.tail != nil {
		return b.fetchTail(request)
	}
	time.Sleep(time.Duration(request.MaxWaitMillis) * time.Millisecond)
	response := kmsg.NewPtrFetchResponse()
	for i := range request.Topics {
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = request.Topics[i].Topic, request.Topics[i].TopicID
		for j := range request.Topics[i].Partitions {
			partition := kmsg.NewFetchResponseTopicPartition()
			partition.Partition = request.Topics[i].Partitions[j].Partition
			topic.Partitions = append(topic.Partitions, partition)
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}

func (b *nullBroker) listOffsets(request *kmsg.ListOffsetsRequest) kmsg.Response {
	response := kmsg.NewPtrListOffsetsResponse()
	for i := range request.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = request.Topics[i].Topic
		for j := range request.Topics[i].Partitions {
			partition := kmsg.NewListOffsetsResponseTopicPartition()
			partition.Partition, partition.Offset = request.Topics[i].Partitions[j].Partition, 0
			if b.tail != nil && request.Topics[i].Partitions[j].Timestamp == latestOffset {
				partition.Offset = b.tail.end(nullPartition{topicID(topic.Topic), partition.Partition})
			}
			topic.Partitions = append(topic.Partitions, partition)
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}

// topicID is the same for a name on every run.
func topicID(name string) (id [16]byte) {
	sum := sha256.Sum256([]byte(name))
	copy(id[:], sum[:])
	return id
}

func (b *nullBroker) createTopics(request *kmsg.CreateTopicsRequest) kmsg.Response {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	response := kmsg.NewPtrCreateTopicsResponse()
	for i := range request.Topics {
		topic := kmsg.NewCreateTopicsResponseTopic()
		topic.Topic, topic.TopicID = request.Topics[i].Topic, topicID(request.Topics[i].Topic)
		b.topics[topic.Topic], b.ids[topic.TopicID] = max(request.Topics[i].NumPartitions, 1), topic.Topic
		response.Topics = append(response.Topics, topic)
	}
	return response
}

func (b *nullBroker) metadata(request *kmsg.MetadataRequest) kmsg.Response {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	response := kmsg.NewPtrMetadataResponse()
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = 1, b.host, b.port
	response.Brokers, response.ControllerID, response.ClusterID = append(response.Brokers, broker), 1, kmsg.StringPtr("null")
	if request.Topics == nil {
		for name := range b.topics {
			response.Topics = append(response.Topics, b.describe(name))
		}
	}
	for i := range request.Topics {
		name := b.ids[request.Topics[i].TopicID]
		if request.Topics[i].Topic != nil {
			name = *request.Topics[i].Topic
		}
		response.Topics = append(response.Topics, b.describe(name))
	}
	return response
}

func (b *nullBroker) describe(name string) kmsg.MetadataResponseTopic {
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID = kmsg.StringPtr(name), topicID(name)
	if b.topics[name] == 0 {
		topic.ErrorCode = kerr.UnknownTopicOrPartition.Code
	}
	for i := range b.topics[name] {
		partition := kmsg.NewMetadataResponseTopicPartition()
		partition.Partition, partition.Leader, partition.Replicas, partition.ISR = i, 1, []int32{1}, []int32{1}
		topic.Partitions = append(topic.Partitions, partition)
	}
	return topic
}
