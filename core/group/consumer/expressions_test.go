package consumer

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What Apache Kafka 4.4.0 (RE2/J 1.8) answers, text for text, but for the two cases that say so.
func TestExpressionsAsKafka(t *testing.T) {
	for text, why := range map[string]string{
		"[": "missing closing ]", "(": "missing closing )", "*": "missing argument to repetition operator", "a**": "invalid nested repetition operator",
		"a{2000}": "invalid repeat count", `\8`: "invalid escape sequence", "(?P<n": "invalid named capture", `a\`: "trailing backslash at end of expression",
		"[[:foo:]]": "invalid character class range", "[b-a]": "invalid character class range", "(?=a)": "invalid or unsupported Perl syntax",
		`\C`: "invalid escape sequence", "x{2,1}": "invalid repeat count", "(?z)": "invalid or unsupported Perl syntax",
		")":                    "unexpected )",         // Kafka: regexp/syntax: internal error
		"((a{100}){100}){100}": "invalid repeat count", // Kafka takes it
		"(?<n>a)":              "", "(?i)x": "", `\pN`: "", `\Qa\E`: "", "": "", "a|b": "",
	} {
		err := checkExpression(text)
		if why == "" {
			require.NoError(t, err, text)
			continue
		}
		require.EqualError(t, err, "SubscribedTopicRegex `"+text+"` is not a valid regular expression: "+why+".")
	}
}

// Repetitions make a short expression as large as memory, and the loop compiles it.
func TestExpressionsAreBounded(t *testing.T) {
	for text, why := range map[string]string{
		strings.Repeat("a", expressionBytesMax+1):               "expression is too long",
		"(" + strings.Repeat("x?", 1600) + "){1000}":            "expression is too large",
		strings.Repeat("[^a]{1000}", 800):                       "expression is too large",
		"(?:(?:" + strings.Repeat("y", 500) + "){10}){0,100}":   "expression is too large",
		"(?i:" + strings.Repeat("ab|", 100) + "(?:c{500}){2,})": "",
		strings.Repeat(`\pL`, 2700):                             "",
		`\pL{1,249}\.[a-z0-9._-]{1,249}(-v[0-9]{1,10})?`:        "",
		strings.Repeat("a", expressionBytesMax):                 "",
	} {
		err := checkExpression(text)
		if why == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, why)
	}
}

// Whether a topic is read is asked for each offset that expires or is deleted: were every expression looked at, this takes minutes.
func TestManyExpressionsAreNotLookedAtForEachOffset(t *testing.T) {
	const many = 50_000
	g := NewGroup("g")
	of := func(i int) Key { return Key{TypeExpression, "g", strconv.Itoa(i)} }
	for i := range many {
		require.NoError(t, g.Apply(of(i), entry(of(i), expressionValue{Resolved{Topics: []string{"a", "b"}}}).Value))
	}
	for range many {
		require.False(t, g.SubscribedTo("c"))
	}
	require.True(t, g.SubscribedTo("a"))
	require.NoError(t, g.Apply(of(0), entry(of(0), expressionValue{Resolved{Topics: []string{"c"}}}).Value))
	require.True(t, g.SubscribedTo("c"))
	require.True(t, g.SubscribedTo("a"))
	for i := range many {
		require.NoError(t, g.Apply(of(i), nil))
	}
	require.False(t, g.SubscribedTo("a"))
	require.False(t, g.SubscribedTo("c"))
	require.Zero(t, g.Bytes())
}

// A heartbeat without change looks at its member alone: were every expression looked at, this takes minutes.
func TestHeartbeatLooksAtNoOtherExpression(t *testing.T) {
	const many = 50_000
	r := newRig(t)
	write := func(kind int16, of string, v value) {
		require.NoError(t, r.g.Apply(Key{kind, "g", of}, entry(Key{kind, "g", of}, v).Value))
	}
	for i := range many {
		id := strconv.Itoa(i)
		write(TypeMember, id, memberValue{Metadata{ClientID: "client", ClientHost: "/127.0.0.1", Expression: "x" + id}})
		write(TypeCurrent, id, currentValue{epoch: 1, previous: 1})
		write(TypeExpression, "x"+id, expressionValue{Resolved{Version: 1, Timestamp: r.c.NowMillis}})
	}
	r.c.TopicsVersion, r.c.NewTopicsVersion = 1, 1
	r.later(time.Minute)
	for i := range many {
		d, err := r.g.Heartbeat(&r.c, request(strconv.Itoa(i), 1), Client{ID: "client", Host: "/127.0.0.1"})
		require.NoError(t, err)
		require.Empty(t, d.Entries)
		require.Empty(t, d.Resolve)
	}
}

// Members may have an expression each, all of which match every topic: what is kept of that is bounded while it is found.
func TestMatchesAreBounded(t *testing.T) {
	topics, expressions := make([]string, 5000), make([]string, 2000)
	for i := range topics {
		topics[i] = "topic-" + strconv.Itoa(i)
	}
	for i := range expressions {
		expressions[i] = ".*|" + strconv.Itoa(i)
	}
	require.Len(t, Resolve(expressions[:10], topics), 10)
	require.Nil(t, Resolve(expressions, topics))
}

// An expression matches whole names: what it alternates too.
func TestExpressionsMatchWholeNames(t *testing.T) {
	topics := []string{"a", "ab", "b", "ba"}
	require.Equal(t, map[string][]string{"a|b": {"a", "b"}, "a.*": {"a", "ab"}, "(?i)B": {"b"}, "[": nil}, Resolve([]string{"a|b", "a.*", "(?i)B", "["}, topics))
}
