package socket

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"weir/core/env"
)

const (
	// acceptRetry is the pause after a failed accept: too many open files, as a rule.
	acceptRetry = 100 * time.Millisecond
	// acceptLogEvery is the shortest time between two log lines about failed accepts.
	acceptLogEvery = time.Minute
)

// listener is one address and what its connections are bound to.
type listener struct {
	network *Network
	socket  *net.TCPListener
	name    string
	handler env.ConnHandler
	codec   env.Codec
	secure  bool // with TLS
}

func (n *Network) listen(e *env.Listen) (*listener, error) {
	if e.Secure && n.o.Certificates == nil {
		return nil, listenError(e.Address, errNoCertificates)
	}
	config := net.ListenConfig{KeepAlive: 0} // the system's probes, every 15 s
	socket, err := config.Listen(context.Background(), "tcp", e.Address)
	if err != nil {
		return nil, listenError(e.Address, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refusing {
		socket.Close()
		return nil, listenError(e.Address, net.ErrClosed)
	}
	l := &listener{network: n, socket: socket.(*net.TCPListener), name: e.Name, handler: e.Handler, codec: e.Codec, secure: e.Secure}
	n.listeners = append(n.listeners, l)
	return l, nil
}

// accept takes connections until the listener is closed.
func (l *listener) accept() {
	var logged time.Time
	failures := 0
	for {
		socket, err := l.socket.AcceptTCP()
		switch {
		case err == nil:
			l.take(socket)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			failures++
			if time.Since(logged) >= acceptLogEvery {
				l.network.log(slog.LevelWarn, "cannot accept connections; trying again. If files are short, raise the process's limit of open files (ulimit -n) or lower max.connections",
					slog.String("listener", l.name), slog.Int("failures", failures), slog.Any("error", err))
				logged, failures = time.Now(), 0
			}
			select {
			case <-time.After(acceptRetry):
			case <-l.network.quit:
				return
			}
		}
	}
}

// take opens an accepted connection, or closes it if there are too many.
func (l *listener) take(socket *net.TCPConn) {
	n := l.network
	remote := socket.RemoteAddr().(*net.TCPAddr)
	c := newConn(l, socket, remote.AddrPort().Addr().Unmap())
	if c == nil || !n.enter(c) {
		socket.Close()
		return
	}
	n.counts.accepted.Add(1)
	info := env.ConnInfo{Listener: l.name, Remote: remote.String()}
	if l.secure {
		n.group.Go(func() { c.secureAccepted(info) })
		return
	}
	n.o.Deliver(&opened{conn: c, info: info})
	n.group.Go(c.read)
}

// enter counts a connection in, within the bounds. What is refused is logged with
// the next look at deadlines, in one line.
func (n *Network) enter(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := n.sources[c.ip]
	switch {
	case n.stopped:
		return false
	case n.o.ConnectionsMax > 0 && len(n.conns)-n.dialed >= n.o.ConnectionsMax,
		n.o.ConnectionsPerIPMax > 0 && from != nil && from.connections-from.dialed >= n.o.ConnectionsPerIPMax:
		n.counts.refuse(c.ip)
		return false
	}
	n.add(c)
	return true
}

// add counts a connection in. n.mu is held.
func (n *Network) add(c *conn) {
	n.conns[c] = struct{}{}
	n.connections.Add(1)
	from := n.sources[c.ip]
	if from == nil {
		from = &source{}
		n.sources[c.ip] = from
	}
	from.connections++
	if c.dialed {
		from.dialed++
	}
	c.source = from
}

// exit counts a connection out.
func (n *Network) exit(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	n.connections.Add(-1)
	if c.dialed {
		n.dialed--
		c.source.dialed--
	}
	if c.source.connections--; c.source.connections == 0 {
		delete(n.sources, c.ip)
	}
}
