package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/compress"
	"weir/core/record"
)

const (
	// replayRequests is how many different requests are made before the load begins.
	replayRequests = 16
	// replayInFlight is how many requests of one connection wait for answers, as with Kafka's producer.
	replayInFlight = 5
	replayTimeout  = 30 * time.Second
)

// replay is a load of compressed batches that were made before it begins and are sent again and
// again: making them costs more than a broker spends on them, so a client that did would measure
// itself. Its requests have one batch for each partition and no producer id.
type replay struct {
	load  *load
	codec compress.Codec
	// requests are framed; each holds so many bytes of values.
	requests [][]byte
	values   int64
	// Ratio is the size of the records by that of their compressed form.
	Ratio float64
}

// replayOf makes the requests of a load: l.BatchBytes of values to a batch.
func replayOf(l *load, codec compress.Codec) *replay {
	r := &replay{load: l, codec: codec}
	random := rand.New(rand.NewPCG(1, 2))
	perBatch := max(1, l.BatchBytes/l.RecordBytes)
	r.values = int64(perBatch) * int64(l.RecordBytes) * int64(l.Partitions)
	plain, packed := 0, 0
	now := time.Now().UnixMilli()
	for range replayRequests {
		batches := make([][]byte, l.Partitions)
		for i := range batches {
			records := make([]record.Record, perBatch)
			for j := range records {
				records[j] = record.Record{Timestamp: now, Value: logLines(random, l.RecordBytes)}
			}
			builder := record.Builder{Codec: codec, ProducerID: record.NoProducer, ProducerEpoch: -1, BaseSequence: -1}
			if batches[i] = builder.AppendBatch(nil, records); l.Unsummed {
				batches[i] = withoutChecksum(codec, batches[i])
			}
			packed += len(batches[i]) - record.HeaderBytes
			plain += len(record.AppendBatch(nil, records)) - record.HeaderBytes
		}
		r.requests = append(r.requests, frameOf(l.Topic, batches))
	}
	r.Ratio = float64(plain) / float64(packed)
	return r
}

// withoutChecksum compresses a batch's records anew, if its codec's frames have a checksum that can be left out.
func withoutChecksum(codec compress.Codec, batch []byte) []byte {
	var packed bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case compress.LZ4:
		lz := lz4.NewWriter(&packed)
		must(lz.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)))
		w = lz
	case compress.Zstd:
		z, err := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
		must(err)
		w = z
	default:
		return batch
	}
	plain, err := compress.Decompress(codec, batch[record.HeaderBytes:], math.MaxInt)
	must(err)
	_, err = w.Write(plain)
	must(errors.Join(err, w.Close()))
	repacked := append(slices.Clone(batch[:record.HeaderBytes]), packed.Bytes()...)
	binary.BigEndian.PutUint32(repacked[8:], uint32(len(repacked)-12)) // the batch's length, without offset and length
	record.Seal(repacked)
	return repacked
}

// must reports what cannot happen: codecs fail on what they are given, not on what is written to memory.
func must(err error) {
	if err != nil {
		panic("weir-bench: " + err.Error())
	}
}

// frameOf makes a Produce request of one batch for each partition.
func frameOf(topic string, batches [][]byte) []byte {
	request := kmsg.NewPtrProduceRequest()
	request.Version, request.Acks, request.TimeoutMillis = 9, -1, int32(replayTimeout.Milliseconds())
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for i, b := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), b
		t.Partitions = append(t.Partitions, p)
	}
	request.Topics = append(request.Topics, t)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("weir-bench")).AppendRequest(nil, request, 0)
}

// vocabulary is what log lines are about.
var vocabulary = func() []string {
	r := rand.New(rand.NewPCG(3, 4))
	words := make([]string, 2000)
	for i := range words {
		for range 3 + r.IntN(8) {
			words[i] += string(rune('a' + r.IntN(26)))
		}
	}
	return words
}()

// logLines is n bytes of the JSON that a service logs.
func logLines(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+512)
	for len(b) < n {
		b = fmt.Appendf(b, `{"level":"info","service":"checkout","host":"ip-10-0-%d-%d","trace":"%016x","user":%d,"status":200,"latency_us":%d,"message":"`,
			r.IntN(4), r.IntN(256), r.Uint64(), r.IntN(1e7), r.IntN(1e5))
		for range 12 {
			b = append(append(b, vocabulary[r.IntN(len(vocabulary))]...), ' ')
		}
		b = append(b, "\"}\n"...)
	}
	return b[:n]
}

// run sends until l.Bytes of values are acknowledged or l.Limit is over.
func (r *replay) run(ctx context.Context) (*produced, error) {
	if err := awaitLeaders(ctx, r.load); err != nil {
		return nil, err
	}
	var left atomic.Int64
	left.Store(r.load.Bytes)
	cpu, begin := ownCPU(), time.Now()
	acked := make([]int64, r.load.Clients)
	failures := make([]error, r.load.Clients)
	var group sync.WaitGroup
	for i := range acked {
		group.Go(func() { acked[i], failures[i] = r.connection(ctx, i, begin, &left) })
	}
	group.Wait()
	outcome := &produced{Elapsed: time.Since(begin), ClientCPU: ownCPU() - cpu, BatchBytes: int64(r.load.BatchBytes)}
	for _, n := range acked {
		outcome.Bytes += n
	}
	outcome.Records = outcome.Bytes / int64(r.load.RecordBytes)
	return outcome, errors.Join(failures...)
}

// connection sends from request number first on, and returns the bytes of values acknowledged.
func (r *replay) connection(ctx context.Context, first int, begin time.Time, left *atomic.Int64) (int64, error) {
	conn, err := net.DialTimeout("tcp", r.load.Brokers, replayTimeout)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	room := make(chan struct{}, replayInFlight)
	answered := make(chan error, 1)
	acked := int64(0)
	go func() { answered <- r.answers(conn, room, &acked) }()
	sent := r.send(conn, first, begin, left, room, answered)
	close(room)
	return acked, errors.Join(sent, <-answered)
}

func (r *replay) send(conn net.Conn, first int, begin time.Time, left *atomic.Int64, room chan<- struct{}, answered chan error) error {
	for i := first; (r.load.Limit == 0 || time.Since(begin) < r.load.Limit) && left.Add(-r.values) >= 0; i++ {
		select {
		case room <- struct{}{}:
		case err := <-answered:
			answered <- err
			return nil
		}
		if _, err := conn.Write(r.requests[i%len(r.requests)]); err != nil {
			return err
		}
	}
	return nil
}

// answers reads as many answers as there are requests.
func (r *replay) answers(conn net.Conn, room <-chan struct{}, acked *int64) error {
	in := bufio.NewReader(conn)
	var body []byte
	for range room {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		body = append(body[:0], make([]byte, binary.BigEndian.Uint32(head[:]))...)
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		response := kmsg.NewPtrProduceResponse()
		response.Version = 9
		if err := response.ReadFrom(body[5:]); err != nil {
			return err
		}
		for _, p := range response.Topics[0].Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
		*acked += r.values
	}
	return nil
}
