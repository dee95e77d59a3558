package logging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"weir/core/env"
)

const defaultBufferBytes = 1 << 20

// Options configure a logger. The zero value logs text from LevelInfo on.
type Options struct {
	// Level is the lowest level that is logged; it may change at any time. Nil: Info.
	Level slog.Leveler
	// JSON selects JSON lines. False: key=value pairs.
	JSON bool
	// BufferBytes bounds the bytes that wait to be written. Zero: 1 MiB. Lines that find
	// no room, and longer lines, are dropped: logging never blocks the caller.
	BufferBytes int
	// Dropped counts dropped lines, and those in writes that failed. Nil: they are not
	// counted.
	Dropped env.Counter
}

// Logger is an env.Logger. Its methods may be called by any goroutine.
type Logger struct {
	out     io.Writer
	handler slog.Handler
	max     int
	counter env.Counter
	ended   chan struct{}

	mu      sync.Mutex
	ready   sync.Cond
	waiting []byte // formatted, not taken by the writer
	dropped int    // since the last line about it
	closed  bool
}

// New returns a logger that writes to out from a goroutine of its own, until Close.
// If a write fails the lines in it are lost.
func New(out io.Writer, o Options) *Logger {
	l := &Logger{out: out, max: o.BufferBytes, counter: o.Dropped, ended: make(chan struct{})}
	if l.max == 0 {
		l.max = defaultBufferBytes
	}
	l.ready.L = &l.mu
	options := &slog.HandlerOptions{Level: o.Level}
	l.handler = slog.NewTextHandler((*buffer)(l), options)
	if o.JSON {
		l.handler = slog.NewJSONHandler((*buffer)(l), options)
	}
	go l.write()
	return l
}

// Log implements env.Logger.
func (l *Logger) Log(level slog.Level, message string, attrs ...slog.Attr) {
	if !l.handler.Enabled(context.Background(), level) {
		return
	}
	record := slog.NewRecord(time.Now(), level, message, 0)
	record.AddAttrs(attrs...)
	_ = l.handler.Handle(context.Background(), record)
}

// Slog returns a logger for libraries, into the same buffer.
func (l *Logger) Slog() *slog.Logger { return slog.New(l.handler) }

// Close writes out what waits, and returns when it is written. Lines that come later
// are dropped. A second call waits as well.
func (l *Logger) Close() {
	l.mu.Lock()
	l.closed = true
	l.ready.Signal()
	l.mu.Unlock()
	<-l.ended
}

// buffer is the handler's writer: it gets one line a call.
type buffer Logger

func (b *buffer) Write(line []byte) (int, error) {
	l := (*Logger)(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting)+len(line) > l.max {
		l.dropped++
		if l.counter != nil {
			l.counter.Add(1)
		}
		return len(line), nil
	}
	l.waiting = append(l.waiting, line...)
	l.ready.Signal()
	return len(line), nil
}

// write is the goroutine that writes.
func (l *Logger) write() {
	defer close(l.ended)
	var lines []byte
	for {
		var dropped int
		if lines, dropped = l.take(lines); len(lines) == 0 && dropped == 0 {
			return
		}
		if n, err := l.out.Write(lines); err != nil && l.counter != nil {
			l.counter.Add(int64(bytes.Count(lines[n:], []byte{'\n'})))
		}
		if dropped > 0 {
			l.Log(slog.LevelWarn, "log lines were dropped: they came faster than they could be written", slog.Int("count", dropped))
		}
	}
}

// take waits for lines, and leaves the room of those before; nothing is the end.
func (l *Logger) take(room []byte) (lines []byte, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.ready.Wait()
	}
	lines, l.waiting = l.waiting, room[:0]
	if !l.closed {
		dropped, l.dropped = l.dropped, 0
	} else if l.dropped > 0 {
		lines = fmt.Appendf(lines, "%d log lines were dropped\n", l.dropped)
		l.dropped = 0
	}
	return lines, dropped
}
