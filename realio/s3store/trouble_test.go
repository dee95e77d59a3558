package s3store

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"weir/core/env"
)

func TestAnAnswerThatBreaksOffIsContinued(t *testing.T) {
	r := newRig(t)
	body := largeBody(1)
	r.put("key", body)
	for _, breaks := range []int32{1, 5} {
		var broken atomic.Int32
		r.set(func(*http.Request) *lightning { return &lightning{half: broken.Add(1) <= breaks} })
		g := r.get("key", 100, len(body)-200)
		require.Equal(t, env.OutcomeDone, g.Outcome, g.Err)
		require.EqualValues(t, len(body), g.Size)
		require.True(t, bytes.Equal(body[100:len(body)-100], g.Into))
	}
	r.set(always(lightning{half: true}))
	g := r.get("key", 0, len(body))
	require.Equal(t, env.OutcomeFailed, g.Outcome)
	require.Zero(t, g.N)
	require.LessOrEqual(t, len(r.seen), readContinuationsMax+1)
}

// TestARedirectIsNoSuccess: a proxy's sign-in page, reached by a redirect, is not an object stored.
func TestARedirectIsNoSuccess(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := newRig(t)
		page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>please sign in</html>")) }))
		portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", page.URL)
			w.WriteHeader(status)
		}))
		r.weather.elsewhere = portal.URL
		p := r.put("key", []byte("value"))
		require.Equal(t, env.OutcomeFailed, p.Outcome, "%d: %v", status, p.Err)
		require.Equal(t, env.CauseBucket, env.CauseOf(p.Err), "%v", p.Err)
		require.Equal(t, env.OutcomeFailed, r.get("key", 0, 1).Outcome)
		page.Close()
		portal.Close()
	}
}

// TestASuccessWithoutATagIsNone: whatever says 200 to everything stores nothing.
func TestASuccessWithoutATagIsNone(t *testing.T) {
	r := newRig(t)
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("welcome")) }))
	defer portal.Close()
	r.weather.elsewhere = portal.URL
	p := r.put("key", []byte("value"))
	require.Equal(t, env.OutcomeUnknown, p.Outcome)
	require.ErrorIs(t, p.Err, errNoTag)
}

// A sign-in page is no listing either: an empty one would say that nothing was ever shipped. Nor is it an object.
func TestASignInPageIsNoAnswerToARead(t *testing.T) {
	for _, page := range []string{"welcome", "", "<html><body>please sign in</body></html>"} {
		r := newRig(t)
		portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(page)) }))
		r.weather.elsewhere = portal.URL
		l := &env.ListObjects{Limit: 10}
		r.List(l)
		<-r.box
		require.Equal(t, env.OutcomeFailed, l.Outcome, page)
		require.Equal(t, env.CauseRejected, env.CauseOf(l.Err), "%v", l.Err)
		require.Equal(t, env.OutcomeFailed, r.get("key", 0, 4).Outcome, page)
		require.Equal(t, env.OutcomeFailed, r.get("key", 0, 0).Outcome, page)
		portal.Close()
	}
}

// A page of a listing may be empty although more follow: what lay there is deleted. It is no end, and whoever asks for what
// comes after its last key could not go on from it.
func TestEmptyPagesOfAListingArePassedOver(t *testing.T) {
	r := newRig(t)
	pages := func(r *http.Request) string {
		switch r.URL.Query().Get("continuation-token") {
		case "":
			return "<KeyCount>0</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>one</NextContinuationToken>"
		case "one":
			return "<KeyCount>0</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>two</NextContinuationToken>"
		}
		return "<KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>in/here/b</Key><Size>3</Size></Contents>"
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("<ListBucketResult><Name>bucket</Name>" + pages(r) + "</ListBucketResult>"))
	}))
	defer server.Close()
	r.weather.elsewhere = server.URL
	list := func() *env.ListObjects {
		l := &env.ListObjects{Limit: 10, StartAfter: "a"}
		r.List(l)
		<-r.box
		return l
	}
	l := list()
	require.Equal(t, env.OutcomeDone, l.Outcome, "%v", l.Err)
	require.Equal(t, []env.ObjectInfo{{Key: "b", Size: 3}}, l.Objects)
	require.False(t, l.More)

	pages = func(*http.Request) string {
		return "<KeyCount>0</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>"
	}
	l = list()
	require.Equal(t, env.OutcomeFailed, l.Outcome, "pages without an end")
	require.LessOrEqual(t, len(r.seen), emptyPagesMax+4)
}

