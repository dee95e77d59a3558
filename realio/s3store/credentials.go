package s3store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// rereadInterval bounds how often credentials are read again after refusals.
const rereadInterval = 5 * time.Second

// refusedCredentials are the codes of refusals that other credentials may turn.
var refusedCredentials = map[string]bool{
	"AccessDenied": true, "ExpiredToken": true, "ExpiredTokenException": true, "InvalidAccessKeyId": true, "InvalidToken": true,
	"SignatureDoesNotMatch": true, "TokenRefreshRequired": true, "InvalidClientTokenId": true, "UnrecognizedClientException": true,
}

// identity gives the credentials of the environment, and reads them again from their source once the
// store refused them: the SDK reads files once and keeps other credentials until they expire.
type identity struct {
	read func(context.Context) (aws.CredentialsProvider, error)
	log  func(level slog.Level, message string, attrs ...slog.Attr)

	mu       sync.Mutex
	provider aws.CredentialsProvider
	key      string // used last
	stale    bool   // read again before the next use
	reread   time.Time
}

// Retrieve implements aws.CredentialsProvider.
func (i *identity) Retrieve(ctx context.Context) (aws.Credentials, error) {
	i.mu.Lock()
	provider, stale := i.provider, i.stale
	i.stale = false
	i.mu.Unlock()
	if stale {
		if fresh, err := i.read(ctx); err == nil {
			provider = fresh
			i.mu.Lock()
			i.provider = fresh
			i.mu.Unlock()
		}
	}
	found, err := provider.Retrieve(ctx)
	if err == nil {
		i.noticed(found.AccessKeyID)
	}
	return found, err
}

// noticed tells of credentials that changed.
func (i *identity) noticed(key string) {
	i.mu.Lock()
	changed := i.key != "" && i.key != key
	i.key = key
	i.mu.Unlock()
	if changed {
		i.log(slog.LevelInfo, "the object store is used with other credentials from now on", slog.String("access_key_id", key))
	}
}

// refused notes that the store refused the credentials.
func (i *identity) refused(now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now.Sub(i.reread) >= rereadInterval {
		i.stale, i.reread = true, now
	}
}
