package telemetry_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/telemetry"
)

// pages is a logger that keeps what it is given.
type pages struct{ lines []string }

func (p *pages) Log(level slog.Level, message string, attrs ...slog.Attr) {
	p.lines = append(p.lines, fmt.Sprint(level, " ", message, attrs))
}

func at(seconds int) env.Time { return env.Time(time.Duration(seconds) * time.Second) }

func TestLimiterWritesOneLinePerCauseAndInterval(t *testing.T) {
	p := &pages{}
	r, l := telemetry.New(p, nil), telemetry.NewLimiter(10*time.Second)
	for second := range 21 {
		l.Warn(r, "denied", at(second), "the store refuses")
	}
	l.Error(r, "full", at(20), "no room", slog.Int("bytes", 7))
	require.Equal(t, []string{
		"WARN the store refuses[]",
		"WARN the store refuses[left_out=9]",
		"WARN the store refuses[left_out=9]",
		"ERROR no room[bytes=7]",
	}, p.lines)
}

func TestLimiterIsBounded(t *testing.T) {
	l := telemetry.NewLimiter(time.Minute)
	allowed := 0
	for i := range 10_000 {
		if _, ok := l.Allow(fmt.Sprint("cause ", i), at(0)); ok {
			allowed++
		}
	}
	require.Equal(t, 65, allowed, "64 causes and one line for all others")
	_, ok := l.Allow("a cause made up later", at(61))
	require.True(t, ok, "causes that are over make room")
}

func TestLimiterZeroValueWritesAll(t *testing.T) {
	var l telemetry.Limiter
	for range 3 {
		omitted, ok := l.Allow("again", at(1))
		require.True(t, ok)
		require.Zero(t, omitted)
	}
}
