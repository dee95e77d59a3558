package process

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	linesKept    = 4000
	lineBytesMax = 16 << 10
)

// output gathers lines and wakes whoever waits for one.
type output struct {
	echo io.Writer

	mutex   sync.Mutex
	lines   []string
	dropped int // lines before lines[0]
	partial []byte
	closed  bool
	changed chan struct{} // closed and replaced at each change
}

func newOutput(echo io.Writer) *output { return &output{echo: echo, changed: make(chan struct{})} }

// Write never fails: a program must not notice that nobody reads what it prints.
func (o *output) Write(b []byte) (int, error) {
	if o.echo != nil {
		_, _ = o.echo.Write(b)
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.partial = append(o.partial, b...)
	for {
		end := bytes.IndexByte(o.partial, '\n')
		if end < 0 && len(o.partial) > lineBytesMax {
			end = lineBytesMax
		}
		if end < 0 {
			break
		}
		o.lines = append(o.lines, string(o.partial[:end]))
		o.partial = append(o.partial[:0], o.partial[end+1:]...)
	}
	if over := len(o.lines) - linesKept; over > linesKept {
		o.lines, o.dropped = append([]string(nil), o.lines[over:]...), o.dropped+over
	}
	o.wake()
	return len(b), nil
}

func (o *output) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *output) close() {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if len(o.partial) > 0 {
		o.lines, o.partial = append(o.lines, string(o.partial)), nil
	}
	o.closed = true
	o.wake()
}

// wait returns the first matching line, or why there is none.
func (o *output) wait(match func(string) bool, limit time.Duration) (line, why string) {
	timeout := time.After(limit)
	for seen := 0; ; {
		line, ok, closed, changed := o.find(match, &seen)
		switch {
		case ok:
			return line, ""
		case closed:
			return "", "ended before the line that was waited for"
		}
		select {
		case <-changed:
		case <-timeout:
			return "", "no such line within " + limit.String()
		}
	}
}

// find looks at the lines from number seen on, and moves seen past them.
func (o *output) find(match func(string) bool, seen *int) (line string, ok, closed bool, changed <-chan struct{}) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	for i := max(*seen-o.dropped, 0); i < len(o.lines); i++ {
		if match(o.lines[i]) {
			return o.lines[i], true, false, nil
		}
	}
	*seen = o.dropped + len(o.lines)
	return "", false, o.closed, o.changed
}

func (o *output) tail(n int) string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	last := o.lines[max(len(o.lines)-n, 0):]
	return strings.Join(last, "\n") + strings.TrimRight("\n"+string(o.partial), "\n")
}
