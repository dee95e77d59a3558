package s3store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"weir/bill"
	"weir/core/env"
)

const (
	partsMax     = 10_000  // of one object, by S3's rules
	partBytesMin = 5 << 20 // likewise, but for the last
	// fruitlessMax is how many puts in a row may end without a part more, before an upload is begun
	// again with smaller parts.
	fruitlessMax = 4
)

// upload is a multipart upload on its way. Until its parts are joined there is no object. It outlives
// the put that began it: the next put of the same key goes on where that one ended.
type upload struct {
	*Store
	purpose   env.Purpose // of the put that began it
	key       string
	id        *string
	bytes     int64 // of the object
	partBytes int64
	parts     []uploadedPart // by number, from 1 on
	fruitless int            // puts in a row that added no part
	busy      bool           // a put or an abort is at it; under uploads.mu
	touched   time.Time      // when the last one ended
}

// uploadedPart is what is known of one part; tag is nil until the store has it.
type uploadedPart struct {
	tag *string
	sum string
}

// uploads are the multipart uploads that this process began and that have not come to an end.
type uploads struct {
	mu      sync.Mutex
	byKey   map[string]*upload
	orphans []*upload // whose abort failed
}

func (u *uploads) has(key string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byKey[key] != nil
}

// take makes the upload of a key the caller's; nil if there is none, or another put works at it.
func (u *uploads) take(key string) *upload {
	u.mu.Lock()
	defer u.mu.Unlock()
	found := u.byKey[key]
	if found == nil || found.busy {
		return nil
	}
	found.busy = true
	return found
}

// add notes an upload of the caller's. Of two at once of one key, only the first can be gone on with.
func (u *uploads) add(w *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	w.busy = true
	if u.byKey[w.key] == nil {
		u.byKey[w.key] = w
	}
}

// release gives an upload back, to be gone on with; not if another has its place.
func (u *uploads) release(w *upload, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byKey[w.key] != w {
		return false
	}
	w.busy, w.touched = false, now
	return true
}

func (u *uploads) forget(w *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byKey[w.key] == w {
		delete(u.byKey, w.key)
	}
}

// idle takes the uploads that nobody has worked at since a time.
func (u *uploads) idle(since time.Time) (idle []*upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range u.byKey {
		if !w.busy && !w.touched.After(since) {
			w.busy = true
			idle = append(idle, w)
		}
	}
	return idle
}

func (u *uploads) isOurs(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range u.byKey {
		if *w.id == id {
			return true
		}
	}
	return false
}

// leastPart is the smallest size of a part.
func (s *Store) leastPart() int64 { return min(partBytesMin, s.options.PartBytes) }

// putParts goes on with the upload of the key, or begins one.
func (s *Store) putParts(purpose env.Purpose, key string, pieces [][]byte) (env.Outcome, error) {
	u := s.uploads.take(key)
	if u != nil && !u.fits(pieces) {
		u.abandon()
		u = nil
	}
	if u == nil {
		var err error
		if u, err = s.begin(purpose, key, size(pieces)); err != nil {
			return env.OutcomeFailed, err
		}
	}
	outcome, err := u.run(parts(pieces, u.partBytes))
	switch _, code := answer(err); {
	case outcome == env.OutcomeDone:
		s.uploads.forget(u)
	case code == noSuchUpload: // aborted by somebody, or joined by a request whose answer was lost
		s.uploads.forget(u)
		outcome = env.OutcomeUnknown
	case outcome == env.OutcomeRefused || code == "InvalidPart" || code == "InvalidPartOrder" || code == "EntityTooSmall":
		u.abandon()
	case !s.uploads.release(u, time.Now()):
		u.abandon()
	}
	return outcome, err
}

// fits reports whether what the store has of the upload is of this body, and the parts are of a size
// that gets through.
func (u *upload) fits(pieces [][]byte) bool {
	if size(pieces) != u.bytes || u.fruitless >= fruitlessMax && u.partBytes > u.leastPart() {
		return false
	}
	for i, part := range parts(pieces, u.partBytes) {
		if u.parts[i].tag != nil && u.parts[i].sum != checksum(part) {
			return false
		}
	}
	return true
}

