package s3store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"weir/bill"
	"weir/core/env"
)

// weather decides what becomes of requests before they reach the server, and of their answers.
type weather struct {
	mu     sync.Mutex
	strike func(r *http.Request) *lightning // nil, or it returns nil: fair
	seen   []string
	// elsewhere, if set, answers instead of the server.
	elsewhere string
}

// lightning is what happens to one request.
type lightning struct {
	status  int    // answered without asking the server
	code    string // of that answer
	lost    bool   // the server is asked, and its answer lost
	hang    bool   // nothing, until the caller gives up
	refused bool   // no connection
	half    bool   // the server is asked, and half of its answer's body lost
}

func (w *weather) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.seen = append(w.seen, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery)
	strike := w.strike
	w.mu.Unlock()
	l := &lightning{}
	if strike != nil {
		if hit := strike(r); hit != nil {
			l = hit
		}
	}
	switch {
	case w.elsewhere != "":
		r = r.Clone(r.Context())
		r.URL.Host = strings.TrimPrefix(w.elsewhere, "http://")
		return http.DefaultTransport.RoundTrip(r)
	case l.refused:
		r = r.Clone(r.Context())
		r.URL.Host = "127.0.0.1:1"
		return http.DefaultTransport.RoundTrip(r)
	case l.hang:
		response, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
			<-r.Context().Done()
			err = r.Context().Err()
		}
		return nil, err
	case l.lost:
		response, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	case l.half:
		response, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			body, _ := io.ReadAll(response.Body)
			response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), iotest.ErrReader(io.ErrUnexpectedEOF)))
		}
		return response, err
	case l.status != 0:
		return canned(r, l)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// canned lets a server that always answers the same have the request, so that it is really sent.
func canned(r *http.Request, l *lightning) (*http.Response, error) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(l.status)
		if l.code != "" {
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>so it is</Message></Error>", l.code)
		}
	}))
	defer server.Close()
	r = r.Clone(r.Context())
	r.URL.Host = strings.TrimPrefix(server.URL, "http://")
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		body, _ := io.ReadAll(response.Body)
		response.Body = io.NopCloser(bytes.NewReader(body))
	}
	return response, err
}

func (w *weather) set(strike func(*http.Request) *lightning) {
	w.mu.Lock()
	w.strike, w.seen = strike, nil
	w.mu.Unlock()
}

// always strikes every request alike.
func always(l lightning) func(*http.Request) *lightning {
	return func(*http.Request) *lightning { return &l }
}

// on strikes requests of one method whose query has a word.
func on(method, query string, l lightning) func(*http.Request) *lightning {
	return func(r *http.Request) *lightning {
		if r.Method == method && strings.Contains(r.URL.RawQuery, query) {
			return &l
		}
		return nil
	}
}

type rig struct {
	*Store
	weather
	box chan env.Event
}

const partBytes = 5 << 20

