package s3store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"weir/bill"
	"weir/core/env"
	"weir/realio/workers"
)

// Options say which bucket to use, and how to reach it.
type Options struct {
	// Bucket is the bucket's name. It must exist. Required.
	Bucket string
	// Prefix is prepended to all keys, with a slash. Empty: none.
	Prefix string

	// Endpoint is the URL of an S3-compatible server. Empty: AWS in Region.
	Endpoint string
	// Region is the bucket's region. Empty: that of the environment or the shared
	// configuration, else us-east-1.
	Region string
	// PathStyle puts the bucket into the URL's path instead of its host name, as most
	// servers other than AWS require.
	PathStyle bool

	// AccessKey and SecretKey are fixed credentials. Empty: the SDK's chain of environment,
	// shared files, web identity, container and instance roles. That chain is why the SDK's
	// config package is linked, several times the size of the rest: a broker in the cloud
	// should hold no keys.
	AccessKey, SecretKey string

	// NoChecksums omits the CRC32C header, for a server that refuses it. The server cannot
	// then refuse a body that was damaged on its way.
	NoChecksums bool
	// PartBytes is the largest part of a body; larger bodies are multipart uploads. Zero:
	// bill.PartBytes, 32 MiB. S3 refuses less than 5 MiB for all parts but the last.
	PartBytes int64
	// PartsMax bounds the parts in flight for each put. Zero: 4.
	PartsMax int
	// InFlightMax bounds the operations in flight; further ones wait in order. Zero: 64. How
	// many of them may be large transfers is measured, separately for each direction,
	// between 1 and InFlightMax.
	InFlightMax int
	// IdleTimeout is how long a request's connection may be without traffic before the
	// request is canceled. Zero: 20 s. If it is too short, requests are canceled that a busy
	// store or a proxy would have answered; if it is too long, a broken connection holds an
	// operation for that time.
	IdleTimeout time.Duration
	// Owns reports whether a key, without the prefix, is one that weir writes. Only abandoned
	// multipart uploads of such keys are aborted. Nil: none are.
	Owns func(key string) bool

	// Deliver puts a completed operation into the node's mailbox. It is called from many goroutines
	// and may run a turn of the loop. Required.
	Deliver func(env.Event)
	// Metrics makes counters of requests and bytes, which many goroutines use. Nil: none.
	Metrics env.Metrics
	// Log takes the SDK's warnings and what an operator should know. Nil: none.
	Log env.Logger
	// Transport replaces the connection pool; tests lose responses with it. Nil: the pool.
	Transport http.RoundTripper
}

func (o Options) withDefaults() Options {
	if o.PartBytes <= 0 {
		o.PartBytes = bill.PartBytes
	}
	if o.PartsMax <= 0 {
		o.PartsMax = 4
	}
	if o.InFlightMax <= 0 {
		o.InFlightMax = 64
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 20 * time.Second
	}
	return o
}

// tune makes a transport keep connections for every request that may be in flight, so that a burst
// does not begin with handshakes. HTTP/1.1 only: S3 offers no more, and one connection a request
// spreads load.
func (o *Options) tune(t *http.Transport) {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	t.DialContext = dialer.DialContext
	t.TLSHandshakeTimeout = 5 * time.Second
	t.MaxIdleConns = o.InFlightMax * o.PartsMax
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = t.MaxIdleConns, 0
	t.IdleConnTimeout = 30 * time.Second
	t.ForceAttemptHTTP2 = false
	t.DisableCompression = true // a body is what is stored
	t.WriteBufferSize, t.ReadBufferSize = 256<<10, 256<<10
}

// ParseLocation splits what follows "s3:" in a store's URL, BUCKET or BUCKET/PREFIX.
func ParseLocation(text string) (bucket, prefix string, err error) {
	bucket, prefix, _ = strings.Cut(strings.TrimPrefix(text, "//"), "/")
	prefix = strings.Trim(prefix, "/")
	if bucket == "" || strings.ContainsAny(bucket, " :") {
		return "", "", fmt.Errorf("%q names no bucket: write s3:BUCKET or s3:BUCKET/PREFIX", text)
	}
	return bucket, prefix, nil
}

// Store implements env.ObjectStore. Its methods may be called from any goroutine, and never block.
type Store struct {
	options Options
	bucket  *string
	prefix  string
	client  *s3.Client
	http    *http.Client
	pool    *workers.Pool[env.Event]
	alive   context.Context // of every request but the aborts of a shutdown
	die     context.CancelCauseFunc
	counts  counts
	meter   *bill.Meter
	strict  atomic.Bool // the store was seen to refuse what exists

	noCopies atomic.Bool // the store was seen not to copy parts

	identity *identity // nil: the credentials are fixed
	uplink   *pacer
	downlink *pacer
	uploads  uploads
	tidied   chan struct{} // closed once tidyUp is over
}

var (
	_ env.ObjectStore = (*Store)(nil)
	_ env.Abandoner   = (*Store)(nil)
)

// Windows of a store's first moments.
const (
	uploadWindow = 8
	readWindow   = 32
)

