package s3store

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"weir/core/env"
)

func (s *Store) get(o *env.GetObject) {
	o.N, o.Size = 0, 0
	var err error
	if len(o.Into) == 0 {
		o.Size, o.Outcome, err = s.head(o.Key)
	} else if o.N, o.Size, err = s.read(o); beyondTheEnd(err) {
		o.Size, o.Outcome, err = s.head(o.Key)
	} else {
		o.Outcome = wasRead(err, noSuchKey)
	}
	o.Err = nil
	if err != nil {
		o.N, o.Size = 0, 0
		o.Err = fmt.Errorf("get %s%s from bucket %s: %w%s", s.prefix, o.Key, *s.bucket, err, advice(err))
	}
}

func beyondTheEnd(err error) bool {
	status, _ := answer(err)
	return status == http.StatusRequestedRangeNotSatisfiable
}

// read asks for the range, and learns the object's size from the answer.
func (s *Store) read(o *env.GetObject) (int, int64, error) {
	t := s.try(kindGet)
	defer t.cancel()
	span := fmt.Sprintf("bytes=%d-%d", o.Offset, o.Offset+int64(len(o.Into))-1)
	output, err := s.client.GetObject(t, &s3.GetObjectInput{Bucket: s.bucket, Key: s.key(o.Key), Range: &span})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = output.Body.Close() }()
	start, whole, err := parseRange(aws.ToString(output.ContentRange), aws.ToInt64(output.ContentLength))
	if err == nil && start != o.Offset {
		err = fmt.Errorf("asked for %s, the store answered from %d", span, start)
	}
	if err != nil {
		return 0, 0, err
	}
	want := min(int64(len(o.Into)), max(whole-o.Offset, 0))
	n, err := io.ReadFull(output.Body, o.Into[:want])
	s.counts.received.Add(int64(n))
	if err != nil {
		return 0, 0, fmt.Errorf("after %d of %d bytes: %w", n, want, err)
	}
	return n, whole, nil
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
func (s *Store) head(key string) (int64, env.Outcome, error) {
	t := s.try(kindHead)
	defer t.cancel()
	output, err := s.client.HeadObject(t, &s3.HeadObjectInput{Bucket: s.bucket, Key: s.key(key)})
	if err != nil {
		return 0, wasRead(err, notFound), err
	}
	return aws.ToInt64(output.ContentLength), env.OutcomeDone, nil
}

func (s *Store) remove(key string) (env.Outcome, error) {
	t := s.try(kindDelete)
	defer t.cancel()
	_, err := s.client.DeleteObject(t, &s3.DeleteObjectInput{Bucket: s.bucket, Key: s.key(key)})
	if err == nil || wasRead(err, noSuchKey) == env.OutcomeRefused { // some stores say that it was absent
		return env.OutcomeDone, nil
	}
	outcome := t.written(err)
	if outcome == env.OutcomeRefused { // a condition that nobody asked for
		outcome = env.OutcomeFailed
	}
	return outcome, fmt.Errorf("delete %s%s from bucket %s: %w", s.prefix, key, *s.bucket, err)
}

func (s *Store) list(o *env.ListObjects) {
	t := s.try(kindList)
	defer t.cancel()
	input := &s3.ListObjectsV2Input{Bucket: s.bucket, Prefix: s.key(o.Prefix), MaxKeys: aws.Int32(int32(o.Limit))}
	if o.StartAfter != "" {
		input.StartAfter = s.key(o.StartAfter)
	}
	output, err := s.client.ListObjectsV2(t, input)
	o.Objects, o.More, o.Outcome, o.Err = nil, false, env.OutcomeDone, nil
	if err != nil {
		o.Outcome, o.Err = env.OutcomeFailed, fmt.Errorf("list %s%s in bucket %s: %w%s", s.prefix, o.Prefix, *s.bucket, err, advice(err))
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
