package peer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/core/task"
)

// Kinds of the messages of [Calls].
const (
	KindRequest Kind = KindMin + iota
	KindAnswer
	// KindOther is the lowest kind that is free beside those of calls.
	KindOther
)

// Method names what is asked for. Numbers are never reused.
type Method uint8

// ErrNoAnswer: no answer came in time, or none can come. What was asked for may have been done.
var ErrNoAnswer = errors.New("peer: another node did not answer")

// Refusal is an answer that says why not: a number that callers branch on, and words for people. Numbers are those of the method.
type Refusal struct {
	Code uint8 // not 0
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// busy is the code of a refusal by [Calls] itself: too many requests of that node are being answered.
const busy = 255

// answersMax bounds the requests of one node that are being answered.
const answersMax = 4096

// refusalBytesMax bounds the text of a refusal.
const refusalBytesMax = 1024

// Handler answers a request: reply is called once, now or later, or never if the node ends. body is the handler's.
type Handler func(from int32, body []byte, reply func(body []byte, refused *Refusal))

// Calls are requests to other nodes and their answers. A request to this node itself is answered in the same turn. Its
// methods are called on the loop.
type Calls struct {
	loop      *task.Loop
	node      int32
	send      func(to int32, kind Kind, bytes int, body Body) bool
	handlers  map[Method]Handler
	pending   map[uint64]*call
	last      uint64
	answering map[int32]int
	closed    bool
}

type call struct {
	to     int32
	method Method
	timer  task.Timer
	done   func([]byte, error)
}

// NewCalls returns calls that travel by send, [Mesh.Send] say. Hand it what arrives: [Calls.Received].
func NewCalls(loop *task.Loop, node int32, send func(to int32, kind Kind, bytes int, body Body) bool) *Calls {
	return &Calls{loop: loop, node: node, send: send, handlers: map[Method]Handler{}, pending: map[uint64]*call{}, answering: map[int32]int{}}
}

// Handle sets who answers a method.
func (c *Calls) Handle(m Method, h Handler) { c.handlers[m] = h }

// Call asks a node. done is called once, in a later step, with the answer, a *Refusal, or ErrNoAnswer, unless the calls are
// closed first. body is lent until the node ends.
func (c *Calls) Call(to int32, m Method, body []byte, timeout time.Duration, done func([]byte, error)) {
	if c.closed {
		return
	}
	c.last++
	id := c.last
	p := &call{to: to, method: m, done: done}
	c.pending[id] = p
	if to == c.node {
		c.loop.Post(func() { c.answer(to, m, body, func(b []byte, r *Refusal) { c.loop.Post(func() { c.end(id, b, r) }) }) })
	} else if !c.send(to, KindRequest, len(body)+requestHeadBytes, &Request{id, m, body}) {
		timeout = 0
	}
	c.loop.Reset(&p.timer, timeout, func() {
		delete(c.pending, id)
		done(nil, ErrNoAnswer)
	})
}

func (c *Calls) end(id uint64, body []byte, refused *Refusal) {
	p := c.pending[id]
	if p == nil {
		return // it came too late
	}
	delete(c.pending, id)
	c.loop.Stop(&p.timer)
	if refused != nil {
		p.done(nil, refused)
		return
	}
	p.done(body, nil)
}

// Received takes a message of kind KindRequest or KindAnswer, as [DecodeCall] made it.
func (c *Calls) Received(from int32, value any) {
	if c.closed {
		return
	}
	switch m := value.(type) {
	case *Request:
		c.requested(from, m)
	case *Answer:
		if p := c.pending[m.id]; p != nil && p.to == from {
			c.end(m.id, m.body, m.refused)
		}
	}
}

func (c *Calls) requested(from int32, r *Request) {
	reply := func(body []byte, refused *Refusal) {
		if !c.closed {
			c.send(from, KindAnswer, len(body)+requestHeadBytes, &Answer{r.id, body, refused})
		}
	}
	if c.answering[from] >= answersMax {
		reply(nil, &Refusal{busy, "too many requests of this node are being answered"})
		return
	}
	c.answering[from]++
	c.answer(from, r.method, r.body, func(body []byte, refused *Refusal) {
		c.answering[from]--
		reply(body, refused)
	})
}

func (c *Calls) answer(from int32, m Method, body []byte, reply func([]byte, *Refusal)) {
	h := c.handlers[m]
	if h == nil {
		reply(nil, &Refusal{busy, fmt.Sprintf("method %d is not served here", m)})
		return
	}
	h(from, body, reply)
}

// GiveUp ends the calls of a method that are not answered, with ErrNoAnswer, before it returns. Who asked may hold what must be given back.
func (c *Calls) GiveUp(m Method) { c.giveUp(func(p *call) bool { return p.method == m }) }

// GiveUpTo is GiveUp for the calls to one node, and reports how many there were: it has ended, say, and they are better made to another.
func (c *Calls) GiveUpTo(to int32, m Method) int {
	return c.giveUp(func(p *call) bool { return p.to == to && p.method == m })
}

func (c *Calls) giveUp(which func(*call) bool) (n int) {
	for _, id := range slices.Sorted(maps.Keys(c.pending)) {
		if p := c.pending[id]; p != nil && which(p) {
			delete(c.pending, id)
			c.loop.Stop(&p.timer)
			p.done(nil, ErrNoAnswer)
			n++
		}
	}
	return n
}

// Close forgets every call; nothing is answered any more.
func (c *Calls) Close() {
	c.closed = true
	for _, id := range slices.Sorted(maps.Keys(c.pending)) {
		c.loop.Stop(&c.pending[id].timer)
	}
	clear(c.pending)
}

const requestHeadBytes = 9

// Request is a message that wants an [Answer]. Encoded: u64 id, little-endian, u8 method, body.
type Request struct {
	id     uint64
	method Method
	body   []byte
}

// AppendTo implements Body.
func (r *Request) AppendTo(dst []byte) []byte {
	return append(append(order.AppendUint64(dst, r.id), byte(r.method)), r.body...)
}

// Answer answers a [Request]. Encoded: u64 id of the request, u8 code, then the body, or the words of a refusal.
type Answer struct {
	id      uint64
	body    []byte
	refused *Refusal
}

// AppendTo implements Body.
func (a *Answer) AppendTo(dst []byte) []byte {
	dst = order.AppendUint64(dst, a.id)
	if a.refused == nil {
		return append(append(dst, 0), a.body...)
	}
	return append(append(dst, a.refused.Code), a.refused.Text[:min(len(a.refused.Text), refusalBytesMax)]...)
}

// DecodeCall decodes a message of kind KindRequest or KindAnswer. What it returns does not point into b. It may be called
// off the loop.
func DecodeCall(kind Kind, b []byte) (any, error) {
	if len(b) < requestHeadBytes {
		return nil, fmt.Errorf("a call of %d bytes", len(b))
	}
	id, code, body := order.Uint64(b), b[8], slices.Clone(b[requestHeadBytes:])
	switch {
	case kind == KindRequest:
		return &Request{id, Method(code), body}, nil
	case code == 0:
		return &Answer{id: id, body: body}, nil
	case len(body) > refusalBytesMax:
		return nil, fmt.Errorf("a refusal of %d bytes", len(body))
	}
	return &Answer{id: id, refused: &Refusal{code, string(body)}}, nil
}
