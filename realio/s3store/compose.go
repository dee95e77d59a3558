package s3store

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"weir/bill"
	"weir/core/env"
)

// copyBytesMax is how much S3 copies in one part of a multipart upload, by its rules; half of it leaves the store some air.
const copyBytesMax = 2 << 30

// notMade are answers of a store that does not know a request: it takes a copy for an upload without a body, say.
var notMade = map[int]bool{http.StatusLengthRequired: true, http.StatusMethodNotAllowed: true, http.StatusNotImplemented: true}

// errShortRun: the object that is to be copied ends before the run does.
var errShortRun = errors.New("an object that it is made of ends too early")

// composedPart is one part of an object that is composed: pieces that are sent, read first where they are of other objects, or else
// a run of an object that the store copies.
type composedPart struct {
	sent          []env.Piece
	key           string
	offset, bytes int64
}

// compose makes an object of bytes and of runs of others. S3 copies the runs, but for the bytes that fill up a part that
// would be smaller than it allows. What was sent of an upload that failed is given up: little of it passed through here.
func (s *Store) compose(o *env.ComposeObject) (env.Outcome, error) {
	outcome, err := s.composeParts(o)
	if err != nil {
		err = s.failure("compose", o.Key, err)
	}
	return outcome, err
}

func (s *Store) composeParts(o *env.ComposeObject) (env.Outcome, error) {
	cut := composer{leastPart: partBytesMin, mostPart: copyBytesMax}
	if s.noCopies.Load() {
		cut.mostPart = max(s.options.PartBytes, 2*partBytesMin)
	}
	all := cut.parts(o.Pieces)
	if len(all) == 1 && all[0].key == "" {
		data, err := s.readPieces(all[0].sent)
		if err != nil {
			return composeOutcome(err), err
		}
		return s.put(o.For, o.Key, data)
	}
	u, err := s.beginComposing(o, len(all))
	if err != nil {
		return env.OutcomeFailed, err
	}
	outcome := env.OutcomeFailed
	if err = u.copyAll(all); err == nil {
		outcome, err = u.join()
	} else {
		outcome = composeOutcome(err)
	}
	if outcome == env.OutcomeUnknown {
		s.uploads.release(u, time.Now()) // it may be joined yet; else tidying up aborts it
		return outcome, err
	}
	if outcome != env.OutcomeDone {
		u.abandon()
		return outcome, err
	}
	s.uploads.forget(u)
	return outcome, err
}

// composeOutcome is how an operation ends that did not come to joining its parts: it is refused if a source is missing.
func composeOutcome(err error) env.Outcome {
	if status, code := answer(err); errors.Is(err, errShortRun) || status == http.StatusNotFound && code == noSuchKey {
		return env.OutcomeRefused
	}
	return env.OutcomeFailed
}

// beginComposing begins an upload whose parts are told by number only.
func (s *Store) beginComposing(o *env.ComposeObject, parts int) (*upload, error) {
	if parts > partsMax {
		return nil, fmt.Errorf("an object of %d parts; S3 joins %d at most", parts, partsMax)
	}
	bytes := int64(0)
	for i := range o.Pieces {
		bytes += o.Pieces[i].Size()
	}
	u, err := s.begin(o.For, o.Key, bytes)
	if err == nil {
		u.parts = make([]uploadedPart, parts)
	}
	return u, err
}

// readRun reads a run of an object.
func (s *Store) readRun(key string, offset, bytes int64) ([]byte, error) {
	into := make([]byte, bytes)
	n, _, err := s.read(&env.GetObject{For: env.PurposeCompaction, Key: key, Offset: offset, Into: into})
	if err == nil && int64(n) < bytes {
		err = fmt.Errorf("%w: %s has %d of %d bytes at %d", errShortRun, key, n, bytes, offset)
	}
	return into, err
}

// readPieces reads what of pieces is in other objects.
func (s *Store) readPieces(pieces []env.Piece) (data [][]byte, err error) {
	for i := range pieces {
		p := &pieces[i]
		given := p.Data
		if p.Key != "" {
			if given, err = s.readRun(p.Key, p.Offset, p.Bytes); err != nil {
				return nil, err
			}
		}
		data = append(data, given)
	}
	return data, nil
}

// composer cuts pieces into parts that S3 takes: none but the last may be smaller than leastPart. Runs that are too small to be
// copied are sent in parts little larger than that: each is in memory while it is sent.
type composer struct {
	leastPart int64
	mostPart  int64
	all       []composedPart
	held      []env.Piece // that wait for a part of their own
	size      int64       // of held
}

