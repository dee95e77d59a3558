package broker

import (
	"log/slog"

	"weir/core/env"
	"weir/core/task"
	"weir/core/telemetry"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// encodingMax is how many responses may wait to be encoded before further requests
	// start: a response takes several times its encoded size in memory until then.
	encodingMax = 8
	// smallParts is the number of partitions up to which a Produce request, or the answer
	// to a Fetch without records, is small.
	smallParts = 64
	// producePartBytes is about what one partition of a Produce request takes until its
	// answer is written, fetchPartBytes what one in the answer to a Fetch does.
	producePartBytes = 360
	fetchPartBytes   = 200
)

// turnstile holds requests back while there is no memory for their answers. Until the
// client has taken it, every answer that is not small counts in heldAnswers, with the
// records of Fetch.
//
// ApiVersions passes, and Produce unless it is for very many partitions: their answers
// are small, and a producer must not wait for readers.
type turnstile struct {
	loop     *task.Loop
	compute  env.Computer
	held     *heldAnswers
	encoding int
	encoders task.Queue[*conn] // wait until fewer responses are being encoded
	full     []*conn           // wait for room in held
	timer    task.Timer        // for these
	waited   env.Counter
}

func newTurnstile(o Options, held *heldAnswers) turnstile {
	cut := o.Telemetry.Counter("weir_connections_cut_total", "Connections closed because their clients did not read their answers while others waited for the memory.")
	operators := telemetry.NewLimiter(heldLogInterval)
	held.wasCut = func(a *heldAnswer, now env.Time) {
		cut.Add(1)
		operators.Warn(o.Telemetry, "cut", now, "a client was disconnected: it did not read its answers, and others wait for the memory. If it reads slowly for good reasons, raise queued.max.request.bytes",
			slog.String("client", a.exchange.address()), slog.Int64("answer_bytes", a.bytes), slog.Duration("waited", now.Sub(a.since)))
	}
	return turnstile{
		loop: o.Loop, compute: o.Env.Compute, held: held,
		waited: o.Telemetry.Counter("weir_requests_held_back_total", "Requests that waited for memory for their answers."),
	}
}

// small reports whether the answer to a request can only be small.
func (r *Request) small() bool {
	return r.Key == apiVersionsKey || r.Key == produceKey && r.parts <= smallParts
}

// admits reports whether c may start r. If not, c is pumped again when it may try.
func (t *turnstile) admits(c *conn, r *Request) bool {
	switch {
	case r.small():
		return true
	case c.heldBack:
		return false
	case t.held.full(r):
		if t.full = append(t.full, c); len(t.full) == 1 {
			t.loop.Reset(&t.timer, heldRetry, t.retry)
		}
	case t.encoding >= encodingMax:
		t.encoders.Push(c)
	default:
		return true
	}
	t.waited.Add(1)
	c.heldBack = true
	return false
}

// retry cuts off those that keep requests waiting, and tries these again.
func (t *turnstile) retry() {
	waiting := t.full
	t.full = nil
	for _, c := range waiting {
		if r := c.waiting; r != nil {
			t.held.relieve(r, t.loop.Now())
		}
		t.release(c)
	}
}

func (t *turnstile) release(c *conn) {
	c.heldBack = false
	c.pump()
}

// encode encodes the response of r off the loop, and ends r.
func (t *turnstile) encode(r *Request, m kmsg.Response) {
	t.encoding++
	t.compute.Submit(&env.Compute{
		Work: func() { r.body = m.AppendTo(r.appendHeader(nil)) },
		Done: func(*env.Compute) {
			t.encoding--
			if !r.conn.ended {
				r.lent = t.held.add(r, int64(cap(r.body)), t.loop.Now())
			}
			r.end()
			for t.encoders.Len() > 0 && t.encoding < encodingMax {
				t.release(t.encoders.Pop())
			}
		},
	})
}
