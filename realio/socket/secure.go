package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"weir/core/env"
)

// handshakeTimeout is how long an accepted connection may take to prove who it is.
const handshakeTimeout = 10 * time.Second

var errNoCertificates = errors.New("there are no certificates for TLS")

// Certificates give the configurations of both ends of TLS, anew for each connection. They are called from any goroutine.
type Certificates interface {
	Server() *tls.Config
	Client(address string) *tls.Config
}

// secureAccepted is the goroutine of an accepted connection with TLS: it is opened once the peer has proved who it is.
func (c *conn) secureAccepted(info env.ConnInfo) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := c.handshake(ctx, tls.Server(c.socket, c.network.o.Certificates.Server())); err != nil {
		c.network.counts.notSecure(c.ip, err)
		c.drop()
		return
	}
	info.Certificate = c.certificate()
	c.network.o.Deliver(&opened{conn: c, info: info})
	c.read()
}

// secureDialed proves to the other end who this one is, and wants the same of it.
func (c *conn) secureDialed(ctx context.Context, address string) error {
	if err := c.handshake(ctx, tls.Client(c.socket, c.network.o.Certificates.Client(address))); err != nil {
		c.drop()
		return fmt.Errorf("TLS with %s: %w", address, err)
	}
	return nil
}

func (c *conn) handshake(ctx context.Context, secured *tls.Conn) error {
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	c.tls = secured
	return nil
}

// drop forgets a connection that was never opened.
func (c *conn) drop() {
	c.mu.Lock()
	c.ended, c.failed = true, true
	c.mu.Unlock()
	c.socket.Close()
	c.network.exit(c)
}

// certificate is the distinguished name that the peer has proved; empty without TLS.
func (c *conn) certificate() string {
	if c.tls == nil {
		return ""
	}
	return c.tls.ConnectionState().PeerCertificates[0].Subject.String()
}

// readSecure waits for bytes and reads them. The buffer is held meanwhile: nodes have few connections.
func (c *conn) readSecure() {
	in := &c.in
	to := c.destination()
	c.noteWait()
	in.got, in.err = c.tls.Read(to)
	if in.got > 0 || errors.Is(in.err, io.EOF) {
		in.err = nil // what follows comes with the next call
	}
}

// writeSecure writes pieces.
func (c *conn) writeSecure(pieces net.Buffers) error {
	for _, piece := range pieces {
		if _, err := c.tls.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// closeWrite tells the peer that nothing more comes.
func (c *conn) closeWrite() {
	if c.tls != nil {
		_ = c.tls.CloseWrite()
	}
	_ = c.socket.CloseWrite()
}

// notSecure counts a connection that was refused since it did not prove who it is.
func (k *counts) notSecure(from fmt.Stringer, err error) {
	k.unproved.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.strangers.count++
	k.strangers.last, k.strangers.err = from.String(), err
}

// strangers are the connections refused since the last log line because they did not prove who they are.
type strangers struct {
	count  int64
	last   string
	err    error
	logged time.Time
}

// reportStrangers logs them, in one line a minute at most.
func (n *Network) reportStrangers(now time.Time) {
	k := &n.counts
	k.mu.Lock()
	s := k.strangers
	due := s.count > 0 && (s.logged.IsZero() || now.Sub(s.logged) >= foreignLogEvery)
	if due {
		k.strangers = strangers{logged: now}
	}
	k.mu.Unlock()
	if due {
		n.log(slog.LevelWarn, "connections were refused: they did not prove by a certificate that they are of this cluster. See ssl.keystore and ssl.truststore of both ends, and the clocks",
			slog.Int64("count", s.count), slog.String("last", s.last), slog.String("error", s.err.Error()))
	}
}
