package suite_test

import (
	"bytes"
	"crypto/tls"
	"encoding/xml"
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/conformance/cases"
	"weir/conformance/rawconn"
	"weir/conformance/suite"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func fakeBroker(t *testing.T, opts ...kfake.Opt) string {
	cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

func run(t *testing.T, o suite.Options) *suite.Result {
	if o.Cases == nil {
		o.Cases = cases.All()
	}
	o.Out, o.Workers = io.Discard, 4
	result, err := suite.Run(t.Context(), o)
	require.NoError(t, err)
	return result
}

// one runs a single case at an address.
func one(t *testing.T, address, name string) suite.Outcome {
	result := run(t, suite.Options{Endpoint: rawconn.Options{Address: address, ClientID: "weir-conformance"}, Run: "^" + regexp.QuoteMeta(name) + "$"})
	require.Len(t, result.Outcomes, 1)
	return result.Outcomes[0]
}

// A wrong field of an answer fails the case that is about it, and the failure names the field.
func TestLiesAreFound(t *testing.T) {
	broker := fakeBroker(t)
	for _, lie := range []struct {
		name, field string
		lie         func(r kmsg.Response)
	}{
		{"Metadata/a-topic/v12", "ISR", func(r kmsg.Response) {
			edit(r, func(r *kmsg.MetadataResponse) {
				for i := range r.Topics {
					r.Topics[i].Partitions[0].ISR = []int32{5}
				}
			})
		}},
		{"Metadata/a-topic/v12", "TopicID", func(r kmsg.Response) {
			edit(r, func(r *kmsg.MetadataResponse) {
				for i := range r.Topics {
					r.Topics[i].TopicID[3]++
				}
			})
		}},
		{"ListOffsets/an-empty-partition/v6", "Timestamp", func(r kmsg.Response) {
			edit(r, func(r *kmsg.ListOffsetsResponse) { r.Topics[0].Partitions[0].Timestamp = 0 })
		}},
		{"FindCoordinator/of-a-group/v3", "NodeID", func(r kmsg.Response) {
			edit(r, func(r *kmsg.FindCoordinatorResponse) { r.NodeID++ })
		}},
		{"OffsetCommit/a-group-of-offsets-only/v9", "ErrorCode", func(r kmsg.Response) {
			edit(r, func(r *kmsg.OffsetCommitResponse) { r.Topics[0].Partitions[0].ErrorCode = 3 })
		}},
		{"OffsetCommit/leader-epoch/v8", "LeaderEpoch", func(r kmsg.Response) {
			edit(r, func(r *kmsg.OffsetFetchResponse) {
				if len(r.Groups) == 1 {
					r.Groups[0].Topics[0].Partitions[0].LeaderEpoch = 0
				}
			})
		}},
		{"JoinGroup/a-member-comes-back-with-its-id/v5", "ErrorCode", func(r kmsg.Response) {
			edit(r, func(r *kmsg.JoinGroupResponse) { r.ErrorCode = 0 })
		}},
		{"InitProducerID/a-new-transactional-id/v4", "ProducerEpoch", func(r kmsg.Response) {
			edit(r, func(r *kmsg.InitProducerIDResponse) { r.ProducerEpoch++ })
		}},
	} {
		t.Run(lie.name+" "+lie.field, func(t *testing.T) {
			require.Equal(t, suite.Passed, one(t, broker, lie.name).Status, "the truth")
			out := one(t, newLiar(t, broker, lie.lie), lie.name)
			require.Equal(t, suite.Failed, out.Status)
			require.Contains(t, out.Text, lie.field)
			require.Regexp(t, `\(\w+\.go:\d+\)$`, out.Text)
		})
	}
}

func edit[R kmsg.Response](r kmsg.Response, change func(R)) {
	if own, ok := r.(R); ok {
		change(own)
	}
}

// A case is skipped with what the endpoint lacks.
func TestSkipsSayWhy(t *testing.T) {
	broker := fakeBroker(t)
	address := newLiar(t, broker, func(r kmsg.Response) {
		edit(r, func(r *kmsg.ApiVersionsResponse) {
			r.ApiKeys = slices.DeleteFunc(r.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == 11 })
			for i := range r.ApiKeys {
				if k := &r.ApiKeys[i]; k.ApiKey == 8 {
					k.MaxVersion = 7
				}
			}
		})
	})
	for name, why := range map[string]string{
		"JoinGroup/another-protocol/v5":           "JoinGroup is not advertised",
		"OffsetCommit/a-group-of-offsets-only/v8": "OffsetCommit version 8 is not advertised",
		"Heartbeat/stable/v1":                     "JoinGroup is not advertised",
	} {
		out := one(t, address, name)
		require.Equal(t, suite.Skipped, out.Status)
		require.Equal(t, why, out.Text)
	}
}

// TLS and SASL reach the broker on raw connections and by franz-go.
func TestTLSAndSASL(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	address := fakeBroker(t, kfake.TLS(&tls.Config{Certificates: server.TLS.Certificates}), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "u", "p"), kfake.Superuser("SCRAM-SHA-256", "s", "p"))
	secure := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate is httptest's
	for _, o := range []rawconn.Options{
		{Address: address, TLS: secure, SASL: plain.Auth{User: "u", Pass: "p"}.AsMechanism()},
		{Address: address, TLS: secure, SASL: scram.Auth{User: "s", Pass: "p"}.AsSha256Mechanism()},
	} {
		result := run(t, suite.Options{Endpoint: o, Run: "^(Metadata/a-topic/v9|Clients/idempotent-producer-in-every-codec)$"})
		require.Equal(t, 2, result.Passed, "%+v", result.Outcomes)
	}
	_, err := rawconn.Dial(t.Context(), rawconn.Options{Address: address, TLS: secure, SASL: plain.Auth{User: "u", Pass: "wrong"}.AsMechanism()})
	require.ErrorContains(t, err, "authenticate")
}

