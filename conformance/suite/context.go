package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"weir/conformance/rawconn"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	caseLimit = 4 * time.Minute
	pollLimit = 20 * time.Second
	pollPause = 20 * time.Millisecond
)

// C is one case while it runs. Its methods are called by the case's goroutine only.
type C struct {
	// V is the version of the API that the case tests; -1 in a sequence.
	V int16
	// Broker is what the endpoint says of itself.
	Broker *Broker

	key     int16
	prefix  string
	ctx     context.Context
	cancel  context.CancelFunc
	first   *Conn
	closers []func()
}

// APIKey is that of the API that the case tests; -1 in a sequence.
func (c *C) APIKey() int16 { return c.key }

// Context ends when the case has run for too long.
func (c *C) Context() context.Context { return c.ctx }

// Name is a name that no other case uses, and that is the same each time that this case asks for it.
func (c *C) Name(what string) string { return c.prefix + what }

// Group is a [C.Name] of a group that the broker coordinates. Name("g") and Name("none") are two.
func (c *C) Group(what string) string { return coordinated(c.Broker.coordinators.groups, c.Name(what)) }

// TransactionalID is a [C.Name] of a transactional id that the broker coordinates. Name("x") is one.
func (c *C) TransactionalID(what string) string {
	return coordinated(c.Broker.coordinators.transactions, c.Name(what))
}

// Config is a value of the broker's configuration; empty if there is no such key.
func (c *C) Config(key string) string { return c.Broker.Config[key] }

// ConfigInt is a number of the broker's configuration. The case is skipped if the broker does not know the key, or if the
// number is above the bound, with which the case would take too long.
func (c *C) ConfigInt(key string, maximum int) int {
	text, ok := c.Broker.Config[key]
	var n int
	if _, err := fmt.Sscan(text, &n); !ok || err != nil {
		c.Skip("the broker has no configuration %s", key)
	}
	if n > maximum {
		c.Skip("%s is %d here; the case needs at most %d", key, n, maximum)
	}
	return n
}

// Together runs a function n times at once, each with a C of its own, and ends as the first of them ends that does not pass.
func (c *C) Together(n int, run func(c *C, i int)) {
	ends := make([]any, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			own := &C{V: c.V, Broker: c.Broker, key: c.key, prefix: c.prefix, ctx: c.ctx, cancel: func() {}}
			defer own.end()
			defer func() { ends[i] = recover() }()
			run(own, i)
		})
	}
	group.Wait()
	for _, end := range ends {
		if end != nil {
			panic(end)
		}
	}
}

// Poll tries until the condition holds, and fails the case if that does not happen in time.
func (c *C) Poll(what string, holds func() bool) { c.PollFor(pollLimit, what, holds) }

// PollFor is [C.Poll] with a limit of its own.
func (c *C) PollFor(limit time.Duration, what string, holds func() bool) {
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(pollPause) {
		if time.Now().After(deadline) {
			c.Fail("waited in vain: %s", what)
		}
	}
}

// KGO returns a franz-go client of the endpoint, which is closed when the case ends.
func (c *C) KGO(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(c.Broker.KGO(), opts...)...)
	c.NoError(err)
	c.closers = append(c.closers, client.CloseAllowingRebalance)
	return client
}

// Dial opens another connection, which is closed when the case ends.
func (c *C) Dial() *Conn {
	conn, err := rawconn.Dial(c.ctx, c.Broker.Options)
	c.NoError(err)
	c.closers = append(c.closers, func() { conn.Close() })
	return &Conn{Conn: conn, c: c}
}

// conn is the case's first connection. It is opened again if the broker closed it.
func (c *C) conn() *Conn {
	if c.first == nil {
		c.first = c.Dial()
	}
	return c.first
}

func (c *C) end() {
	for i := len(c.closers) - 1; i >= 0; i-- {
		c.closers[i]()
	}
	c.cancel()
}

// Conn is one connection of a case.
type Conn struct {
	*rawconn.Conn
	c *C
}

func (n *Conn) conn() *Conn { return n }

// Caller is what requests are sent on: a case, which means its first connection, or a [Conn].
type Caller interface{ conn() *Conn }

// Request is a kmsg request whose answer has the type R.
type Request[R any] interface {
	kmsg.Request
	RequestWith(ctx context.Context, q kmsg.Requestor) (R, error)
}

// Call sends a request and returns its answer. It has the case's version if it is of the case's API, and the endpoint's highest
// version else. Anything but an answer fails the case.
func Call[R any](on Caller, r Request[R]) R { return Start(on, r).Wait() }

// CallV is [Call] in a given version.
func CallV[R any](on Caller, version int16, r Request[R]) R { return StartV(on, version, r).Wait() }

// Start sends a request and does not wait for its answer, so that several may be parked at the broker together, each on a
// connection of its own.
func Start[R any](on Caller, r Request[R]) *Pending[R] {
	c := on.conn().c
	version := c.V
	if c.key != r.Key() {
		version = c.Broker.Highest(r.Key())
	}
	return StartV(on, version, r)
}

// StartV is [Start] in a given version.
func StartV[R any](on Caller, version int16, r Request[R]) *Pending[R] {
	n := on.conn()
	r.SetVersion(version)
	if err := n.Send(r, nil); err != nil {
		n.c.Fail("%s: %v", describe(r), err)
	}
	return &Pending[R]{on: n, request: r}
}

// SendOnly sends a request that has no answer, on the case's first connection.
func (c *C) SendOnly(r kmsg.Request) {
	r.SetVersion(c.V)
	c.NoError(c.conn().Send(r, nil))
}

// Pending is a request without its answer.
type Pending[R any] struct {
	on      *Conn
	request Request[R]
}

// Wait returns the answer.
func (p *Pending[R]) Wait() R {
	answer, err := p.request.RequestWith(p.on.c.ctx, receiver{p.on})
	if err != nil {
		p.on.c.Fail("%s: %v", describe(p.request), err)
	}
	p.on.c.settle(p.request, answer)
	return answer
}

// Closed fails the case unless the broker closes the connection instead of an answer.
func (p *Pending[R]) Closed() {
	if _, err := p.on.Receive(p.request); !errors.Is(err, rawconn.ErrClosed) {
		p.on.c.Fail("%s: %v, not a closed connection", describe(p.request), err)
	}
}

// receiver gives an answer its type.
type receiver struct{ n *Conn }

func (q receiver) Request(_ context.Context, r kmsg.Request) (kmsg.Response, error) {
	return q.n.ReceiveWithin(r, answerLimit)
}

// answerLimit is longer than any broker parks a request in the suite.
const answerLimit = 30 * time.Second

func describe(r kmsg.Request) string {
	return fmt.Sprintf("%s version %d", strings.TrimSuffix(APIName(r.Key()), "Request"), r.GetVersion())
}
