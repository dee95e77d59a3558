package s3store

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"weir/core/env"
)

// try is one request: its deadline, and whether it may have left the machine.
type try struct {
	context.Context
	cancel context.CancelFunc
	sent   atomic.Bool
}

// try begins a request of one kind. The caller ends it with cancel.
func (s *Store) try(k kind) *try {
	s.counts.requests[k].Add(1)
	t := &try{}
	ctx, cancel := context.WithTimeout(s.alive, s.options.TryTimeout)
	t.cancel = cancel
	t.Context = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { t.sent.Store(true) },
	})
	return t
}

// throttled are the codes of answers that say that the store did not begin. ServiceUnavailable is not
// among them: the SDK makes it up for the 503 of any proxy.
var throttled = map[string]bool{
	"SlowDown": true, "Throttling": true, "ThrottlingException": true,
	"RequestLimitExceeded": true, "RequestThrottled": true, "TooManyRequests": true, "TooManyRequestsException": true,
	"SlowDownWrite": true, "SlowDownRead": true,
}

// answer is the status and code of an answer; status 0 is none.
func answer(err error) (status int, code string) {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	return status, code
}

// written is the outcome of a request that changes something; see the package comment.
func (t *try) written(err error) env.Outcome {
	if err == nil {
		return env.OutcomeDone
	}
	status, code := answer(err)
	switch {
	case status == 0 && t.sent.Load():
		return env.OutcomeUnknown
	case status == 0:
		return env.OutcomeFailed
	case status == http.StatusPreconditionFailed:
		return env.OutcomeRefused
	case throttled[code]:
		return env.OutcomeFailed
	case status >= 500 || status < 300:
		return env.OutcomeUnknown
	}
	return env.OutcomeFailed
}

// Codes of a missing key: in the body of an answer, and what the SDK makes up for a HEAD, which has
// none. For anything but a HEAD the latter may be a proxy's.
const (
	noSuchKey = "NoSuchKey"
	notFound  = "NotFound"
)

// wasRead is the outcome of a request that reads an object; absent is the code for a missing key.
func wasRead(err error, absent string) env.Outcome {
	if err == nil {
		return env.OutcomeDone
	}
	status, code := answer(err)
	if status == http.StatusNotFound && code == absent {
		return env.OutcomeRefused
	}
	return env.OutcomeFailed
}
