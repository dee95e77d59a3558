package s3store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"weir/core/env"
)

// Why a try was ended by weir itself.
var (
	errStalled = errors.New("nothing moved on the connection")
	errEnded   = errors.New("the process ends")
)

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

// throttled are the codes of answers that say that the store did not begin. ServiceUnavailable is not
// among them: the SDK makes it up for the 503 of any proxy.
var throttled = map[string]bool{
	"SlowDown": true, "Throttling": true, "ThrottlingException": true,
	"RequestLimitExceeded": true, "RequestThrottled": true, "TooManyRequests": true, "TooManyRequestsException": true,
	"SlowDownWrite": true, "SlowDownRead": true,
}

// What an operator can do, by cause.
const (
	adviseCredentials = "check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role) and what they may do with the bucket"
	adviseBucket      = "make the bucket, or name another one in weir.object.store"
	adviseRegion      = "the bucket is in another region or at another endpoint: set weir.s3.region or weir.s3.endpoint"
	adviseClock       = "set this machine's clock: the store refuses requests signed more than 15 minutes away from its own time"
	adviseThrottled   = "the store asks for fewer requests: raise its limits for this bucket, or give weir a bucket or prefix of its own"
	adviseChecksum    = "if the store does not know CRC32C checksums, set weir.s3.checksum=none"
	adviseNetwork     = "check the name, the network and the firewall between this machine and weir.s3.endpoint"
	adviseStalled     = "the link is slower than what is sent, or a proxy holds the data back: weir goes on with fewer transfers at once"
	adviseTLS         = "check weir.s3.endpoint (https or http) and the authority that signed its certificate (AWS_CA_BUNDLE)"
	adviseFull        = "give the store more room"
)

type diagnosis struct {
	cause  env.StoreCause
	advice string
}

// diagnoses are what is known by the code of an answer.
var diagnoses = map[string]diagnosis{
	"NoSuchBucket":                       {env.CauseBucket, adviseBucket},
	"InvalidBucketName":                  {env.CauseBucket, "name another bucket in weir.object.store"},
	"PermanentRedirect":                  {env.CauseBucket, adviseRegion},
	"TemporaryRedirect":                  {env.CauseBucket, adviseRegion},
	"AuthorizationHeaderMalformed":       {env.CauseBucket, adviseRegion},
	"IllegalLocationConstraintException": {env.CauseBucket, adviseRegion},
	"RequestTimeTooSkewed":               {env.CauseClock, adviseClock},
	"RequestExpired":                     {env.CauseClock, adviseClock},
	"RequestTimeout":                     {env.CauseStalled, adviseStalled},
	"XMinioStorageFull":                  {env.CauseFull, adviseFull},
	"QuotaExceeded":                      {env.CauseFull, adviseFull},
	"XAmzContentSHA256Mismatch":          {env.CauseRejected, adviseChecksum},
	"XAmzContentChecksumMismatch":        {env.CauseRejected, adviseChecksum},
	"BadDigest":                          {env.CauseRejected, adviseChecksum},
	"InvalidDigest":                      {env.CauseRejected, adviseChecksum},
	"NotImplemented":                     {env.CauseRejected, adviseChecksum},
}

// diagnose finds who can mend an error, and how.
func diagnose(err error) diagnosis {
	status, code := answer(err)
	if d, ok := diagnoses[code]; ok {
		return d
	}
	switch {
	case errors.Is(err, errEnded):
		return diagnosis{env.CauseEnded, ""}
	case errors.Is(err, errStalled):
		return diagnosis{env.CauseStalled, adviseStalled}
	case errors.Is(err, errLax), errors.Is(err, errNoTag), errors.Is(err, errNoListing):
		return diagnosis{env.CauseRejected, ""}
	case status == 0:
		return diagnoseNetwork(err)
	}
	return diagnoseStatus(status, code, err)
}

// diagnoseStatus goes by the status alone, as a HEAD must.
func diagnoseStatus(status int, code string, err error) diagnosis {
	switch {
	case throttled[code] || status == http.StatusTooManyRequests:
		return diagnosis{env.CauseThrottled, adviseThrottled}
	case status == http.StatusForbidden || status == http.StatusUnauthorized || refusedCredentials[code]:
		return diagnosis{env.CauseDenied, adviseCredentials}
	case status == http.StatusInsufficientStorage:
		return diagnosis{env.CauseFull, adviseFull}
	case status >= 500 || status < 300:
		return diagnosis{env.CauseBroken, ""}
	case status < 400:
		return diagnosis{env.CauseBucket, adviseRegion}
	case strings.Contains(strings.ToLower(err.Error()), "checksum"):
		return diagnosis{env.CauseRejected, adviseChecksum}
	}
	return diagnosis{env.CauseRejected, ""}
}

// diagnoseNetwork is for requests that had no answer.
func diagnoseNetwork(err error) diagnosis {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
		name        *net.DNSError
	)
	text := err.Error()
	switch {
	case strings.Contains(text, "get credentials"): // the SDK has no type for it
		return diagnosis{env.CauseDenied, adviseCredentials}
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &alert), errors.As(err, &authority), errors.As(err, &host),
		strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return diagnosis{env.CauseTLS, adviseTLS}
	case errors.As(err, &name):
		return diagnosis{env.CauseUnreachable, "the name of the store does not resolve: " + adviseNetwork}
	}
	return diagnosis{env.CauseUnreachable, adviseNetwork}
}

// failure makes the error of an operation on a key.
func (s *Store) failure(operation, key string, err error) error {
	d := diagnose(err)
	return &env.StoreError{
		Cause: d.cause, Advice: d.advice,
		Err: fmt.Errorf("%s %s%s in bucket %s: %w", operation, s.prefix, key, *s.bucket, err),
	}
}

// sdkLog is the SDK's way to the log.
type sdkLog struct{ env.Logger }

// Logf implements logging.Logger.
func (l sdkLog) Logf(kind logging.Classification, format string, args ...any) {
	if l.Logger != nil && kind == logging.Warn {
		l.Log(slog.LevelWarn, "the AWS SDK warns", slog.String("warning", fmt.Sprintf(format, args...)))
	}
}
