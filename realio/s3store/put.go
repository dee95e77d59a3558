package s3store

import (
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"weir/bill"
	"weir/core/env"
)

// onlyIfAbsent is the condition of every write: R20, one name, one body.
var onlyIfAbsent = aws.String("*")

var (
	// errLax is what a store is told that overwrites objects.
	errLax = errors.New("the store wrote over an object that exists: it does not know If-None-Match, and would lose acknowledged records; " +
		"use one that does")
	// errNoTag: whatever answered, it does not speak S3.
	errNoTag = errors.New("the answer is a success without an ETag: it is not an S3 store that answers; check weir.s3.endpoint and the proxies before it")
	// errNoListing: nor does this.
	errNoListing = errors.New("the answer is a success without a listing: it is not an S3 store that answers; check weir.s3.endpoint and the proxies before it")
)

func (s *Store) put(purpose env.Purpose, key string, pieces [][]byte) (env.Outcome, error) {
	bytes := size(pieces)
	var outcome env.Outcome
	var err error
	if bytes > s.uplink.partBytes(s.leastPart(), s.options.PartBytes) || s.uploads.has(key) {
		outcome, err = s.putParts(purpose, key, pieces)
	} else {
		outcome, err = s.putStrictly(purpose, key, pieces)
	}
	if err != nil {
		err = s.failure("put", key, err)
	}
	return outcome, err
}

// putWhole sends a body in one request.
func (s *Store) putWhole(purpose env.Purpose, key string, pieces [][]byte) (env.Outcome, error) {
	outcome := env.OutcomeFailed
	err := s.transfer(s.uplink, size(pieces), func() error {
		t := s.try(s.alive, bill.Put, purpose)
		defer t.end()
		b := newBody(pieces)
		b.moved = &t.moved
		defer b.giveBack()
		s.meter.Moved(purpose, b.size, 0)
		output, err := s.client.PutObject(t, &s3.PutObjectInput{
			Bucket: s.bucket, Key: s.key(key), IfNoneMatch: onlyIfAbsent,
			Body: b, ContentLength: &b.size, ChecksumCRC32C: s.checksumHeader(checksum(pieces)),
		})
		outcome = t.written(err)
		if err == nil && aws.ToString(output.ETag) == "" {
			outcome, err = env.OutcomeUnknown, errNoTag
		}
		return s.checked(t.cause(err))
	})
	return outcome, err
}

// putStrictly is putWhole, and sees once that the store refuses to write what it just wrote.
func (s *Store) putStrictly(purpose env.Purpose, key string, pieces [][]byte) (env.Outcome, error) {
	outcome, err := s.putWhole(purpose, key, pieces)
	if outcome == env.OutcomeRefused {
		s.strict.Store(true)
	}
	if outcome != env.OutcomeDone || s.strict.Load() {
		return outcome, err
	}
	switch again, _ := s.putWhole(purpose, key, pieces); again {
	case env.OutcomeDone:
		return env.OutcomeFailed, errLax
	case env.OutcomeRefused:
		s.strict.Store(true)
	}
	return outcome, nil
}

// transfer runs a request with a body of so many bytes. A large one waits for its turn on the link.
func (s *Store) transfer(link *pacer, bytes int64, send func() error) error {
	if bytes < pacedBytes {
		return send()
	}
	turn, err := link.enter(s.alive)
	if err != nil {
		return err
	}
	err = send()
	turn.leave(bytes, err != nil && troublesLink(err))
	return err
}

// troublesLink reports whether an error says that the link or the store has too much to carry.
func troublesLink(err error) bool {
	switch diagnose(err).cause {
	case env.CauseStalled, env.CauseUnreachable, env.CauseThrottled, env.CauseBroken:
		return true
	}
	return false
}

// checked looks at the error of any request for what the store says of the credentials.
func (s *Store) checked(err error) error {
	if err != nil && s.identity != nil && diagnose(err).cause == env.CauseDenied {
		s.identity.refused(time.Now())
	}
	return err
}