func TestCausesAndAdvice(t *testing.T) {
	for _, c := range []struct {
		strike lightning
		cause  env.StoreCause
		advice string
	}{
		{lightning{status: 403, code: "AccessDenied"}, env.CauseDenied, "AWS_ACCESS_KEY_ID"},
		{lightning{status: 400, code: "ExpiredToken"}, env.CauseDenied, "AWS_ACCESS_KEY_ID"},
		{lightning{status: 403}, env.CauseDenied, "AWS_ACCESS_KEY_ID"},
		{lightning{status: 404, code: "NoSuchBucket"}, env.CauseBucket, "weir.object.store"},
		{lightning{status: 301, code: "PermanentRedirect"}, env.CauseBucket, "weir.s3.region"},
		{lightning{status: 400, code: "AuthorizationHeaderMalformed"}, env.CauseBucket, "weir.s3.region"},
		{lightning{status: 403, code: "RequestTimeTooSkewed"}, env.CauseClock, "clock"},
		{lightning{status: 503, code: "SlowDown"}, env.CauseThrottled, "fewer requests"},
		{lightning{status: 501, code: "NotImplemented"}, env.CauseRejected, "weir.s3.checksum=none"},
		{lightning{status: 400, code: "XAmzContentChecksumMismatch"}, env.CauseRejected, "weir.s3.checksum=none"},
		{lightning{status: 507, code: "XMinioStorageFull"}, env.CauseFull, "room"},
		{lightning{status: 500, code: "InternalError"}, env.CauseBroken, ""},
		{lightning{refused: true}, env.CauseUnreachable, "weir.s3.endpoint"},
	} {
		r := newRig(t)
		r.set(always(c.strike))
		for _, err := range []error{r.put("key", []byte("value")).Err, r.get("key", 0, 1).Err} {
			require.Equal(t, c.cause, env.CauseOf(err), "%+v: %v", c.strike, err)
			require.ErrorContains(t, err, c.advice)
			require.ErrorContains(t, err, "in/here/key in bucket bucket")
		}
	}
	for err, cause := range map[error]env.StoreCause{
		&net.DNSError{Err: "no such host", Name: "s3.example"}: env.CauseUnreachable,
		tls.AlertError(40):                                            env.CauseTLS,
		errors.New("failed to get credentials: EOF"):                  env.CauseDenied,
		errors.New("http: server gave HTTP response to HTTPS client"): env.CauseTLS,
	} {
		require.Equal(t, cause, diagnose(err).cause, "%v", err)
	}
}

// TestRotatedCredentialsAreReadAgain: after a refusal, not after the process's end.
func TestRotatedCredentialsAreReadAgain(t *testing.T) {
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("bucket"))
	inner := gofakes3.New(backend).Server()
	var valid atomic.Value
	valid.Store("OLD")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+valid.Load().(string)+"/") {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<Error><Code>InvalidAccessKeyId</Code></Error>"))
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "credentials")
	rotate := func(key string) {
		text := "[default]\naws_access_key_id=" + key + "\naws_secret_access_key=s\n"
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	rotate("OLD")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": file,
	} {
		t.Setenv(name, value)
	}
	r := &rig{box: make(chan env.Event, 1)}
	var err error
	r.Store, err = Open(Options{Bucket: "bucket", Endpoint: server.URL, Region: "r", PathStyle: true, Deliver: func(e env.Event) { r.box <- e }})
	require.NoError(t, err)
	defer r.Shutdown()
	require.Equal(t, env.OutcomeDone, r.put("one", []byte("value")).Outcome)
	valid.Store("NEW")
	rotate("NEW")
	require.Equal(t, env.CauseDenied, env.CauseOf(r.put("two", []byte("value")).Err))
	p := r.put("two", []byte("value"))
	require.Equal(t, env.OutcomeDone, p.Outcome, p.Err)
}
