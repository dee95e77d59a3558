package s3store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"weir/bill"
	"weir/core/env"
)

const (
	tidyInterval  = time.Minute
	sweepInterval = time.Hour
	// idleMax is how long an upload waits for the next put of its key.
	idleMax = 10 * time.Minute
	// leftBehindAge is how old an upload must be that nobody here began: another process may be at it.
	leftBehindAge = 24 * time.Hour
	orphansMax    = 1000 // uploads whose abort is tried again; the sweep finds the others
	shutdownTime  = 3 * time.Second
	sweepPagesMax = 100
	abortsAtOnce  = 8
)

// orphan keeps an upload whose abort failed, apart from its key, which another upload may take.
func (u *uploads) orphan(w *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byKey[w.key] == w {
		delete(u.byKey, w.key)
	}
	if len(u.orphans) < orphansMax {
		u.orphans = append(u.orphans, w)
	}
}

func (u *uploads) takeOrphans() []*upload {
	u.mu.Lock()
	defer u.mu.Unlock()
	orphans := u.orphans
	u.orphans = nil
	return orphans
}

// tidyUp runs until the store ends: it aborts uploads that nobody goes on with, and sweeps those that
// ended processes left behind.
func (s *Store) tidyUp() {
	defer close(s.tidied)
	ticker := time.NewTicker(tidyInterval)
	defer ticker.Stop()
	var swept time.Time
	for {
		now := time.Now()
		s.abortIdle(now.Add(-idleMax))
		if now.Sub(swept) >= sweepInterval && s.sweep(now, s.options.Owns) {
			swept = now
		}
		select {
		case <-ticker.C:
		case <-s.alive.Done():
			return
		}
	}
}

// abortIdle aborts uploads that no put has worked at since a time, and those whose abort failed before.
func (s *Store) abortIdle(since time.Time) {
	for _, u := range append(s.uploads.takeOrphans(), s.uploads.idle(since)...) {
		u.abandon()
	}
}

// sweep aborts uploads of weir's keys that are older than a day, and reports whether it came to an end.
func (s *Store) sweep(now time.Time, owns func(string) bool) bool {
	if owns == nil {
		return true
	}
	err := s.sweepPages(now.Add(-leftBehindAge), owns)
	if status, code := answer(err); code == "NotImplemented" || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented {
		return true // a store that cannot list them
	}
	if err != nil {
		if !errors.Is(err, errEnded) {
			s.log(slog.LevelWarn, "multipart uploads left behind are not swept; they cost space until they are",
				slog.Any("error", s.failure("list multipart uploads under", "", err)))
		}
		return false
	}
	s.counts.swept.Set(now.Unix())
	return true
}

// sweepPages returns the first error of an abort at the end: one upload that cannot be
// aborted keeps no other.
func (s *Store) sweepPages(before time.Time, owns func(string) bool) error {
	var failed error
	input := &s3.ListMultipartUploadsInput{Bucket: s.bucket, Prefix: &s.prefix}
	for range sweepPagesMax {
		page, err := s.listUploads(input)
		if err != nil {
			return err
		}
		for i := range page.Uploads {
			u := &page.Uploads[i]
			key, ok := strings.CutPrefix(aws.ToString(u.Key), s.prefix)
			if !ok || u.Initiated == nil || u.Initiated.After(before) || !owns(key) || s.uploads.isOurs(aws.ToString(u.UploadId)) {
				continue
			}
			if err := s.abortUpload(s.alive, env.PurposeUpkeep, u.Key, u.UploadId); err != nil && failed == nil {
				failed = fmt.Errorf("abort the upload of %s: %w", *u.Key, err)
			}
			if s.alive.Err() != nil {
				return failed
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return failed
		}
		input.KeyMarker, input.UploadIdMarker = page.NextKeyMarker, page.NextUploadIdMarker
	}
	return failed
}

func (s *Store) listUploads(input *s3.ListMultipartUploadsInput) (*s3.ListMultipartUploadsOutput, error) {
	t := s.try(s.alive, bill.List, env.PurposeUpkeep)
	defer t.end()
	page, err := s.client.ListMultipartUploads(t, input)
	return page, s.checked(t.cause(err))
}

// abortAll aborts every upload of this process, within a time of its own: what put them is over.
func (s *Store) abortAll() {
	ctx, cancel := context.WithTimeoutCause(context.Background(), shutdownTime, errEnded)
	defer cancel()
	all := append(s.uploads.takeOrphans(), s.uploads.idle(time.Now().Add(time.Hour))...)
	var aborts sync.WaitGroup
	turns := make(chan struct{}, abortsAtOnce)
	for _, u := range all {
		turns <- struct{}{}
		aborts.Go(func() {
			defer func() { <-turns }()
			u.abort(ctx)
		})
	}
	aborts.Wait()
}