func (c *composer) parts(pieces []env.Piece) []composedPart {
	for i := range pieces {
		if p := &pieces[i]; p.Key == "" {
			c.hold(*p)
		} else {
			c.run(p.Key, p.Offset, p.Bytes)
		}
	}
	if c.size > 0 || len(c.all) == 0 {
		c.flush()
	}
	return c.all
}

func (c *composer) hold(p env.Piece) {
	if c.size >= c.leastPart {
		c.flush()
	}
	c.held, c.size = append(c.held, p), c.size+p.Size()
}

func (c *composer) flush() {
	c.all = append(c.all, composedPart{sent: c.held})
	c.held, c.size = nil, 0
}

// run adds a run: what is held is filled up to a whole part first, and the rest is copied.
func (c *composer) run(key string, offset, bytes int64) {
	if c.size > 0 && c.size < c.leastPart {
		fill := min(bytes, c.leastPart-c.size)
		if bytes-fill < c.leastPart {
			fill = bytes // too little would be left to copy
		}
		c.hold(env.Piece{Key: key, Offset: offset, Bytes: fill})
		offset, bytes = offset+fill, bytes-fill
	}
	if bytes > 0 && bytes < c.leastPart {
		c.hold(env.Piece{Key: key, Offset: offset, Bytes: bytes})
		return
	}
	if bytes > 0 && c.size > 0 {
		c.flush()
	}
	for bytes > 0 {
		n := min(bytes, c.mostPart)
		if left := bytes - n; left > 0 && left < c.leastPart {
			n -= c.leastPart
		}
		c.all = append(c.all, composedPart{key: key, offset: offset, bytes: n})
		offset, bytes = offset+n, bytes-n
	}
}

// copyAll sends and copies the parts, at most PartsMax at once, until the first error.
func (u *upload) copyAll(all []composedPart) (err error) {
	var (
		senders sync.WaitGroup
		next    atomic.Int64
		once    sync.Once
		failed  atomic.Bool
	)
	for range min(u.options.PartsMax, len(all)) {
		senders.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all) && !failed.Load(); i = int(next.Add(1)) - 1 {
				e := u.makePart(i, &all[i])
				if e != nil {
					once.Do(func() { err = e })
					failed.Store(true)
				}
			}
		})
	}
	senders.Wait()
	return err
}

func (u *upload) makePart(i int, p *composedPart) error {
	if p.key == "" {
		data, err := u.readPieces(p.sent)
		if err != nil {
			return err
		}
		return u.sendPart(i, data)
	}
	if u.noCopies.Load() {
		data, err := u.readRun(p.key, p.offset, p.bytes)
		if err != nil {
			return err
		}
		return u.sendPart(i, [][]byte{data})
	}
	return u.copyPart(i, p)
}

// copyPart has the store copy a part. One that cannot is not asked again: the bytes pass through here the next time.
func (u *upload) copyPart(i int, p *composedPart) error {
	number := int32(i + 1)
	t := u.try(u.alive, bill.Copy, u.purpose)
	defer t.end()
	span := fmt.Sprintf("bytes=%d-%d", p.offset, p.offset+p.bytes-1)
	from := copySource(*u.bucket, *u.Store.key(p.key))
	output, err := u.client.UploadPartCopy(t, &s3.UploadPartCopyInput{
		Bucket: u.bucket, Key: u.Store.key(u.key), UploadId: u.id, PartNumber: &number, CopySource: &from, CopySourceRange: &span,
	})
	if err == nil && (output.CopyPartResult == nil || aws.ToString(output.CopyPartResult.ETag) == "") {
		err = errNoTag
	}
	if status, code := answer(err); notMade[status] || code == "NotImplemented" {
		u.noCopies.Store(true)
	}
	if err != nil {
		return fmt.Errorf("copy part %d of %d from %s: %w", number, len(u.parts), p.key, u.checked(t.cause(err)))
	}
	u.parts[i] = uploadedPart{tag: output.CopyPartResult.ETag, sum: aws.ToString(output.CopyPartResult.ChecksumCRC32C)}
	return nil
}

// copySource is an object's name as a header has it. Keys have no character that would have to be escaped, a
// prefix may.
func copySource(bucket, key string) string {
	escaped := strings.NewReplacer("%", "%25", " ", "%20", "+", "%2B", "?", "%3F", "#", "%23").Replace(key)
	return bucket + "/" + escaped
}

// completed lists the parts for the request that joins them. A store that told no checksum of a copied part is not told
// one either.
func (u *upload) completed() []types.CompletedPart {
	done := make([]types.CompletedPart, 0, len(u.parts))
	for i, p := range u.parts {
		c := types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: p.tag}
		if p.sum != "" {
			c.ChecksumCRC32C = u.checksumHeader(p.sum)
		}
		done = append(done, c)
	}
	return done
}
