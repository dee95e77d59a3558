package diff

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	answerLimit   = 8 * time.Second
	answerBytes   = 64 << 20
	correlationID = 7
)

// errClosed means that the broker closed the connection.
var errClosed = errors.New("connection closed")

// endpoint is one broker and what one worker knows of it. It is used by one goroutine.
type endpoint struct {
	address string
	conn    net.Conn
	vars    map[string]int64    // what earlier answers of the case gave: session and producer ids
	ids     map[string][16]byte // topic ids by name
	names   map[[16]byte]string
	shared  *endpoint // knows the topics that cases share
}

// newEndpoint returns an endpoint that is not connected yet. It knows the topics of shared, if that is not nil.
func newEndpoint(address string, shared *endpoint) *endpoint {
	e := &endpoint{address: address, shared: shared}
	e.reset()
	return e
}

// reset forgets what belonged to a case.
func (e *endpoint) reset() {
	e.vars, e.ids, e.names = map[string]int64{}, map[string][16]byte{}, map[[16]byte]string{}
	if e.shared != nil {
		maps.Copy(e.ids, e.shared.ids)
		maps.Copy(e.names, e.shared.names)
	}
}

// id is the topic id of a topic of the case; zero if it is not known.
func (e *endpoint) id(name string) [16]byte { return e.ids[name] }

func (e *endpoint) close() {
	if e.conn != nil {
		e.conn.Close()
		e.conn = nil
	}
}

// send writes a request; raw, if it is there, changes the bytes of the frame before they are sent.
func (e *endpoint) send(r kmsg.Request, raw func([]byte) []byte) error {
	if e.conn == nil {
		conn, err := (&net.Dialer{Timeout: answerLimit}).DialContext(context.Background(), "tcp", e.address)
		if err != nil {
			return err
		}
		e.conn = conn
	}
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("weir-diff")).AppendRequest(nil, r, correlationID)
	if raw != nil {
		frame = append(make([]byte, 4), raw(frame[4:])...)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	}
	e.conn.SetDeadline(time.Now().Add(answerLimit))
	if _, err := e.conn.Write(frame); err != nil {
		e.close()
		return errClosed
	}
	return nil
}

// receive reads the answer to a request.
func (e *endpoint) receive(r kmsg.Request) (kmsg.Response, error) {
	body, err := e.read()
	if err != nil {
		e.close()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return nil, errors.New("no answer in time")
		}
		return nil, errClosed
	}
	out := r.ResponseKind()
	if r.Key() == 18 && len(body) > 1 && body[1] == 35 {
		out.SetVersion(0)
	}
	if out.IsFlexible() && r.Key() != 18 {
		body = body[1:] // a header without tags
	}
	if err := out.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("the answer cannot be decoded: %w", err)
	}
	return out, nil
}

func (e *endpoint) read() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(e.conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > answerBytes {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(e.conn, body); err != nil {
		return nil, err
	}
	if id := binary.BigEndian.Uint32(body); id != correlationID {
		return nil, fmt.Errorf("correlation id %d", id)
	}
	return body[4:], nil
}

// call sends a request and reads its answer. Produce with acks=0 has none: then a second request says whether the
// connection still lives.
func (e *endpoint) call(r kmsg.Request, raw func([]byte) []byte) (kmsg.Response, error) {
	if err := e.send(r, raw); err != nil {
		return nil, err
	}
	if p, ok := r.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		probe := kmsg.NewPtrApiVersionsRequest()
		if err := e.send(probe, nil); err != nil {
			return nil, err
		}
		if _, err := e.receive(probe); err != nil {
			return nil, err
		}
		return nil, nil
	}
	return e.receive(r)
}
