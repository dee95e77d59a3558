package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"weir/core/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ env.Logger = (*Logger)(nil)

// gate is a writer that waits until it is opened.
type gate struct {
	open    chan struct{}
	entered chan struct{}
	once    sync.Once
	bytes.Buffer
}

func newGate() *gate { return &gate{open: make(chan struct{}), entered: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	g.once.Do(func() { close(g.entered) })
	<-g.open
	return g.Buffer.Write(p)
}

func TestLinesInOrder(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, Options{})
	for i := range 1000 {
		l.Log(slog.LevelInfo, "line", slog.Int("number", i))
	}
	l.Log(slog.LevelDebug, "too small a matter")
	l.Slog().Warn("from a library", "why", "it can")
	l.Close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1001 || !strings.HasSuffix(lines[999], "level=INFO msg=line number=999") || !strings.Contains(lines[1000], "why=\"it can\"") {
		t.Fatalf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	level := &slog.LevelVar{}
	l := New(&out, Options{JSON: true, Level: level})
	level.Set(slog.LevelDebug)
	l.Log(slog.LevelDebug, "hello", slog.Any("error", errors.New("none")))
	l.Close()
	var line struct{ Msg, Error, Level string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "hello" || line.Error != "none" || line.Level != "DEBUG" {
		t.Fatalf("%s: %v", out.Bytes(), err)
	}
}

type counter struct {
	mu sync.Mutex
	n  int64
}

func (c *counter) Add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

// A writer that hangs holds up nobody who logs; what is lost is counted and said.
func TestHungWriter(t *testing.T) {
	out, lost := newGate(), &counter{}
	l := New(out, Options{BufferBytes: 1000, Dropped: lost})
	l.Log(slog.LevelInfo, "first")
	<-out.entered
	value := []byte("as it was")
	l.Log(slog.LevelInfo, "value", slog.String("text", string(value)))
	for range 500 {
		l.Log(slog.LevelInfo, strings.Repeat("x", 100))
	}
	if lost.n < 400 || lost.n > 500 {
		t.Fatalf("%d of 500 lines dropped", lost.n)
	}
	close(out.open)
	l.Close()
	if s := out.String(); !strings.Contains(s, "first") || !strings.Contains(s, "as it was") || !strings.Contains(s, "lines were dropped") {
		t.Fatalf("wrote %q", s)
	}
	l.Log(slog.LevelInfo, "after the end")
	l.Close()
}

func BenchmarkLog(b *testing.B) {
	l := New(discard{}, Options{})
	for b.Loop() {
		l.Log(slog.LevelInfo, "something happened", slog.Int("partition", 12), slog.String("topic", "orders"))
	}
	l.Close()
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