// Cases that fail, skip, panic and pass, and their reports.
func TestReports(t *testing.T) {
	own := suite.OfArea("Own",
		suite.Case{Name: "fails <badly>", Run: func(c *suite.C) { c.Equal("Field", 1, int64(2)) }},
		suite.Case{Name: "skips", Run: func(c *suite.C) { c.Skip("it rains") }},
		suite.Case{Name: "panics", Run: func(*suite.C) { panic("a case breaks") }},
		suite.Case{Name: "together", Run: func(c *suite.C) {
			c.Together(3, func(c *suite.C, i int) { c.True("two is not reached", i < 2) })
		}},
		suite.Case{Name: "passes", Serial: true, Run: func(c *suite.C) { c.OK(0) }},
	)
	result := run(t, suite.Options{Endpoint: rawconn.Options{Address: fakeBroker(t)}, Cases: own})
	require.Equal(t, []int{1, 3, 1}, []int{result.Passed, result.Failed, result.Skipped})
	require.Equal(t, "Field: got 1, want 2", strings.SplitN(result.Outcomes[0].Text, " (", 2)[0])
	require.Contains(t, result.Outcomes[2].Text, "a case breaks")

	var text, markdown, junit bytes.Buffer
	result.Print(&text)
	require.Regexp(t, `(?s)FAIL Own/fails-<badly>: .*1 skipped: it rains\n.*\n1 passed, 3 failed, 1 skipped\n$`, text.String())
	result.Markdown(&markdown)
	require.Contains(t, markdown.String(), "| Own | 1 | 3 | 1 |")
	require.NoError(t, result.JUnit(&junit))
	var parsed struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string    `xml:"name,attr"`
			Failure *struct{} `xml:"failure"`
		} `xml:"testcase"`
	}
	require.NoError(t, xml.Unmarshal(junit.Bytes(), &parsed))
	require.Equal(t, []int{5, 3}, []int{parsed.Tests, parsed.Failures})
	require.NotNil(t, parsed.Cases[0].Failure)
}

// Names are unique, and there are as many cases as the suite promises.
func TestCasesAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range suite.Names(cases.All()) {
		require.False(t, seen[name], "%s is there twice", name)
		seen[name] = true
		require.Regexp(t, `^[A-Za-z0-9-]+/[^/ ]+(/v\d+)?$`, name)
	}
	require.Greater(t, len(seen), 2000)
}
