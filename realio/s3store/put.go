package s3store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"weir/core/env"
)

// onlyIfAbsent is the condition of every write: R20, one name, one body.
var onlyIfAbsent = aws.String("*")

func (s *Store) put(key string, pieces [][]byte) (env.Outcome, error) {
	outcome, err := env.OutcomeDone, error(nil)
	if size(pieces) > s.options.PartBytes {
		outcome, err = s.putParts(key, pieces)
	} else {
		outcome, err = s.putStrictly(key, pieces)
	}
	if err != nil {
		err = fmt.Errorf("put %s%s into bucket %s: %w%s", s.prefix, key, *s.bucket, err, advice(err))
	}
	return outcome, err
}

func (s *Store) putWhole(key string, pieces [][]byte) (env.Outcome, error) {
	t := s.try(kindPut)
	defer t.cancel()
	b := newBody(pieces)
	defer b.giveBack()
	s.counts.sent.Add(b.size)
	_, err := s.client.PutObject(t, &s3.PutObjectInput{
		Bucket: s.bucket, Key: s.key(key), IfNoneMatch: onlyIfAbsent,
		Body: b, ContentLength: &b.size, ChecksumCRC32C: s.checksum(pieces),
	})
	return t.written(err), err
}

// errLax is what a store is told that overwrites objects.
var errLax = errors.New("the store wrote over an object that exists: it does not know If-None-Match, and would lose acknowledged records; " +
	"use one that does")

// putStrictly is putWhole, and sees once that the store refuses to write what it just wrote.
func (s *Store) putStrictly(key string, pieces [][]byte) (env.Outcome, error) {
	outcome, err := s.putWhole(key, pieces)
	if outcome == env.OutcomeRefused {
		s.strict.Store(true)
	}
	if outcome != env.OutcomeDone || s.strict.Load() {
		return outcome, err
	}
	switch again, _ := s.putWhole(key, pieces); again {
	case env.OutcomeDone:
		return env.OutcomeFailed, errLax
	case env.OutcomeRefused:
		s.strict.Store(true)
	}
	return outcome, nil
}

// upload is a multipart upload on its way. Until its parts are joined there is no object.
type upload struct {
	*Store
	key string
	id  *string
}

func (s *Store) putParts(key string, pieces [][]byte) (env.Outcome, error) {
	u := upload{Store: s, key: key}
	if err := u.create(); err != nil {
		return env.OutcomeFailed, err
	}
	done, err := u.send(parts(pieces, s.options.PartBytes))
	if err != nil {
		u.abort()
		return env.OutcomeFailed, err
	}
	outcome, err := u.join(done)
	if outcome == env.OutcomeRefused || outcome == env.OutcomeFailed {
		u.abort()
	}
	return outcome, err
}

func (u *upload) create() error {
	t := u.try(kindMultipart)
	defer t.cancel()
	input := &s3.CreateMultipartUploadInput{Bucket: u.bucket, Key: u.Store.key(u.key)}
	if !u.options.NoChecksums {
		input.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	output, err := u.client.CreateMultipartUpload(t, input)
	if err == nil && output.UploadId == nil {
		err = errors.New("the store began a multipart upload without an id")
	}
	if err != nil {
		return fmt.Errorf("begin multipart upload: %w", err)
	}
	u.id = output.UploadId
	return nil
}

// send uploads the parts, PartsMax at once, and stops at the first error.
func (u *upload) send(all [][][]byte) ([]types.CompletedPart, error) {
	done := make([]types.CompletedPart, len(all))
	ctx, stop := context.WithCancelCause(u.alive)
	defer stop(nil)
	next := make(chan int)
	var senders sync.WaitGroup
	for range min(u.options.PartsMax, len(all)) {
		senders.Go(func() {
			for i := range next {
				if err := u.sendPart(ctx, int32(i+1), all[i], &done[i]); err != nil {
					stop(err)
				}
			}
		})
	}
	for i := 0; i < len(all) && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	senders.Wait()
	return done, context.Cause(ctx)
}

func (u *upload) sendPart(ctx context.Context, number int32, pieces [][]byte, done *types.CompletedPart) error {
	t := u.try(kindPart)
	defer t.cancel()
	defer context.AfterFunc(ctx, t.cancel)()
	b := newBody(pieces)
	defer b.giveBack()
	u.counts.sent.Add(b.size)
	sum := u.checksum(pieces)
	output, err := u.client.UploadPart(t, &s3.UploadPartInput{
		Bucket: u.bucket, Key: u.Store.key(u.key), UploadId: u.id, PartNumber: &number,
		Body: b, ContentLength: &b.size, ChecksumCRC32C: sum,
	})
	if err != nil {
		return fmt.Errorf("upload part %d: %w", number, err)
	}
	*done = types.CompletedPart{PartNumber: &number, ETag: output.ETag, ChecksumCRC32C: sum}
	return nil
}

// join makes the object of the parts, if the key is absent.
func (u *upload) join(done []types.CompletedPart) (env.Outcome, error) {
	switch _, outcome, err := u.head(u.key); outcome {
	case env.OutcomeDone:
		return env.OutcomeRefused, errors.New("the object exists")
	case env.OutcomeFailed:
		return env.OutcomeFailed, fmt.Errorf("see whether the object exists: %w", err)
	}
	t := u.try(kindMultipart)
	defer t.cancel()
	_, err := u.client.CompleteMultipartUpload(t, &s3.CompleteMultipartUploadInput{
		Bucket: u.bucket, Key: u.Store.key(u.key), UploadId: u.id, IfNoneMatch: onlyIfAbsent,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	if err != nil {
		err = fmt.Errorf("join %d parts: %w", len(done), err)
	}
	return t.written(err), err
}

// abort gives the parts up. If that fails they cost space until the bucket's lifecycle rule runs.
func (u *upload) abort() {
	t := u.try(kindMultipart)
	defer t.cancel()
	_, _ = u.client.AbortMultipartUpload(t, &s3.AbortMultipartUploadInput{Bucket: u.bucket, Key: u.Store.key(u.key), UploadId: u.id})
}
