package partition

import (
	"log/slog"
	"time"
)

const (
	// expireInterval is the shortest time between two searches of a full state for producers
	// that have expired.
	expireInterval = time.Second
	// operatorsInterval is the shortest time between two log lines about full states.
	operatorsInterval = time.Minute
)

// admits reports whether a batch of the producer may be appended as far as the bounds on producers
// go (Options.ProducersMax; Options.StoresCheckpoints). A producer that is forgotten before it expires would have its late
// retry appended twice; so a new one is refused until an old one has expired. The code is
// POLICY_VIOLATION: clients do not retry it, and tell the application with the message.
// What coordinators append is never a duplicate: for it a producer without an open transaction may be forgotten.
func (p *Partition) admits(producer int64, origin Origin) bool {
	if !p.state.full() || p.state.find(producer) != nil {
		return true
	}
	m := p.manager
	now := m.loop.Now()
	if m.options.ProducerIDExpiration > 0 && (p.expired == 0 || now.Sub(p.expired) >= expireInterval) {
		p.expired = now
		p.state.expire(now, m.options.ProducerIDExpiration)
	}
	if !p.state.full() || origin == OriginCoordinator && p.state.oldestIdle() >= 0 {
		return true
	}
	m.producersFull.Hit()
	m.producersRefused.Add(1)
	m.operators.Warn(m.options.Telemetry, "producers", now, "a partition refuses new idempotent producers: this broker knows as many as it may. "+
		"Lower producer.id.expiration.ms, let applications reuse their producers, or use more brokers",
		slog.String("topic", p.Name), slog.Int64("partition", int64(p.Index)), slog.Int("producers", p.state.Producers()), slog.Int("of the broker", m.producers.known))
	return false
}
