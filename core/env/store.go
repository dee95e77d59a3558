package env

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
	// happen, or may never. Settle it by reading. Reads never end so.
	OutcomeUnknown
)

// ObjectStore is a bucket. Keys are at most 1,024 bytes of letters, digits,
// '/', '-', '_', '.' and '='. One operation is tried once: back-off, retry and
// budgets are the core's. The world bounds each try by a time of its own and
// ends it as Failed or Unknown.
type ObjectStore interface {
	Put(*PutObject)
	Get(*GetObject)
	Delete(*DeleteObject)
	List(*ListObjects)
}

// PutObject creates an object, only if the key is absent (R20: one name, one
// body). The object appears whole or not at all. A body larger than what the
// store takes in one request is sent in parts by the world.
type PutObject struct {
	Key  string
	Body [][]byte // concatenated; lent until completion

	Outcome Outcome
	Err     error // for people, set unless Done
	Done    func(*PutObject)
}

// GetObject reads len(Into) bytes at Offset. A range that reaches past the end
// of the object fills what there is; N says how much. The bytes are what the
// network gave: the core checks its own checksums. With Outcome Done, Size is
// the whole object's size.
type GetObject struct {
	Key    string
	Offset int64
	Into   []byte

	N       int
	Size    int64
	Outcome Outcome // Refused: no such object
	Err     error
	Done    func(*GetObject)
}

// DeleteObject deletes a key. Deleting what is absent is Done.
type DeleteObject struct {
	Key string

	Outcome Outcome // never Refused
	Err     error
	Done    func(*DeleteObject)
}

// ListObjects lists keys with a prefix, in byte order, strictly after
// StartAfter, at most Limit (1 to 1,000) of them.
type ListObjects struct {
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

func (o *PutObject) Deliver()    { o.Done(o) }
func (o *GetObject) Deliver()    { o.Done(o) }
func (o *DeleteObject) Deliver() { o.Done(o) }
func (o *ListObjects) Deliver()  { o.Done(o) }
