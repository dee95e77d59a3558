package rawconn

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
)

const (
	answerBytesMax  = 64 << 20
	apiVersionsKey  = 18
	unsupportedCode = 35
)

// What a broker may do instead of an answer.
var (
	// ErrClosed means that the broker closed the connection.
	ErrClosed = errors.New("connection closed")
	// ErrNoAnswer means that no answer came within [Options].Limit.
	ErrNoAnswer = errors.New("no answer in time")
)

// Options say how to reach a broker.
type Options struct {
	// Address is host:port.
	Address string
	// TLS is nil for a plaintext connection.
	TLS *tls.Config
	// SASL is nil for a connection without authentication.
	SASL sasl.Mechanism
	// Limit is how long a connect or an answer may take. Zero: 10 s.
	Limit time.Duration
	// ClientID is sent with every request.
	ClientID string
}

// KGO returns the options of a franz-go client that reaches the same broker.
func (o Options) KGO() []kgo.Opt {
	all := []kgo.Opt{kgo.SeedBrokers(o.Address), kgo.ClientID(o.ClientID)}
	if o.TLS != nil {
		all = append(all, kgo.DialTLSConfig(o.TLS))
	}
	if o.SASL != nil {
		all = append(all, kgo.SASL(o.SASL))
	}
	return all
}

// Conn is a connection. Its socket is open until an error or [Conn.Close].
type Conn struct {
	net.Conn
	limit     time.Duration
	formatter *kmsg.RequestFormatter
	sent      int32 // correlation id of the last request sent
	received  int32 // correlation id of the last answer read
}

// Dial connects and authenticates.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	if o.Limit == 0 {
		o.Limit = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	socket, err := dialer(o)(ctx, "tcp", o.Address)
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: socket, limit: o.Limit, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID(o.ClientID))}
	if o.SASL == nil {
		return c, nil
	}
	if err := c.authenticate(ctx, o); err != nil {
		c.Close()
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	return c, nil
}

func dialer(o Options) func(ctx context.Context, network, address string) (net.Conn, error) {
	if o.TLS == nil {
		return (&net.Dialer{}).DialContext
	}
	return (&tls.Dialer{Config: o.TLS}).DialContext
}

// Send writes a request in its Version. Change, if it is not nil, edits the frame behind its length before it is sent.
func (c *Conn) Send(r kmsg.Request, change func(frame []byte) []byte) error {
	c.sent++
	frame := c.formatter.AppendRequest(nil, r, c.sent)
	if change != nil {
		frame = append(make([]byte, 4), change(frame[4:])...)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	}
	if p, ok := r.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		c.sent-- // it has no answer, so that the next request may have its correlation id
	}
	return c.write(frame)
}

func (c *Conn) write(b []byte) error {
	c.SetWriteDeadline(time.Now().Add(c.limit))
	if _, err := c.Write(b); err != nil {
		c.Close()
		return ErrClosed
	}
	return nil
}

// Receive reads the answer to the oldest request without one, which must be r. The answer is decoded in the version of r; an
// ApiVersions answer that refuses the version is of version 0. The connection is closed if none comes.
func (c *Conn) Receive(r kmsg.Request) (kmsg.Response, error) { return c.ReceiveWithin(r, c.limit) }

// ReceiveWithin is [Conn.Receive] with another limit than that of the options.
func (c *Conn) ReceiveWithin(r kmsg.Request, limit time.Duration) (kmsg.Response, error) {
	c.received++
	body, err := c.read(limit)
	if err != nil {
		c.Close()
		return nil, err
	}
	out := r.ResponseKind()
	if r.Key() == apiVersionsKey && len(body) > 1 && body[1] == unsupportedCode {
		out.SetVersion(0)
	}
	if out.IsFlexible() && r.Key() != apiVersionsKey {
		if body, err = skipTags(body); err != nil {
			return nil, err
		}
	}
	if err := out.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("the answer cannot be decoded: %w", err)
	}
	return out, nil
}

// skipTags returns what follows a response header's tags. No tag is known there, so that there must be none.
func skipTags(body []byte) ([]byte, error) {
	if len(body) == 0 || body[0] != 0 {
		return nil, errors.New("the answer's header has tagged fields, or none of a flexible version")
	}
	return body[1:], nil
}

func (c *Conn) read(limit time.Duration) ([]byte, error) {
	c.SetReadDeadline(time.Now().Add(limit))
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, silence(err)
	}
	size, correlation := binary.BigEndian.Uint32(head[:]), int32(binary.BigEndian.Uint32(head[4:]))
	if size < 4 || size > answerBytesMax {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	if correlation != c.received {
		return nil, fmt.Errorf("an answer with correlation id %d, not %d", correlation, c.received)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, silence(err)
	}
	return body, nil
}

// silence says what a failed read means.
func silence(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return ErrNoAnswer
	}
	return ErrClosed
}
