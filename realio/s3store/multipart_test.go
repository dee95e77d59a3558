package s3store

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"weir/core/env"
)

// pending are the keys of the multipart uploads that the server has.
func (r *rig) pending(t *testing.T) (keys []string) {
	t.Helper()
	r.set(nil)
	output, err := r.client.ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: r.bucket})
	require.NoError(t, err)
	for _, u := range output.Uploads {
		keys = append(keys, aws.ToString(u.Key))
	}
	return keys
}

// sent counts the requests of a method whose query has a word.
func (r *rig) sent(method, query string) (n int) {
	r.weather.mu.Lock()
	defer r.weather.mu.Unlock()
	for _, s := range r.seen {
		if strings.HasPrefix(s, method) && strings.Contains(s, query) {
			n++
		}
	}
	return n
}

func largeBody(parts int) []byte {
	body := make([]byte, parts*partBytes-1000)
	for i := range body {
		body[i] = byte(i * i >> 8)
	}
	return body
}

// The last part fails: those before it were begun, and arrive.
func TestPartsThatArrivedAreKeptOverRetries(t *testing.T) {
	for _, l := range []lightning{{status: 500}, {lost: true}, {refused: true}, {status: 503, code: "SlowDown"}} {
		r := newRig(t)
		body := largeBody(3)
		r.set(on("PUT", "partNumber=3", l))
		p := r.put("key", body)
		require.Equal(t, env.OutcomeFailed, p.Outcome, p.Err)
		require.ErrorContains(t, p.Err, "part 3 of 3")
		require.Zero(t, writes(r.seen))
		r.set(nil)
		p = r.put("key", body)
		require.Equal(t, env.OutcomeDone, p.Outcome, p.Err)
		require.Equal(t, 1, r.sent("PUT", "partNumber"), "only what is missing is sent: %q", r.seen)
		require.Zero(t, r.sent("POST", "uploads="), "no other upload is begun")
		g := r.get("key", 0, len(body))
		require.True(t, bytes.Equal(body, g.Into[:g.N]), "the object is another one")
		require.Empty(t, r.pending(t))
	}
}

// TestASlowLinkGetsThrough: every request of more than one part's time breaks, as behind a proxy with a
// time limit, and yet the object arrives.
func TestALinkThatTakesOnePartNowAndThen(t *testing.T) {
	r := newRig(t)
	body := largeBody(6)
	for puts := 1; ; puts++ {
		var through atomic.Bool
		r.set(func(q *http.Request) *lightning {
			if q.Method == "PUT" && !through.CompareAndSwap(false, true) {
				return &lightning{status: 502}
			}
			return nil
		})
		p := r.put("key", body)
		if p.Outcome == env.OutcomeDone {
			require.Equal(t, 6, puts, "one part for each put")
			break
		}
		require.LessOrEqual(t, puts, 6, "%v", p.Err)
	}
	require.Empty(t, r.pending(t))
}

func TestAJoinThatFailsLeaksNothing(t *testing.T) {
	for _, l := range []lightning{{status: 500, code: "InternalError"}, {status: 502}, {status: 503, code: "SlowDown"}} {
		r := newRig(t)
		body := largeBody(3)
		r.set(on("POST", "uploadId", l))
		for range 9 {
			p := r.put("key", body)
			require.NotEqual(t, env.OutcomeDone, p.Outcome)
		}
		require.Equal(t, 1, r.sent("POST", "uploads="), "one upload for all tries: %q", r.seen)
		require.Equal(t, 3, r.sent("PUT", "partNumber"))
		require.Len(t, r.pending(t), 1)
		p := r.put("key", body)
		require.Equal(t, env.OutcomeDone, p.Outcome, p.Err)
		require.Empty(t, r.pending(t))
	}
}

// TestAJoinWhoseAnswerIsLost: the object is there, and the next put says so and forgets the upload.
func TestAJoinWhoseAnswerIsLost(t *testing.T) {
	r := newRig(t)
	body := largeBody(2)
	r.set(on("POST", "uploadId", lightning{lost: true}))
	require.Equal(t, env.OutcomeUnknown, r.put("key", body).Outcome)
	r.set(nil)
	require.Equal(t, env.OutcomeRefused, r.put("key", body).Outcome)
	require.False(t, r.uploads.has("key"))
	require.Equal(t, env.OutcomeDone, r.get("key", 0, 10).Outcome)
}