func newRig(t *testing.T) *rig {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	r := &rig{box: make(chan env.Event, 100)}
	var err error
	r.Store, err = Open(Options{
		Bucket: "bucket", Prefix: "in/here", Endpoint: server.URL, Region: "r", PathStyle: true, AccessKey: "a", SecretKey: "s",
		PartBytes: partBytes, IdleTimeout: time.Minute, Transport: r, Deliver: func(e env.Event) { r.box <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Shutdown(); server.Close() })
	return r
}

// hurry shortens the patience with what never answers; anything else may take its time on a busy
// machine.
func (r *rig) hurry(l lightning) {
	r.options.IdleTimeout = time.Minute
	if l.hang {
		r.options.IdleTimeout = 500 * time.Millisecond
	}
}

func (r *rig) put(key string, body ...[]byte) *env.PutObject {
	p := &env.PutObject{Key: key, Body: body}
	r.Put(p)
	<-r.box
	return p
}

func (r *rig) get(key string, offset int64, size int) *env.GetObject {
	g := &env.GetObject{Key: key, Offset: offset, Into: make([]byte, size)}
	r.Get(g)
	<-r.box
	return g
}

// fates are the ways a write ends, with what weir must make of them.
var fates = []struct {
	name    string
	strike  lightning
	outcome env.Outcome
	exists  bool // the write took effect
}{
	{"no connection", lightning{refused: true}, env.OutcomeFailed, false},
	{"answer lost", lightning{lost: true}, env.OutcomeUnknown, true},
	{"no answer in time", lightning{hang: true}, env.OutcomeUnknown, true},
	{"slow down", lightning{status: 503, code: "SlowDown"}, env.OutcomeFailed, false},
	{"too many", lightning{status: 429, code: "TooManyRequests"}, env.OutcomeFailed, false},
	{"503 of a proxy", lightning{status: 503}, env.OutcomeUnknown, false},
	{"internal error", lightning{status: 500, code: "InternalError"}, env.OutcomeUnknown, false},
	{"bad gateway", lightning{status: 502}, env.OutcomeUnknown, false},
	{"gateway timeout", lightning{status: 504}, env.OutcomeUnknown, false},
	{"conflict", lightning{status: 409, code: "ConditionalRequestConflict"}, env.OutcomeFailed, false},
	{"denied", lightning{status: 403, code: "AccessDenied"}, env.OutcomeFailed, false},
	{"no bucket", lightning{status: 404, code: "NoSuchBucket"}, env.OutcomeFailed, false},
	{"elsewhere", lightning{status: 301, code: "PermanentRedirect"}, env.OutcomeFailed, false},
	{"body too slow", lightning{status: 400, code: "RequestTimeout"}, env.OutcomeFailed, false},
	{"exists", lightning{status: 412, code: "PreconditionFailed"}, env.OutcomeRefused, false},
}

func TestHowAPutEnds(t *testing.T) {
	large := bytes.Repeat([]byte("large"), partBytes/5+1)
	for name, put := range map[string]struct {
		body   []byte
		strike func(lightning) func(*http.Request) *lightning
	}{
		"whole": {[]byte("small"), always},
		"parts": {large, func(l lightning) func(*http.Request) *lightning { return on("POST", "uploadId", l) }},
	} {
		for _, fate := range fates {
			t.Run(name+"/"+fate.name, func(t *testing.T) {
				r := newRig(t)
				r.hurry(fate.strike)
				r.set(put.strike(fate.strike))
				p := r.put("key", put.body)
				if p.Outcome != fate.outcome || p.Err == nil {
					t.Fatalf("outcome %d, want %d: %v", p.Outcome, fate.outcome, p.Err)
				}
				if n := writes(r.seen); n != 1 {
					t.Errorf("%d deciding requests were sent: %q", n, r.seen)
				}
				r.set(nil)
				if g := r.get("key", 0, 10); (g.Outcome == env.OutcomeDone) != fate.exists {
					t.Errorf("afterwards, a read: outcome %d, %v", g.Outcome, g.Err)
				}
			})
		}
	}
}

// writes counts the requests that make an object.
func writes(seen []string) (n int) {
	for _, s := range seen {
		if strings.HasPrefix(s, "POST") && strings.Contains(s, "uploadId") || strings.HasPrefix(s, "PUT") && !strings.Contains(s, "partNumber") {
			n++
		}
	}
	return n
}

func TestHowAReadEnds(t *testing.T) {
	r := newRig(t)
	r.put("key", []byte("value"))
	for _, l := range []lightning{{refused: true}, {lost: true}, {status: 503, code: "SlowDown"}, {status: 500}, {status: 404, code: "NoSuchBucket"}, {status: 404}, {hang: true}} {
		r.hurry(l)
		r.set(always(l))
		if g := r.get("key", 0, 10); g.Outcome != env.OutcomeFailed || g.N != 0 || g.Err == nil {
			t.Errorf("%+v: outcome %d, %v", l, g.Outcome, g.Err)
		}
		list := &env.ListObjects{Limit: 10}
		r.List(list)
		if <-r.box; list.Outcome != env.OutcomeFailed {
			t.Errorf("%+v: list: outcome %d, %v", l, list.Outcome, list.Err)
		}
	}
	r.set(nil)
	if g := r.get("absent", 0, 10); g.Outcome != env.OutcomeRefused || !strings.Contains(g.Err.Error(), "in/here/absent") {
		t.Errorf("outcome %d, %v", g.Outcome, g.Err)
	}
}

func TestHowADeleteEnds(t *testing.T) {
	for _, fate := range fates {
		if fate.outcome == env.OutcomeRefused {
			continue
		}
		r := newRig(t)
		r.put("key", []byte("value"))
		r.hurry(fate.strike)
		r.set(always(fate.strike))
		d := &env.DeleteObject{Key: "key"}
		r.Delete(d)
		if <-r.box; d.Outcome != fate.outcome || d.Err == nil {
			t.Errorf("%s: outcome %d, want %d: %v", fate.name, d.Outcome, fate.outcome, d.Err)
		}
	}
}

func TestShutdownEndsWhatIsInFlight(t *testing.T) {
	r := newRig(t)
	begun := make(chan struct{})
	r.set(func(*http.Request) *lightning { close(begun); return &lightning{hang: true} })
	p := &env.PutObject{Key: "key", Body: [][]byte{[]byte("x")}}
	r.Put(p)
	<-begun
	r.Shutdown()
	if <-r.box; p.Outcome != env.OutcomeUnknown && p.Outcome != env.OutcomeFailed {
		t.Fatalf("outcome %d, %v", p.Outcome, p.Err)
	}
}

// A store behind a slow connection may go on reading a body after its request was given up.
func TestBodyIsNotReadAfterItIsGivenBack(t *testing.T) {
	b := newBody([][]byte{[]byte("abc"), []byte("def")})
	var got [4]byte
	if n, err := b.Read(got[:]); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	b.giveBack()
	if n, err := b.Read(got[:]); n != 0 || !errors.Is(err, errGivenBack) {
		t.Fatal(n, err)
	}
}

func TestBodyReadsAndSeeks(t *testing.T) {
	want := []byte("the quick brown fox jumps over the lazy dog")
	for size := 1; size <= len(want); size++ {
		var pieces [][]byte
		for rest := want; len(rest) > 0; {
			n := min(size, len(rest))
			pieces = append(pieces, nil, rest[:n], []byte{})
			rest = rest[n:]
		}
		if err := iotest.TestReader(newBody(pieces), want); err != nil {
			t.Fatalf("in pieces of %d: %v", size, err)
		}
		for part := int64(1); part <= int64(len(want)); part++ {
			var joined []byte
			for _, p := range parts(pieces, part) {
				if bytes := newBody(p).size; bytes > part || bytes == 0 {
					t.Fatalf("a part of %d bytes", bytes)
				}
				joined = append(joined, bytes.Join(p, nil)...)
			}
			if !bytes.Equal(joined, want) {
				t.Fatalf("parts of %d join to %q", part, joined)
			}
		}
	}
}

func TestParseRange(t *testing.T) {
	if start, whole, err := parseRange("bytes 10-19/100", 10); start != 10 || whole != 100 || err != nil {
		t.Fatal(start, whole, err)
	}
	if start, whole, err := parseRange("", 77); start != 0 || whole != 77 || err != nil {
		t.Fatal(start, whole, err)
	}
	for _, bad := range []string{"bytes 10-19/*", "bytes */100", "10", "bytes 9-8/x", "bytes 10-19/5"} {
		if _, _, err := parseRange(bad, 1); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParseLocation(t *testing.T) {
	for text, want := range map[string][2]string{"b": {"b", ""}, "b/p": {"b", "p"}, "b/p/q/": {"b", "p/q"}, "//b/p": {"b", "p"}, "b/": {"b", ""}} {
		if bucket, prefix, err := ParseLocation(text); bucket != want[0] || prefix != want[1] || err != nil {
			t.Errorf("%q: %q, %q, %v", text, bucket, prefix, err)
		}
	}
	for _, text := range []string{"", "/", "/p", "a b", "http://x"} {
		if _, _, err := ParseLocation(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// ledger counts as Prometheus would.
type ledger struct {
	mu sync.Mutex
	n  map[string]int64
}

type line struct {
	*ledger
	name string
}

func (b *ledger) Counter(name, _ string) env.Counter { return line{b, name} }
func (b *ledger) Gauge(string, string) env.Gauge     { return nil }
func (b *ledger) Histogram(string, string) env.Histogram {
	return nil
}

func (l line) Add(n int64) {
	l.mu.Lock()
	l.n[l.name] += n
	l.mu.Unlock()
}

// counted is what is not zero.
func (b *ledger) counted() map[string]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := maps.Clone(b.n)
	maps.DeleteFunc(n, func(_ string, n int64) bool { return n == 0 })
	return n
}

// TestEveryRequestIsOnTheBill: whatever the client sends is counted under its kind and purpose.
func TestEveryRequestIsOnTheBill(t *testing.T) {
	r := newRig(t)
	b := &ledger{n: map[string]int64{}}
	r.meter = bill.NewMeter(b)
	r.Put(&env.PutObject{For: env.PurposeShipment, Key: "small", Body: [][]byte{[]byte("value")}}) // twice, for the first time: see putStrictly
	<-r.box
	r.Put(&env.PutObject{For: env.PurposeUpload, Key: "large", Body: [][]byte{make([]byte, 2*partBytes+1)}})
	<-r.box
	r.Get(&env.GetObject{For: env.PurposeCatchUp, Key: "small", Into: make([]byte, 10)})
	<-r.box
	r.Get(&env.GetObject{For: env.PurposeCatchUp, Key: "small", Offset: 100, Into: make([]byte, 10)}) // learns the size by a second request
	<-r.box
	r.List(&env.ListObjects{For: env.PurposeSweep, Limit: 10})
	<-r.box
	r.Delete(&env.DeleteObject{For: env.PurposeDeletion, Key: "small"})
	<-r.box
	want := map[string]int64{
		`weir_store_requests_total{purpose="shipment",request="put"}`:     2,
		`weir_store_requests_total{purpose="upload",request="multipart"}`: 2,
		`weir_store_requests_total{purpose="upload",request="part"}`:      3,
		`weir_store_requests_total{purpose="upload",request="head"}`:      1,
		`weir_store_requests_total{purpose="catch_up",request="get"}`:     2,
		`weir_store_requests_total{purpose="catch_up",request="head"}`:    1,
		`weir_store_requests_total{purpose="sweep",request="list"}`:       1,
		`weir_store_requests_total{purpose="deletion",request="delete"}`:  1,
		`weir_store_bytes_total{direction="sent",purpose="shipment"}`:     10,
		`weir_store_bytes_total{direction="sent",purpose="upload"}`:       2*partBytes + 1,
		`weir_store_bytes_total{direction="received",purpose="catch_up"}`: 5,
	}
	require.Equal(t, want, b.counted())
	total := int64(0)
	for name, n := range want {
		if strings.Contains(name, "requests") {
			total += n
		}
	}
	require.Len(t, r.seen, int(total))
}
