package socket

import (
	"context"
	"fmt"
	"net"
	"time"

	"weir/core/env"
)

// dialTimeout is what env.Dial has where it names no timeout.
const dialTimeout = 10 * time.Second

// Dial implements env.Network. After Stop it fails.
func (n *Network) Dial(op *env.Dial) {
	n.group.Go(func() {
		c, err := n.dial(op)
		if err != nil {
			op.Err = err
			n.o.Deliver(op)
			return
		}
		op.Conn, op.Err = c.id, nil
		n.o.Deliver(&opened{conn: c, info: env.ConnInfo{Remote: op.Address, Certificate: c.certificate()}, dial: op})
		c.read()
	})
}

func (n *Network) dial(op *env.Dial) (*conn, error) {
	timeout := op.Timeout
	if timeout == 0 {
		timeout = dialTimeout
	}
	if op.Secure && n.o.Certificates == nil {
		return nil, fmt.Errorf("dial %s: %w", op.Address, errNoCertificates)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	n.group.Go(func() {
		select {
		case <-n.quit:
			cancel()
		case <-ctx.Done():
		}
	})
	socket, err := (&net.Dialer{}).DialContext(ctx, "tcp", op.Address)
	if err != nil {
		return nil, err
	}
	tcp := socket.(*net.TCPConn)
	ip := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	c := newConn(&listener{network: n, handler: op.Handler, codec: op.Codec}, tcp, ip)
	if c == nil || !n.enterDialed(c) {
		tcp.Close()
		return nil, fmt.Errorf("dial %s: %w", op.Address, ErrStopped)
	}
	if op.Secure {
		if err := c.secureDialed(ctx, op.Address); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// enterDialed counts a connection in that this end dialed. Limits are for strangers: it
// has none.
func (n *Network) enterDialed(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return false
	}
	c.dialed = true
	n.dialed++
	n.add(c)
	return true
}
