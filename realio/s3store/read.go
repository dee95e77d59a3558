package s3store

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"weir/bill"
	"weir/core/env"
)

// readContinuationsMax bounds the requests of one get after its first.
const readContinuationsMax = 16

// emptyPagesMax bounds the empty pages of a listing that are passed over at a time.
const emptyPagesMax = 100

func (s *Store) get(o *env.GetObject) {
	o.N, o.Size = 0, 0
	var err error
	if o.Asked() == 0 {
		o.Size, o.Outcome, err = s.head(o.For, o.Key)
	} else if o.N, o.Size, err = s.read(o); beyondTheEnd(err) {
		o.Size, o.Outcome, err = s.head(o.For, o.Key)
	} else {
		o.Outcome = wasRead(err, noSuchKey)
	}
	o.Err = nil
	if err != nil {
		o.N, o.Size = 0, 0
		o.Err = s.failure("get", o.Key, err)
	}
}

func beyondTheEnd(err error) bool {
	status, _ := answer(err)
	return status == http.StatusRequestedRangeNotSatisfiable
}

// read asks for the range. An answer that breaks off is continued from where it ended, as long as each
// request brings some of it.
func (s *Store) read(o *env.GetObject) (n int, whole int64, err error) {
	for requests := 0; requests <= readContinuationsMax; requests++ {
		var more int
		var size int64
		err = s.transfer(s.downlink, int64(o.Asked()-n), func() (e error) {
			more, size, e = s.readRange(o, n)
			return e
		})
		n += more
		if err == nil {
			if requests > 0 && size != whole {
				return 0, 0, fmt.Errorf("the object has %d bytes by one answer and %d by the next", whole, size)
			}
			return n, size, nil
		}
		if more == 0 {
			return 0, 0, err
		}
		whole = size
	}
	return 0, 0, err
}

// readRange reads what the range has beyond its first bytes, less at the object's end, and learns the object's size
// from the answer. After an error, n bytes came nevertheless.
func (s *Store) readRange(o *env.GetObject, from int) (n int, whole int64, err error) {
	t := s.try(s.alive, bill.Get, o.For)
	defer t.end()
	offset, end := o.Offset+int64(from), o.Offset+int64(o.Asked())
	span := fmt.Sprintf("bytes=%d-%d", offset, end-1)
	output, err := s.client.GetObject(t, &s3.GetObjectInput{Bucket: s.bucket, Key: s.key(o.Key), Range: &span})
	if err != nil {
		return 0, 0, s.checked(t.cause(err))
	}
	defer func() { _ = output.Body.Close() }()
	if aws.ToString(output.ETag) == "" {
		return 0, 0, errNoTag
	}
	start, whole, err := parseRange(aws.ToString(output.ContentRange), aws.ToInt64(output.ContentLength))
	if err == nil && start != offset {
		err = fmt.Errorf("asked for %s, the store answered from %d", span, start)
	}
	if err != nil {
		return 0, 0, err
	}
	want := int(max(min(end, whole)-offset, 0))
	n, err = fill(o, from, want, io.TeeReader(output.Body, movement{&t.moved}))
	s.meter.Moved(o.For, 0, int64(n))
	if err != nil {
		return n, whole, fmt.Errorf("after %d of %d bytes: %w", n, want, t.cause(err))
	}
	return n, whole, nil
}

// fill reads want bytes of a body into the operation's memory, behind its first bytes.
func fill(o *env.GetObject, from, want int, body io.Reader) (n int, err error) {
	for n < want && err == nil {
		room, more := o.Room(from+n), 0
		more, err = io.ReadFull(body, room[:min(len(room), want-n)])
		n += more
	}
	return n, err
}

// movement counts the bytes of a body that came.
type movement struct{ moved *atomic.Int64 }

// Write implements io.Writer.
func (m movement) Write(p []byte) (int, error) {
	m.moved.Add(int64(len(p)))
	return len(p), nil
}

// parseRange reads a Content-Range header, "bytes 10-19/100". A store that sends none sent everything.
func parseRange(text string, length int64) (start, whole int64, err error) {
	if text == "" {
		return 0, length, nil
	}
	span, total, _ := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	if start, err = strconv.ParseInt(first, 10, 64); err == nil {
		whole, err = strconv.ParseInt(total, 10, 64)
	}
	if err != nil || start < 0 || whole < start {
		return 0, 0, fmt.Errorf("the store answered with the range %q", text)
	}
	return start, whole, nil
}

// head finds an object's size.
func (s *Store) head(purpose env.Purpose, key string) (int64, env.Outcome, error) {
	t := s.try(s.alive, bill.Head, purpose)
	defer t.end()
	output, err := s.client.HeadObject(t, &s3.HeadObjectInput{Bucket: s.bucket, Key: s.key(key)})
	if err == nil && aws.ToString(output.ETag) == "" {
		err = errNoTag
	}
	if err != nil {
		return 0, wasRead(err, notFound), s.checked(t.cause(err))
	}
	return aws.ToInt64(output.ContentLength), env.OutcomeDone, nil
}

func (s *Store) remove(purpose env.Purpose, key string) (env.Outcome, error) {
	t := s.try(s.alive, bill.Delete, purpose)
	defer t.end()
	_, err := s.client.DeleteObject(t, &s3.DeleteObjectInput{Bucket: s.bucket, Key: s.key(key)})
	if err == nil || wasRead(err, noSuchKey) == env.OutcomeRefused { // some stores say that it was absent
		return env.OutcomeDone, nil
	}
	outcome := t.written(err)
	if outcome == env.OutcomeRefused { // a condition that nobody asked for
		outcome = env.OutcomeFailed
	}
	return outcome, s.failure("delete", key, s.checked(t.cause(err)))
}

func (s *Store) list(o *env.ListObjects) {
	o.Objects, o.More, o.Outcome, o.Err = nil, false, env.OutcomeDone, nil
	output, err := s.listSome(o)
	if err != nil {
		o.Outcome, o.Err = env.OutcomeFailed, s.failure("list", o.Prefix, err)
		return
	}
	for _, object := range output.Contents {
		key, ok := strings.CutPrefix(aws.ToString(object.Key), s.prefix)
		if ok {
			o.Objects = append(o.Objects, env.ObjectInfo{Key: key, Size: aws.ToInt64(object.Size)})
		}
	}
	o.More = aws.ToBool(output.IsTruncated)
}

// listSome returns the first page that has keys, or the last one. Others may be empty where keys were deleted.
func (s *Store) listSome(o *env.ListObjects) (*s3.ListObjectsV2Output, error) {
	input := &s3.ListObjectsV2Input{Bucket: s.bucket, Prefix: s.key(o.Prefix), MaxKeys: aws.Int32(int32(o.Limit))}
	if o.StartAfter != "" {
		input.StartAfter = s.key(o.StartAfter)
	}
	for range emptyPagesMax {
		output, err := s.listPage(o.For, input)
		if err != nil || len(output.Contents) > 0 || !aws.ToBool(output.IsTruncated) {
			return output, err
		}
		input.ContinuationToken = output.NextContinuationToken
	}
	return nil, fmt.Errorf("the store listed %d empty pages, and says that more follow", emptyPagesMax)
}

func (s *Store) listPage(purpose env.Purpose, input *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	t := s.try(s.alive, bill.List, purpose)
	defer t.end()
	output, err := s.client.ListObjectsV2(t, input)
	if err == nil && output.Name == nil && output.KeyCount == nil && output.IsTruncated == nil {
		err = errNoListing
	}
	return output, s.checked(t.cause(err))
}
