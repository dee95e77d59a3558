package client

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/record"
	"weir/core/wire"
	"weir/sim/checker"
)

// keeperReader reads a keeper's topic from its start to its end, again and again, as a consumer of committed records does.
type keeperReader struct {
	session
	keeper    *Keeper
	known     bool
	offset    int64 // of the next fetch; -1: the log start is to be asked for
	scan      checker.KeyedScan
	last      bool  // this reading began after the writer ended
	whole     int   // such readings that came to their end
	compacted int64 // of the readings that begin from now on
}

func newKeeperReader(k *Keeper) *keeperReader {
	r := &keeperReader{keeper: k, offset: -1}
	r.initAs(k.Cluster, k.client, "keeper reader", r)
	r.lag, r.committed = k.options.Lag, true
	return r
}

func (r *keeperReader) served() bool { return r.whole > 0 }

// Read is the highest offset to which the topic was read.
func (k *Keeper) Read() (end int64) {
	for i := range k.history.Scans {
		end = max(end, k.history.Scans[i].End)
	}
	return end
}

// Again has the reader read the whole topic once more, for [Keeper.Idle]. compacted is the offset up to which it is compacted, while
// no broker remembers more; 0: that is not known.
func (k *Keeper) Again(compacted int64) {
	k.reader.stop()
	k.reader = newKeeperReader(k)
	k.reader.compacted = compacted
	k.reader.connect()
}

func (r *keeperReader) sessionUp() {
	r.known = false
	r.learn([]*Topic{r.keeper.options.Topic}, func(known bool) {
		if !known {
			r.after(100*time.Millisecond, r.sessionUp)
			return
		}
		r.known = true
		r.step()
	})
}

func (r *keeperReader) later(d time.Duration) { r.after(d, r.step) }

func (r *keeperReader) step() {
	if !r.up || !r.known || r.stopped {
		return
	}
	if r.offset < 0 {
		r.begin()
		return
	}
	r.fetch()
}

// begin asks where the log starts.
func (r *keeperReader) begin() {
	r.last = r.keeper.ended
	r.scan = checker.KeyedScan{Client: int32(r.client), Call: r.Stamp(), Compacted: r.compacted}
	r.listOffset(r.keeper.part, -2, func(offset, _ int64, code int16) {
		if code != 0 {
			r.later(100 * time.Millisecond)
			return
		}
		r.offset = offset
		r.step()
	})
}

func (r *keeperReader) fetch() {
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.SessionEpoch, q.IsolationLevel = 100, 1, r.keeper.options.FetchBytes, -1, 1
	addFetch(q, r.keeper.part, r.offset, r.keeper.options.FetchBytes)
	r.request(q, func(response kmsg.Response, err error) {
		if err != nil {
			return // the next session goes on from here
		}
		v := response.(*kmsg.FetchResponse)
		if v.ErrorCode != 0 || len(v.Topics) != 1 || len(v.Topics[0].Partitions) != 1 {
			r.later(100 * time.Millisecond)
			return
		}
		r.fetched(&v.Topics[0].Partitions[0])
	})
}

func (r *keeperReader) fetched(got *kmsg.FetchResponseTopicPartition) {
	switch got.ErrorCode {
	case 0:
	case wire.OffsetOutOfRange:
		r.fail("I1", "%s: offset %d is out of range, though nothing was deleted but by key", r.keeper.history.Name, r.offset)
		return
	default:
		r.later(100 * time.Millisecond)
		return
	}
	from := r.offset
	if err := r.take(got); err != nil {
		r.fail("I2", "%s, read from %d by client %d: %v", r.keeper.history.Name, from, r.client, err)
		return
	}
	if r.offset < got.LastStableOffset {
		r.later(r.draws.Duration(0, r.keeper.options.Pause/4))
		return
	}
	r.scan.Return, r.scan.End = r.Stamp(), r.offset
	r.keeper.history.Scans = append(r.keeper.history.Scans, r.scan)
	if r.last {
		r.whole++
	}
	r.offset = -1
	r.later(r.draws.Duration(r.keeper.options.Pause/2, 2*r.keeper.options.Pause))
}

// take goes through the batches as a consumer does. Where offsets are missing, the next batch is the first that ends above the
// offset that was asked for.
func (r *keeperReader) take(got *kmsg.FetchResponseTopicPartition) error {
	aborted := slices.Clone(got.AbortedTransactions)
	hidden := map[int64]bool{}
	for b := got.RecordBatches; len(b) > 0; {
		h, err := record.ReadHeader(b)
		if err != nil {
			return nil // cut short at the end, as clients allow
		}
		data := b[:h.Bytes]
		b = b[h.Bytes:]
		switch {
		case !record.SumHolds(data):
			return bad("checksum at offset %d", h.BaseOffset)
		case h.NextOffset() <= r.offset:
			return bad("the batch [%d, %d) lies below offset %d", h.BaseOffset, h.NextOffset(), r.offset)
		}
		for len(aborted) > 0 && aborted[0].FirstOffset < h.NextOffset() {
			hidden[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if h.Control() {
			if m, err := record.ReadMarker(data); err == nil && !m.Commit {
				delete(hidden, h.ProducerID)
			}
		} else if !h.Transactional() || !hidden[h.ProducerID] {
			if err := r.takeBatch(&h, data); err != nil {
				return err
			}
		}
		r.offset = h.NextOffset()
	}
	return nil
}

func (r *keeperReader) takeBatch(h *record.Header, data []byte) (wrong error) {
	err := record.Each(data, 1<<20, func(got record.Record) bool {
		write := got.Timestamp - startMillis
		k := checker.KeyedRecord{Offset: got.Offset, Write: int32(write), Tombstone: got.Value == nil}
		if _, err := fmt.Sscanf(string(got.Key), "key%d", &k.Key); err != nil {
			wrong = bad("key %q at offset %d", got.Key, got.Offset)
		}
		if !k.Tombstone && !bytes.Equal(got.Value, keeperValue(int(write), len(got.Value))) {
			wrong = bad("the value of write %d at offset %d is damaged", write, got.Offset)
		}
		if got.Timestamp > h.MaxTimestamp {
			wrong = bad("time %d at offset %d is above that of its batch", got.Timestamp, got.Offset)
		}
		if got.Offset >= r.offset {
			r.scan.Records = append(r.scan.Records, k)
		}
		return wrong == nil
	})
	if wrong != nil {
		return wrong
	}
	if err != nil {
		return bad("at offset %d: %v", h.BaseOffset, err)
	}
	return nil
}
