package env

import "errors"

// Outcome is how an object store operation ended.
type Outcome uint8

const (
	// OutcomeDone: it happened; results are valid.
	OutcomeDone Outcome = iota
	// OutcomeRefused: the store definitely did not do it because a precondition
	// failed: the key exists (put), or does not (get). Trying again is pointless.
	OutcomeRefused
	// OutcomeFailed: the store definitely did not do it, for a reason that may
	// pass (503, 409 conflict in flight, no connection). Back off and try again.
	OutcomeFailed
	// OutcomeUnknown: the answer was lost; a write may have happened, may yet
	// happen, or may never. Settle it by reading. No read ends with it.
	OutcomeUnknown
)

// StoreCause is why an operation of the object store failed, grouped by who can fix it. Metrics and
// the rate limit of log lines are per cause.
type StoreCause uint8

const (
	// CauseOther is none of the others.
	CauseOther StoreCause = iota
	// CauseUnreachable: the name does not resolve, no connection can be made, or it broke.
	CauseUnreachable
	// CauseStalled: the connection is open, and no bytes move on it.
	CauseStalled
	// CauseTLS: the peers do not agree on TLS, or a certificate is not trusted.
	CauseTLS
	// CauseDenied: the credentials are unknown, expired, or do not allow the operation.
	CauseDenied
	// CauseBucket: there is no such bucket, or it is in another region.
	CauseBucket
	// CauseClock: this machine's wall clock is too far from the store's.
	CauseClock
	// CauseThrottled: the store asks for fewer requests.
	CauseThrottled
	// CauseRejected: the store does not take a request of this form.
	CauseRejected
	// CauseBroken: the store, or a proxy before it, answers with an internal error or with nonsense.
	CauseBroken
	// CauseFull: the store has no room.
	CauseFull
	// CauseEnded: the world gave the operation up because the process ends.
	CauseEnded
	// StoreCauses is how many there are.
	StoreCauses
)

var storeCauseNames = [StoreCauses]string{
	"other", "unreachable", "stalled", "tls", "denied", "bucket", "clock", "throttled", "rejected", "broken", "full", "ended",
}

// String returns the cause's name, as metrics have it.
func (c StoreCause) String() string { return storeCauseNames[c] }

// Passing reports whether failures of that cause usually end without action. An operator is told of
// them only if they last.
func (c StoreCause) Passing() bool {
	return c == CauseUnreachable || c == CauseStalled || c == CauseThrottled || c == CauseBroken
}

// StoreError is the error of an operation that failed or whose answer was lost.
type StoreError struct {
	Cause  StoreCause
	Advice string // what an operator can do; empty if nothing is known
	Err    error  // what was done, to which key, and the store's own words
}

// Error implements error: the store's words, then the advice.
func (e *StoreError) Error() string {
	if e.Advice == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Advice
}

// Unwrap returns Err.
func (e *StoreError) Unwrap() error { return e.Err }

// CauseOf returns the cause of an operation's error.
func CauseOf(err error) StoreCause {
	var e *StoreError
	if errors.As(err, &e) {
		return e.Cause
	}
	return CauseOther
}

// ObjectStore is a bucket. Keys are at most 1,024 bytes of letters, digits,
// '/', '-', '_', '.' and '='.
//
// An operation is tried once: back-off, retry and budgets are the core's. The world ends a try as
// Failed or Unknown if no byte has moved for some tens of seconds; while bytes move, an operation may
// take as long as its size needs. The world chooses how many transfers share the link; further
// operations wait, which does not count as a stall.
//
// A Put that failed or whose answer was lost may be submitted again with the same key and the same
// bytes: the parts of it that the store already has are not sent again.
//
// Each operation says what it is For. The world counts its requests and bytes under that purpose.
type ObjectStore interface {
	Put(*PutObject)
	Compose(*ComposeObject)
	Get(*GetObject)
	Delete(*DeleteObject)
	List(*ListObjects)
}

