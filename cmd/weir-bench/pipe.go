package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pipe is one connection that sends requests without waiting for the answers before, which come in the same order. It costs a
// goroutine and two small buffers, so that a load may have thousands.
type pipe struct {
	conn net.Conn

	mutex   sync.Mutex
	next    int32
	frame   []byte
	waiting []sent
	failed  error
}

// sent is a request without its answer.
type sent struct {
	request kmsg.Request
	done    func(kmsg.Response, error)
}

var pipeFormatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("weir-bench"))

func newPipe(brokers string) (*pipe, error) {
	conn, err := net.DialTimeout("tcp", brokers, replayTimeout)
	if err != nil {
		return nil, err
	}
	p := &pipe{conn: conn}
	go p.receive()
	return p, nil
}

// newPipes opens n connections.
func newPipes(brokers string, n int) ([]*pipe, error) {
	all := make([]*pipe, 0, n)
	for range n {
		p, err := newPipe(brokers)
		if err != nil {
			closePipes(all)
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func closePipes(all []*pipe) {
	for _, p := range all {
		p.close()
	}
}

// close fails what waits.
func (p *pipe) close() { p.conn.Close() }

// send sends a request of the version that is set in it. done is called once, by a goroutine that must not be held up; it may send.
func (p *pipe) send(request kmsg.Request, done func(kmsg.Response, error)) {
	p.mutex.Lock()
	if err := p.failed; err != nil {
		p.mutex.Unlock()
		done(nil, err)
		return
	}
	p.next++
	p.frame = pipeFormatter.AppendRequest(p.frame[:0], request, p.next)
	p.waiting = append(p.waiting, sent{request, done})
	_, err := p.conn.Write(p.frame)
	p.mutex.Unlock()
	if err != nil {
		p.conn.Close() // receive fails what waits
	}
}

// call sends a request and waits for its answer.
func (p *pipe) call(request kmsg.Request) (kmsg.Response, error) {
	type answer struct {
		response kmsg.Response
		err      error
	}
	answered := make(chan answer, 1)
	p.send(request, func(response kmsg.Response, err error) { answered <- answer{response, err} })
	a := <-answered
	return a.response, a.err
}

// receive hands out answers until the connection ends.
func (p *pipe) receive() {
	in := bufio.NewReader(p.conn)
	var body []byte
	for {
		var head [4]byte
		_, err := io.ReadFull(in, head[:])
		if err == nil {
			body = append(body[:0], make([]byte, binary.BigEndian.Uint32(head[:]))...)
			_, err = io.ReadFull(in, body)
		}
		if err != nil {
			p.fail(err)
			return
		}
		s, ok := p.pop()
		if !ok {
			p.fail(errors.New("an answer without a request"))
			return
		}
		s.done(decodeAnswer(s.request, body))
	}
}

func (p *pipe) pop() (sent, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.waiting) == 0 {
		return sent{}, false
	}
	s := p.waiting[0]
	p.waiting[0] = sent{}
	if p.waiting = p.waiting[1:]; len(p.waiting) == 0 {
		p.waiting = nil
	}
	return s, true
}

func (p *pipe) fail(err error) {
	p.conn.Close()
	p.mutex.Lock()
	p.failed = err
	waiting := p.waiting
	p.waiting = nil
	p.mutex.Unlock()
	for _, s := range waiting {
		s.done(nil, err)
	}
}

// decodeAnswer reads an answer, whose byte slices are lent.
func decodeAnswer(request kmsg.Request, body []byte) (kmsg.Response, error) {
	response := request.ResponseKind()
	b := kbin.Reader{Src: body}
	b.Int32() // the correlation id: answers come in order
	if response.IsFlexible() {
		kmsg.SkipTags(&b)
	}
	if err := b.Complete(); err != nil {
		return nil, err
	}
	return response, response.ReadFrom(b.Src)
}