// begin begins an upload; its parts are of a size that the link takes in some seconds.
func (s *Store) begin(purpose env.Purpose, key string, bytes int64) (*upload, error) {
	part := s.uplink.partBytes(s.leastPart(), s.options.PartBytes)
	part = max(part, (bytes+partsMax-1)/partsMax)
	u := &upload{Store: s, purpose: purpose, key: key, bytes: bytes, partBytes: part, parts: make([]uploadedPart, (bytes+part-1)/part)}
	t := s.try(s.alive, bill.Multipart, purpose)
	defer t.end()
	input := &s3.CreateMultipartUploadInput{Bucket: s.bucket, Key: s.key(key)}
	if !s.options.NoChecksums {
		input.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	output, err := s.client.CreateMultipartUpload(t, input)
	if err == nil && aws.ToString(output.UploadId) == "" {
		err = errors.New("the store began a multipart upload without an id")
	}
	if err != nil {
		return nil, fmt.Errorf("begin multipart upload: %w", s.checked(t.cause(err)))
	}
	u.id = output.UploadId
	s.uploads.add(u)
	return u, nil
}

// run sends the parts that are missing, and joins them.
func (u *upload) run(all [][][]byte) (env.Outcome, error) {
	added, err := u.send(all)
	u.fruitless++
	if added > 0 {
		u.fruitless = 0
	}
	if err != nil {
		return env.OutcomeFailed, err
	}
	u.fruitless = 0
	return u.join()
}

// send uploads the parts that are missing, at most PartsMax at once. After the first error none is
// begun, but those under way go on: what arrives is kept.
func (u *upload) send(all [][][]byte) (added int64, err error) {
	var missing []int
	for i := range all {
		if u.parts[i].tag == nil {
			missing = append(missing, i)
		}
	}
	var (
		senders     sync.WaitGroup
		next, count atomic.Int64
		once        sync.Once
		failed      atomic.Bool
	)
	for range min(u.options.PartsMax, len(missing)) {
		senders.Go(func() {
			for at := int(next.Add(1)) - 1; at < len(missing) && !failed.Load(); at = int(next.Add(1)) - 1 {
				i := missing[at]
				if e := u.sendPart(i, all[i]); e != nil {
					once.Do(func() { err = e })
					failed.Store(true)
					return
				}
				count.Add(1)
			}
		})
	}
	senders.Wait()
	return count.Load(), err
}

func (u *upload) sendPart(i int, pieces [][]byte) error {
	number, sum := int32(i+1), checksum(pieces)
	err := u.transfer(u.uplink, size(pieces), func() error {
		t := u.try(u.alive, bill.Part, u.purpose)
		defer t.end()
		b := newBody(pieces)
		b.moved = &t.moved
		defer b.giveBack()
		u.meter.Moved(u.purpose, b.size, 0)
		output, err := u.client.UploadPart(t, &s3.UploadPartInput{
			Bucket: u.bucket, Key: u.Store.key(u.key), UploadId: u.id, PartNumber: &number,
			Body: b, ContentLength: &b.size, ChecksumCRC32C: u.checksumHeader(sum),
		})
		if err == nil && aws.ToString(output.ETag) == "" {
			err = errNoTag
		}
		if err == nil {
			u.parts[i] = uploadedPart{output.ETag, sum}
		}
		return u.checked(t.cause(err))
	})
	if err != nil {
		return fmt.Errorf("upload part %d of %d: %w", number, len(u.parts), err)
	}
	return nil
}

// join makes the object of the parts, if the key is absent.
func (u *upload) join() (env.Outcome, error) {
	switch _, outcome, err := u.head(u.purpose, u.key); outcome {
	case env.OutcomeDone:
		return env.OutcomeRefused, errors.New("the object exists")
	case env.OutcomeFailed:
		return env.OutcomeFailed, fmt.Errorf("see whether the object exists: %w", err)
	}
	done := u.completed()
	t := u.try(u.alive, bill.Multipart, u.purpose)
	defer t.end()
	output, err := u.client.CompleteMultipartUpload(t, &s3.CompleteMultipartUploadInput{
		Bucket: u.bucket, Key: u.Store.key(u.key), UploadId: u.id, IfNoneMatch: onlyIfAbsent,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	outcome := t.written(err)
	if err == nil && aws.ToString(output.ETag) == "" {
		outcome, err = env.OutcomeUnknown, errNoTag
	}
	if err != nil {
		err = fmt.Errorf("join %d parts: %w", len(done), u.checked(t.cause(err)))
	}
	return outcome, err
}

// abandon gives an upload up for good. If the store does not take that now, the next round of tidying
// tries again.
func (u *upload) abandon() {
	if u.abort(u.alive) {
		u.uploads.forget(u)
		return
	}
	u.uploads.orphan(u)
}

// abort frees the parts, and reports whether they are gone.
func (u *upload) abort(ctx context.Context) bool {
	return u.abortUpload(ctx, u.purpose, u.Store.key(u.key), u.id) == nil
}

func (s *Store) abortUpload(ctx context.Context, purpose env.Purpose, key, id *string) error {
	t := s.try(ctx, bill.Abort, purpose)
	defer t.end()
	_, err := s.client.AbortMultipartUpload(t, &s3.AbortMultipartUploadInput{Bucket: s.bucket, Key: key, UploadId: id})
	if _, code := answer(err); code == noSuchUpload {
		err = nil
	}
	if err == nil {
		s.counts.aborted.Add(1)
	}
	return s.checked(t.cause(err))
}