// Abandoner is an ObjectStore that can end its operations early. Stores whose operations are all
// short need not implement it.
type Abandoner interface {
	// Abandon ends what is in flight as Failed or Unknown, and everything submitted later as Failed,
	// with [CauseEnded]. It returns at once; the completions are delivered as ever. A shutdown calls it
	// once nobody needs an answer any more.
	Abandon()
}

// PutObject creates an object, only if the key is absent (R20: one name, one
// body). The object appears whole or not at all. A body larger than what the
// store takes in one request is sent in parts by the world.
type PutObject struct {
	For  Purpose
	Key  string
	Body [][]byte // concatenated; lent until completion

	Outcome Outcome
	Err     error // for people, set unless Done
	Done    func(*PutObject)
}

// ComposeObject creates an object from bytes and from runs of other objects, one behind the other, only if
// the key is absent. Where the store can copy runs by itself, their bytes do not pass through this machine.
// The object appears whole or not at all. Runs may have any size; the world reads those that are too small
// for the store to copy. The bytes are not checked: who reads them later does.
type ComposeObject struct {
	For    Purpose
	Key    string
	Pieces []Piece // lent until completion

	Outcome Outcome // Refused: the key exists, or an object of a run does not
	Err     error   // for people, set unless Done
	Done    func(*ComposeObject)
}

// Piece is a piece of a body: bytes, or a run of an object.
type Piece struct {
	Data          []byte
	Key           string // empty: Data is the piece
	Offset, Bytes int64
}

// Size is the bytes of the piece.
func (p *Piece) Size() int64 {
	if p.Key == "" {
		return int64(len(p.Data))
	}
	return p.Bytes
}

// GetObject reads as many bytes at Offset as Into and Then have room for, into Into
// first and then into the pieces of Then, in order; all are lent until completion. A
// range that reaches past the end of the object fills what there is; N says how much.
// The bytes are what the network gave: the core checks its own checksums. With Outcome
// Done, Size is the whole object's size.
type GetObject struct {
	For    Purpose
	Key    string
	Offset int64
	Into   []byte
	Then   [][]byte

	N       int
	Size    int64
	Outcome Outcome // Refused: no such object
	Err     error
	Done    func(*GetObject)
}

// Asked is how many bytes the operation reads at most.
func (o *GetObject) Asked() int {
	n := len(o.Into)
	for _, piece := range o.Then {
		n += len(piece)
	}
	return n
}

// Room is what follows the first n bytes in the piece of memory that holds the next one; empty once all pieces
// are full. It is for implementations of ObjectStore.
func (o *GetObject) Room(n int) []byte {
	if n < len(o.Into) {
		return o.Into[n:]
	}
	n -= len(o.Into)
	for _, piece := range o.Then {
		if n < len(piece) {
			return piece[n:]
		}
		n -= len(piece)
	}
	return nil
}

// DeleteObject deletes a key. Deleting what is absent is Done.
type DeleteObject struct {
	For Purpose
	Key string

	Outcome Outcome // never Refused
	Err     error
	Done    func(*DeleteObject)
}

// ListObjects lists keys with a prefix, in byte order, strictly after
// StartAfter, at most Limit (1 to 1,000) of them.
type ListObjects struct {
	For        Purpose
	Prefix     string
	StartAfter string
	Limit      int

	Objects []ObjectInfo
	More    bool
	Outcome Outcome // never Refused
	Err     error
	Done    func(*ListObjects)
}

// ObjectInfo is a row of ListObjects.
type ObjectInfo struct {
	Key  string
	Size int64
}

func (o *PutObject) Deliver()     { o.Done(o) }
func (o *ComposeObject) Deliver() { o.Done(o) }
func (o *GetObject) Deliver()     { o.Done(o) }
func (o *DeleteObject) Deliver()  { o.Done(o) }
func (o *ListObjects) Deliver()   { o.Done(o) }
