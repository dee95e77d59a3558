package coordinator

import (
	"log/slog"
	"math"

	"weir/core/env"
	"weir/core/telemetry"
)

// Memory counts the bytes that coordinators hold, of all runtimes that share it, against a bound. It is used on the loop
// only.
type Memory struct {
	// Max is the bound, in bytes. It may change at any time; what is held stays.
	Max     int64
	held    int64
	waiting int64 // bytes of large requests, and of their batches

	telemetry *telemetry.Registry
	operators *telemetry.Limiter
	bytes     env.Gauge
	refused   env.Counter
}

// NewMemory returns an empty count. maxBytes is the bound; t takes metrics and log lines, nil: none.
func NewMemory(maxBytes int64, t *telemetry.Registry) *Memory {
	if t == nil {
		t = telemetry.New(nil, nil)
	}
	return &Memory{
		Max: maxBytes, telemetry: t, operators: telemetry.NewLimiter(operatorsInterval),
		bytes:   t.Gauge("weir_coordinator_bytes", "Memory held by groups, committed offsets and transactional ids, in bytes; an estimate. weir.coordinator.memory.bytes bounds it."),
		refused: t.Counter("weir_coordinator_refused_total", "Requests refused since groups, committed offsets and transactional ids hold as much as weir.coordinator.memory.bytes allows."),
	}
}

// unbounded is the count of a runtime without one.
func unbounded() *Memory { return NewMemory(math.MaxInt64, nil) }

// Held is how many bytes are held.
func (m *Memory) Held() int64 { return m.held }

func (m *Memory) hold(bytes int64) {
	if m.held += bytes; bytes != 0 {
		m.bytes.Set(m.held)
	}
}

// Hold counts bytes that the machine holds from now on; fewer than none: that it gives back. It may be called while the
// shard loads. What is left when the shard closes is given back by the shard.
func (s *Shard) Hold(bytes int64) {
	if s.phase != closed {
		s.held += bytes
		s.runtime.options.Memory.hold(bytes)
	}
}

// Held is how many bytes the shard holds.
func (s *Shard) Held() int64 { return s.held }

// Admits reports whether the machine may hold so many bytes more. If it may not, the caller refuses with
// COORDINATOR_NOT_AVAILABLE, after which clients try again, and operators hear of it. What holds no more than before is
// always admitted, and so must be what ends a transaction, or lets a member go on: it is not asked about.
func (s *Shard) Admits(bytes int64) bool {
	m, o := s.runtime.options.Memory, &s.runtime.options
	if bytes <= 0 || m.held <= m.Max-bytes {
		return true
	}
	m.refused.Add(1)
	m.operators.Warn(m.telemetry, "memory", s.loop().Now(), "a coordinator refuses what would take more memory: groups, committed offsets and transactional ids hold as much as they may. "+
		"Clients try again, and what is there already goes on. Raise weir.coordinator.memory.bytes, or find out who makes so many, and delete those not used; "+
		"offsets.retention.minutes and transactional.id.expiration.ms say how long they stay by themselves",
		slog.Int64("bytes", m.held), slog.Int64("max", m.Max), slog.Int64("more", bytes), slog.String("topic", o.Topic), slog.Int64("partition", int64(s.Index)))
	return false
}

const (
	// smallBytes is what a request may take that waits whatever else does: a connection has one under way, and a member that says
	// little goes on.
	smallBytes = 4 << 10
	// waitingBytesMin is how much may wait at least, however small the bound of the memory is.
	waitingBytesMin = 2 << 20
)

// waitingMax is how much of requests may wait beside what is held: for a log that is full they wait for seconds, and their frames
// were given back.
func (m *Memory) waitingMax() int64 { return max(m.Max/4, waitingBytesMin) }

// Wait counts bytes of a request that has to wait, until Waited is called. False: so much waits that it must not. The caller
// refuses with COORDINATOR_NOT_AVAILABLE, after which clients try again. One request alone may wait, whatever its size.
func (s *Shard) Wait(bytes int64) bool {
	m, o := s.runtime.options.Memory, &s.runtime.options
	switch {
	case bytes <= smallBytes:
		return true
	case m.waiting == 0 || m.waiting <= m.waitingMax()-bytes:
		m.waiting += bytes
		return true
	}
	m.refused.Add(1)
	m.operators.Warn(m.telemetry, "waiting", s.loop().Now(), "a coordinator refuses large requests, since too many wait: the log is full or slow. Clients try again. "+
		"A quarter of weir.coordinator.memory.bytes may wait",
		slog.Int64("bytes", m.waiting), slog.Int64("max", m.waitingMax()), slog.String("topic", o.Topic), slog.Int64("partition", int64(s.Index)))
	return false
}

// Waited gives back what Wait has counted. It may be called after the shard has closed.
func (s *Shard) Waited(bytes int64) {
	if bytes > smallBytes {
		s.runtime.options.Memory.waiting -= bytes
	}
}

// Waiting is how many bytes of large requests wait.
func (m *Memory) Waiting() int64 { return m.waiting }

// release gives back all that a shard holds, when it closes.
func (s *Shard) release() {
	s.runtime.options.Memory.hold(-s.held)
	s.held = 0
}
