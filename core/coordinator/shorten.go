package coordinator

import (
	"log/slog"
	"maps"
	"slices"

	"weir/core/wire"
)

const (
	// cleanFactor is how many times its live records are appended before a shard writes them anew: a log holds
	// at most that many times its state, and the work is that part of all writes.
	cleanFactor = 4
	// rewritesInFlight is how many keys are written anew at a time.
	rewritesInFlight = 8
	// rewritesInTurn is how many keys are begun in one turn of the loop: some have nothing to write.
	rewritesInTurn = 64
)

// cleaning is the state of keeping a shard's log short.
type cleaning struct {
	bytes    int64 // applied since the state was last written anew, or the shard opened
	live     int64 // bytes of the state when it was last written
	keys     []string
	open     int // keys under way
	start    int64
	begun    bool
	waiting  bool // until what lies below the start is applied
	failed   bool
	trimming bool
}

func (c *cleaning) read(bytes int) { c.bytes += int64(bytes) }

// due reports whether more was appended than the state is worth.
func (c *cleaning) due(bytesMin int64) bool {
	return !c.begun && !c.trimming && c.bytes > max(bytesMin, cleanFactor*c.live)
}

// shorten writes the state anew when that is due, and then cuts the log.
func (s *Shard) shorten() {
	c := &s.cleaning
	if s.phase != serving || !c.due(s.runtime.options.CleanBytesMin) {
		return
	}
	// Transactions that are open now have nothing below the last stable offset. What lies below it is applied before
	// the first key is written anew.
	start := s.log.LastStable()
	*c = cleaning{bytes: c.bytes, begun: true, waiting: true}
	s.awaits.Push(pendingWrite{end: start, done: func(code wire.Code) {
		if code == wire.None {
			*c = cleaning{begun: true, start: start, keys: s.machine.Keys()}
			s.rewriteNext()
		}
	}})
	s.completeWrites()
}

// rewriteNext goes on in the next turn of the loop.
func (s *Shard) rewriteNext() {
	if s.phase == serving && !s.rewriting.Pending() {
		s.loop().Reset(&s.rewriting, 0, s.rewriteKeys)
	}
}

func (s *Shard) rewriteKeys() {
	c := &s.cleaning
	for begun := 0; len(c.keys) > 0 && c.open < rewritesInFlight && begun < rewritesInTurn && s.phase == serving && !c.failed; begun++ {
		key := c.keys[0]
		c.keys = c.keys[1:]
		c.open++
		op := &Operation{Key: key, Cut: true}
		op.Decide = func() (entries []Entry) {
			entries, op.Next = s.machine.Rewrite(key)
			return entries
		}
		op.Done = func(code wire.Code) {
			c.open--
			c.failed = c.failed || code != wire.None
			s.rewriteNext()
		}
		s.Do(op)
	}
	if c.begun && !c.waiting && c.open == 0 && (len(c.keys) == 0 || c.failed) && s.phase == serving {
		s.cut()
	}
}

// cut raises the log start to where the rewriting began. Staged offsets of open transactions are not written
// anew, so it stayed below them.
func (s *Shard) cut() {
	c := &s.cleaning
	c.begun = false
	c.live = c.bytes
	if c.failed {
		c.bytes = 0 // tried again after as much was appended
		c.keys = nil
		return
	}
	c.bytes = 0
	if m, ok := s.machine.(Floor); ok {
		c.start = min(c.start, m.Floor())
	}
	if c.start <= s.log.LogStart() {
		return
	}
	c.trimming = true
	s.runtime.options.Trim(s.Index, c.start, func(err error) {
		c.trimming = false
		if err == nil {
			s.runtime.cleaned.Hit()
			return
		}
		o := &s.runtime.options
		s.runtime.operators.Warn(o.Telemetry, "trim", s.loop().Now(), "the log of a coordinator could not be cut; it is tried again when it has grown",
			slog.String("topic", o.Topic), slog.Int64("partition", int64(s.Index)), slog.String("error", err.Error()))
	})
}

// sorted returns the values of a map by their keys.
func sorted[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[key])
	}
	return out
}
