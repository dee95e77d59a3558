package durability

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Offsets that a record of the ledger can have beside an acknowledged one.
const (
	unanswered = -1 // sent; may be stored once or not at all
	refused    = -2 // the client gave up; likewise
)

// account is one producer's records in one partition.
type account struct{ producer, partition int32 }

// ledger remembers what was sent and what was acknowledged. All methods may be called
// by any goroutine.
type ledger struct {
	mutex    sync.Mutex
	offsets  map[account][]int64 // by sequence
	acked    int64
	refused  int64
	failures []error
	lastAck  map[int32]time.Time
	silences map[int32]time.Duration // longest time between two acknowledgements of a partition
	changed  chan struct{}           // closed and replaced at each acknowledgement
}

func newLedger() *ledger {
	return &ledger{offsets: map[account][]int64{}, lastAck: map[int32]time.Time{}, silences: map[int32]time.Duration{}, changed: make(chan struct{})}
}

// sends takes the next sequence of an account.
func (l *ledger) sends(a account) identity {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	sequence := len(l.offsets[a])
	l.offsets[a] = append(l.offsets[a], unanswered)
	return identity{producer: a.producer, partition: a.partition, sequence: int64(sequence)}
}

// answered notes an acknowledgement at an offset, or that the client gave up.
func (l *ledger) answered(id identity, offset int64, err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	at := &l.offsets[account{id.producer, id.partition}][id.sequence]
	if err != nil {
		*at = refused
		l.refused++
		var cut *kgo.ErrFirstReadEOF
		if errors.As(err, &cut) {
			return // a kill hit a connection in its first exchange: this client takes that for a wrong protocol, and gives up
		}
		if len(l.failures) < 5 {
			l.failures = append(l.failures, fmt.Errorf("producer %d, partition %d, sequence %d: %w", id.producer, id.partition, id.sequence, err))
		}
		return
	}
	*at = offset
	l.acked++
	now := time.Now()
	if last, ok := l.lastAck[id.partition]; ok {
		l.silences[id.partition] = max(l.silences[id.partition], now.Sub(last))
	}
	l.lastAck[id.partition] = now
	close(l.changed)
	l.changed = make(chan struct{})
}

// count returns how many are acknowledged, and what is closed when more are.
func (l *ledger) count() (int64, <-chan struct{}) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.acked, l.changed
}
