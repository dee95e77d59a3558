package s3store

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/aws/smithy-go/logging"

	"weir/core/env"
)

const credentialsAdvice = "; check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role) and what they may do with the bucket"

// advised are codes of answers that an operator can do something about.
var advised = map[string]string{
	"NoSuchBucket":          "; make the bucket, or name another one in weir.object.store",
	"InvalidBucketName":     "; name another one in weir.object.store",
	"PermanentRedirect":     "; the bucket is in another region: set weir.s3.region",
	"AccessDenied":          credentialsAdvice,
	"ExpiredToken":          credentialsAdvice,
	"InvalidAccessKeyId":    credentialsAdvice,
	"SignatureDoesNotMatch": credentialsAdvice,
}

// advice says what to do about an error, where that is known; else nothing.
func advice(err error) string {
	if err == nil {
		return ""
	}
	status, code := answer(err)
	if status == 0 && strings.Contains(err.Error(), "get credentials") { // the SDK has no type for it
		return credentialsAdvice
	}
	return advised[code]
}

// sdkLog is the SDK's way to the log.
type sdkLog struct{ env.Logger }

// Logf implements logging.Logger.
func (l sdkLog) Logf(kind logging.Classification, format string, args ...any) {
	if l.Logger != nil && kind == logging.Warn {
		l.Log(slog.LevelWarn, "the AWS SDK warns", slog.String("warning", fmt.Sprintf(format, args...)))
	}
}