// Open reads the environment's configuration if it is needed. The only requests that it starts itself
// are those that abort old multipart uploads.
func Open(o Options) (*Store, error) {
	if o.Bucket == "" {
		return nil, errors.New("open s3 store: no bucket is named")
	}
	o = o.withDefaults()
	s := &Store{options: o, bucket: &o.Bucket, counts: newCounts(o.Metrics), meter: bill.NewMeter(o.Metrics), tidied: make(chan struct{})}
	// A redirect followed would turn a PUT into a GET, whose success is not the PUT's.
	s.http = &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s.uplink, s.downlink = newPacer(uploadWindow, o.InFlightMax), newPacer(readWindow, o.InFlightMax)
	s.uploads.byKey = map[string]*upload{}
	if o.Prefix != "" {
		s.prefix = o.Prefix + "/"
	}
	s.alive, s.die = context.WithCancelCause(context.Background())
	settings := s3.Options{
		Region:                     o.Region,
		UsePathStyle:               o.PathStyle,
		HTTPClient:                 s.http,
		Retryer:                    aws.NopRetryer{},
		Logger:                     sdkLog{o.Log},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	if o.Endpoint != "" {
		settings.BaseEndpoint = &o.Endpoint
	}
	if !strings.HasPrefix(o.Endpoint, "http://") {
		settings.APIOptions = append(settings.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
	if err := s.identify(&settings); err != nil {
		return nil, err
	}
	s.client = s3.New(settings)
	s.pool = workers.New(o.InFlightMax, s.run, o.Deliver)
	go s.tidyUp()
	return s, nil
}

// identify finds credentials and region, and the certificates that the environment trusts
// (AWS_CA_BUNDLE), which the SDK adds to a client of its own kind only.
func (s *Store) identify(settings *s3.Options) error {
	o := &s.options
	if o.AccessKey != "" {
		settings.Credentials = credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, "")
	}
	own := awshttp.NewBuildableClient().WithTransportOptions(o.tune)
	if o.AccessKey == "" || o.Region == "" {
		client := aws.HTTPClient(own)
		if o.Transport != nil {
			client = s.http
		}
		found, err := config.LoadDefaultConfig(s.alive, config.WithHTTPClient(client), config.WithLogger(sdkLog{o.Log}))
		if err != nil {
			return fmt.Errorf("open s3 store: read the AWS configuration of the environment: %w", err)
		}
		if o.AccessKey == "" {
			s.identity = &identity{provider: found.Credentials, read: s.readCredentials(client), log: s.log}
			settings.Credentials = s.identity
		}
		if o.Region == "" {
			settings.Region = found.Region
		}
		if changed, ok := found.HTTPClient.(*awshttp.BuildableClient); ok {
			own = changed
		}
	}
	if o.Transport == nil {
		s.http.Transport = own.GetTransport()
	}
	if settings.Region == "" {
		settings.Region = "us-east-1"
	}
	return nil
}

// readCredentials asks the SDK's chain anew.
func (s *Store) readCredentials(client aws.HTTPClient) func(context.Context) (aws.CredentialsProvider, error) {
	return func(ctx context.Context) (aws.CredentialsProvider, error) {
		found, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithLogger(sdkLog{s.options.Log}))
		return found.Credentials, err
	}
}

func (s *Store) log(level slog.Level, message string, attrs ...slog.Attr) {
	if s.options.Log != nil {
		s.options.Log.Log(level, message, attrs...)
	}
}

// Abandon implements env.Abandoner.
func (s *Store) Abandon() { s.die(errEnded) }

// Shutdown ends what is in flight, without waiting for answers, aborts the multipart uploads of this
// process, for which it takes some seconds at most, and closes the connections. Operations submitted
// afterwards are never completed.
func (s *Store) Shutdown() {
	s.Abandon()
	s.pool.Close()
	<-s.tidied
	s.abortAll()
	s.http.CloseIdleConnections()
}

// Put implements env.ObjectStore.
func (s *Store) Put(o *env.PutObject) { s.pool.Submit(o) }

// Compose implements env.ObjectStore.
func (s *Store) Compose(o *env.ComposeObject) { s.pool.Submit(o) }

// Get implements env.ObjectStore.
func (s *Store) Get(o *env.GetObject) { s.pool.Submit(o) }

// Delete implements env.ObjectStore.
func (s *Store) Delete(o *env.DeleteObject) { s.pool.Submit(o) }

// List implements env.ObjectStore.
func (s *Store) List(o *env.ListObjects) { s.pool.Submit(o) }

// run does one operation, on a worker.
func (s *Store) run(e env.Event) {
	switch o := e.(type) {
	case *env.PutObject:
		o.Outcome, o.Err = s.put(o.For, o.Key, o.Body)
	case *env.ComposeObject:
		o.Outcome, o.Err = s.compose(o)
	case *env.GetObject:
		s.get(o)
	case *env.DeleteObject:
		o.Outcome, o.Err = s.remove(o.For, o.Key)
	case *env.ListObjects:
		s.list(o)
	}
}

func (s *Store) key(key string) *string { return aws.String(s.prefix + key) }
