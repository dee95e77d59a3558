package client

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/sim/checker"
	"weir/sim/event"
	"weir/sim/network"
)

// anyBroker is the node of a session's first connection: whoever answers at the bootstrap address.
const anyBroker = -1

// line is one connection of a session: answers come in the order of requests.
type line struct {
	session  *session
	node     int32
	conn     *network.Conn
	up       bool
	pending  []pending
	held     [][]byte // frames that wait until it is up
	next     int32    // correlation
	buffer   []byte
	checking bool
	number   uint64 // tells it from the other lines of its session
}

type pending struct {
	correlation int32
	response    kmsg.Response
	deadline    event.Time // when the client gives the connection up
	at          event.Time
	done        func(error)
}

// dial begins a connection; one that does not come in time is given up.
func (l *line) dial(address string) {
	s := l.session
	l.conn = s.Net.Dial(s.client, address, l)
	l.after(requestTimeout, func() {
		if !l.up {
			l.drop()
		}
	})
}

// after calls f unless the connection has changed by then.
func (l *line) after(d time.Duration, f func()) {
	conn := l.conn
	l.session.Queue.Call(d, func() {
		if conn == l.conn && !l.session.stopped {
			f()
		}
	})
}

// Connected implements network.Client.
func (l *line) Connected(c *network.Conn) {
	if c != l.conn {
		return
	}
	r := kmsg.NewPtrApiVersionsRequest()
	r.Version = 3
	r.ClientSoftwareName, r.ClientSoftwareVersion = "weir-sim", "1"
	waiting := l.pending
	l.pending = nil
	l.up = true // for this one
	l.send(requestTimeout, r, l.greeted)
	l.up = false
	l.pending = append(l.pending, waiting...)
}

// greeted takes the answer to ApiVersions.
func (l *line) greeted(response kmsg.Response, err error) {
	if err != nil {
		return
	}
	s, v := l.session, response.(*kmsg.ApiVersionsResponse)
	if v.ErrorCode != 0 {
		s.fail("protocol", "client %d: ApiVersions was answered %s", s.client, checker.CodeName(v.ErrorCode))
		return
	}
	for _, k := range v.ApiKeys {
		if k.ApiKey >= 0 && int(k.ApiKey) < len(s.versions) {
			s.versions[k.ApiKey] = versionRange{k.MinVersion, k.MaxVersion}
		}
	}
	l.up = true
	for _, frame := range l.held {
		l.conn.Send(frame)
	}
	l.held = nil
	if l.first() {
		s.connected()
	}
}

// first reports whether it is the session's first connection, without which there is none.
func (l *line) first() bool { return l == &l.session.main }

// send sends a request, as soon as the connection is up. done gets the response, valid during the call, or errLost.
func (l *line) send(limit time.Duration, r kmsg.Request, done func(kmsg.Response, error)) {
	response := r.ResponseKind()
	response.SetVersion(r.GetVersion())
	now := l.session.Queue.Now()
	l.pending = append(l.pending, pending{l.next + 1, response, now.Add(limit), now, func(err error) { done(response, err) }})
	l.post(r)
	l.watch()
}

// post sends a request that has no answer.
func (l *line) post(r kmsg.Request) {
	l.next++
	l.buffer = l.session.format.AppendRequest(l.buffer[:0], r, l.next)
	if !l.up {
		l.held = append(l.held, bytes.Clone(l.buffer[4:]))
		return
	}
	l.conn.Send(l.buffer[4:])
}

// watch gives the connection up when the oldest request has waited too long.
func (l *line) watch() {
	if l.checking || len(l.pending) == 0 {
		return
	}
	l.checking = true
	l.after(l.pending[0].deadline.Sub(l.session.Queue.Now()), func() {
		l.checking = false
		if len(l.pending) > 0 && l.pending[0].deadline <= l.session.Queue.Now() {
			l.drop()
			return
		}
		l.watch()
	})
}

// Received implements network.Client.
func (l *line) Received(c *network.Conn, frame []byte) {
	if c != l.conn {
		return
	}
	s := l.session
	if len(frame) < 4 || len(l.pending) == 0 {
		s.fail("protocol", "client %d: unexpected frame of %d bytes", s.client, len(frame))
		return
	}
	p := l.pending[0]
	if got := int32(binary.BigEndian.Uint32(frame)); got != p.correlation {
		s.fail("protocol", "client %d: answer %d to request %d (key %d)", s.client, got, p.correlation, p.response.Key())
		return
	}
	copy(l.pending, l.pending[1:])
	l.pending[len(l.pending)-1] = pending{}
	l.pending = l.pending[:len(l.pending)-1]
	body := frame[4:]
	if p.response.IsFlexible() && p.response.Key() != 18 {
		if len(body) < 1 || body[0] != 0 {
			s.fail("protocol", "client %d: header tags in answer to key %d", s.client, p.response.Key())
			return
		}
		body = body[1:]
	}
	if err := p.response.(unsafeReader).UnsafeReadFrom(body); err != nil {
		s.fail("protocol", "client %d: answer to key %d version %d: %v", s.client, p.response.Key(), p.response.GetVersion(), err)
		return
	}
	s.Operations++
	if s.Echo != nil {
		s.Echo(fmt.Sprintf("%v client %d: %T v%d of node %d after %v%s", s.Queue.Now(), s.client, p.response, p.response.GetVersion(), l.node, s.Queue.Now().Sub(p.at), errorsOf(p.response)))
	}
	p.done(nil)
}

// errorsOf names the error codes of an answer.
func errorsOf(response kmsg.Response) (text string) {
	for _, code := range codesOf(response) {
		if code != 0 {
			text += " " + checker.CodeName(code)
		}
	}
	return text
}

type unsafeReader interface{ UnsafeReadFrom([]byte) error }

// Closed implements network.Client.
func (l *line) Closed(c *network.Conn, _ error) {
	if c == l.conn {
		l.conn = nil
		l.lost()
	}
}

// drop closes the connection from this end, because nobody answers.
func (l *line) drop() {
	l.close()
	l.lost()
}

// lost: the connection is gone. The first one takes all others with it.
func (l *line) lost() {
	if l.first() {
		l.session.lost()
		return
	}
	l.session.lostLine(l)
}

// close closes the connection, and tells nobody.
func (l *line) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// end returns what is unanswered, and forgets it.
func (l *line) end() []pending {
	open := l.pending
	l.pending, l.held, l.up, l.checking = nil, nil, false, false
	return open
}
