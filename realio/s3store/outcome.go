package s3store

import (
	"net/http"

	"weir/core/env"
)

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
	noSuchKey    = "NoSuchKey"
	noSuchUpload = "NoSuchUpload"
	notFound     = "NotFound"
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