func TestAnUploadThatSomebodyAbortedIsBegunAgain(t *testing.T) {
	r := newRig(t)
	body := largeBody(2)
	r.set(on("PUT", "partNumber=2", lightning{status: 500}))
	require.Equal(t, env.OutcomeFailed, r.put("key", body).Outcome)
	u := r.uploads.byKey["key"]
	r.set(nil)
	require.NoError(t, r.abortUpload(r.alive, env.PurposeUpkeep, r.key("key"), u.id))
	require.Equal(t, env.OutcomeUnknown, r.put("key", body).Outcome)
	require.Equal(t, env.OutcomeDone, r.put("key", body).Outcome)
}

func TestAnotherBodyBeginsAnotherUpload(t *testing.T) {
	r := newRig(t)
	r.set(on("PUT", "partNumber=2", lightning{status: 500}))
	require.Equal(t, env.OutcomeFailed, r.put("key", largeBody(2)).Outcome)
	r.set(nil)
	other := bytes.Repeat([]byte("x"), len(largeBody(2)))
	require.Equal(t, env.OutcomeDone, r.put("key", other).Outcome)
	g := r.get("key", 0, len(other))
	require.True(t, bytes.Equal(other, g.Into))
	require.Empty(t, r.pending(t))
}

// TestAbortsAreTriedAgain: what nobody goes on with is aborted, however often that fails.
func TestAbortsAreTriedAgain(t *testing.T) {
	r := newRig(t)
	r.set(on("PUT", "partNumber=2", lightning{status: 500}))
	require.Equal(t, env.OutcomeFailed, r.put("key", largeBody(2)).Outcome)
	r.abortIdle(time.Now().Add(-time.Hour))
	require.Len(t, r.pending(t), 1, "a put may still go on with it")
	r.set(on("DELETE", "uploadId", lightning{status: 500}))
	for range 3 {
		r.abortIdle(time.Now())
	}
	require.Equal(t, 3, r.sent("DELETE", "uploadId"))
	require.Len(t, r.pending(t), 1)
	r.abortIdle(time.Now())
	require.Empty(t, r.pending(t))
	require.Empty(t, r.uploads.takeOrphans())
}

func TestShutdownAbortsUploads(t *testing.T) {
	r := newRig(t)
	r.set(on("PUT", "partNumber=2", lightning{status: 500}))
	require.Equal(t, env.OutcomeFailed, r.put("key", largeBody(2)).Outcome)
	r.Shutdown()
	require.Empty(t, r.pending(t))
}

// TestTheSweepTakesWhatEndedProcessesLeft and nothing else: not what is young, not what is this
// process's, not what others keep in the bucket.
func TestTheSweepTakesWhatEndedProcessesLeft(t *testing.T) {
	r := newRig(t)
	owns := func(key string) bool { return strings.HasPrefix(key, "objects/") }
	for _, key := range []string{"in/here/objects/1", "in/here/objects/2", "in/here/other", "objects/3"} {
		_, err := r.client.CreateMultipartUpload(context.Background(), &s3.CreateMultipartUploadInput{Bucket: r.bucket, Key: &key})
		require.NoError(t, err)
	}
	r.set(on("PUT", "partNumber=2", lightning{status: 500}))
	require.Equal(t, env.OutcomeFailed, r.put("objects/4", largeBody(2)).Outcome)
	r.set(nil)
	require.True(t, r.sweep(time.Now().Add(23*time.Hour), owns))
	require.Len(t, r.pending(t), 5)
	r.set(on("GET", "uploads", lightning{status: 500}))
	require.False(t, r.sweep(time.Now().Add(25*time.Hour), owns))
	r.set(nil)
	require.True(t, r.sweep(time.Now().Add(25*time.Hour), owns))
	require.ElementsMatch(t, []string{"in/here/other", "objects/3", "in/here/objects/4"}, r.pending(t))
}

// An upload that cannot be aborted keeps no other.
func TestTheSweepGoesOnAfterAFailedAbort(t *testing.T) {
	r := newRig(t)
	owns := func(string) bool { return true }
	for _, key := range []string{"in/here/1", "in/here/2", "in/here/3"} {
		_, err := r.client.CreateMultipartUpload(context.Background(), &s3.CreateMultipartUploadInput{Bucket: r.bucket, Key: &key})
		require.NoError(t, err)
	}
	r.set(func(r *http.Request) *lightning {
		if r.Method == "DELETE" && strings.HasSuffix(r.URL.Path, "/1") {
			return &lightning{status: 403, code: "AccessDenied"}
		}
		return nil
	})
	require.False(t, r.sweep(time.Now().Add(25*time.Hour), owns), "it is tried again")
	require.Equal(t, []string{"in/here/1"}, r.pending(t))
}
