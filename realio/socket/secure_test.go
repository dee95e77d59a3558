package socket

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"weir/core/env"
	"weir/internal/testcerts"
)

// identity has the certificate of one node. It implements Certificates.
type identity struct {
	own     tls.Certificate
	trusted *x509.CertPool
}

func newIdentity(t testing.TB, a *testcerts.Authority, name string) *identity {
	chain, key := a.Node(name, "127.0.0.1")
	own, err := tls.X509KeyPair([]byte(chain), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(a.PEM))
	return &identity{own, trusted}
}

func (i *identity) Server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{i.own}, ClientCAs: i.trusted, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
}

func (i *identity) Client(string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{i.own}, RootCAs: i.trusted, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13}
}

// secureNode is a node's end of TLS connections: it keeps what it receives.
type secureNode struct {
	*rig
	got  [][]byte
	info []env.ConnInfo
}

func newSecureNode(t testing.TB, o Options) *secureNode { return &secureNode{rig: newRig(t, o)} }

func (n *secureNode) Opened(id env.ConnID, info env.ConnInfo) {
	n.rig.Opened(id, info)
	n.info = append(n.info, info)
}

func (n *secureNode) Received(_ env.ConnID, _ any, f *env.Frame) {
	n.got = append(n.got, append([]byte(nil), f.Data...))
	n.net.Release(f)
}

func (n *secureNode) listenSecure() (bound string, err error) {
	done := false
	o := &env.Listen{Name: "NODES", Address: "127.0.0.1:0", Handler: n, Codec: n.rig, Secure: true, Done: func(*env.Listen) { done = true }}
	n.net.Listen(o)
	n.until("the listener", func() bool { return done })
	return o.Bound, o.Err
}

func (n *secureNode) dial(address string, secure bool) (env.ConnID, error) {
	done := false
	o := &env.Dial{Address: address, Handler: n, Codec: n.rig, Secure: secure, Done: func(*env.Dial) { done = true }}
	n.net.Dial(o)
	n.until("the connection", func() bool { return done })
	return o.Conn, o.Err
}

// both pumps two nodes until what is awaited is there.
func both(a, b *secureNode, what string, is func() bool) {
	a.Helper()
	a.until(what, func() bool { b.box.pump(); return is() })
}

func TestFramesTravelByTLS(t *testing.T) {
	authority := testcerts.NewAuthority(t, "ours")
	a := newSecureNode(t, Options{Certificates: newIdentity(t, authority, "one")})
	b := newSecureNode(t, Options{Certificates: newIdentity(t, authority, "two")})
	address, err := a.listenSecure()
	if err != nil {
		t.Fatal(err)
	}
	id, err := b.dial(address, true)
	if err != nil {
		t.Fatal(err)
	}
	sent := [][]byte{[]byte("x"), {}, bytes.Repeat([]byte("0123456789abcdef"), 200_000), []byte("end")}
	for _, frame := range sent {
		b.send(id, frame)
	}
	both(a, b, "the frames", func() bool { return len(a.got) == len(sent) })
	for i := range sent {
		if !bytes.Equal(a.got[i], sent[i]) {
			t.Errorf("frame %d of %d bytes came as %d", i, len(sent[i]), len(a.got[i]))
		}
	}
	if a.info[0].Certificate != "CN=two" || b.info[0].Certificate != "CN=one" || a.info[0].Listener != "NODES" {
		t.Errorf("the ends know each other as %+v and %+v", a.info, b.info)
	}
	a.send(a.opened[0], bytes.Repeat([]byte("back"), 100_000))
	a.net.Close(a.opened[0], false)
	both(a, b, "the answer before the end", func() bool { return len(b.got) == 1 && b.closed[id] != nil && len(a.closed) == 1 })
	if len(b.got[0]) != 400_000 || a.net.Stats().Connections+b.net.Stats().Connections != 0 {
		t.Errorf("%d bytes came, %d connections stay", len(b.got[0]), a.net.Stats().Connections)
	}
}

func TestStrangersAreNotOpened(t *testing.T) {
	ours, theirs := testcerts.NewAuthority(t, "ours"), testcerts.NewAuthority(t, "theirs")
	a := newSecureNode(t, Options{Certificates: newIdentity(t, ours, "one")})
	address, err := a.listenSecure()
	if err != nil {
		t.Fatal(err)
	}
	stranger := newIdentity(t, theirs, "stranger")
	if _, err := newSecureNode(t, Options{Certificates: stranger}).dial(address, true); err == nil || !strings.Contains(err.Error(), "TLS with") {
		t.Errorf("a node dialed one that it does not trust: %v", err)
	}
	stranger.trusted = newIdentity(t, ours, "").trusted
	s := newSecureNode(t, Options{Certificates: stranger})
	if id, err := s.dial(address, true); err == nil { // as TLS 1.3 goes, it hears of the refusal later
		both(a, s, "the refusal", func() bool { return s.closed[id] != nil })
	}
	plain := newSecureNode(t, Options{})
	id, err := plain.dial(address, false)
	if err != nil {
		t.Fatal(err)
	}
	plain.send(id, []byte("not TLS"))
	both(a, plain, "the end of a plaintext connection", func() bool { return plain.closed[id] != nil })
	a.until("no connections", func() bool { return a.net.Stats().Connections == 0 })
	if len(a.opened) != 0 || len(a.got) != 0 {
		t.Errorf("%d strangers were let in", len(a.opened))
	}
	a.net.reportStrangers(time.Now().Add(2 * foreignLogEvery))
	if said := strings.Join(a.lines.all(), "\n"); !strings.Contains(said, "did not prove by a certificate") {
		t.Errorf("operators hear nothing of it: %q", said)
	}
}

func TestTLSNeedsCertificates(t *testing.T) {
	n := newSecureNode(t, Options{})
	if _, err := n.listenSecure(); !errors.Is(err, errNoCertificates) && err == nil {
		t.Errorf("it listens without certificates")
	}
	if _, err := n.dial("127.0.0.1:1", true); !errors.Is(err, errNoCertificates) {
		t.Errorf("dialed with %v", err)
	}
}

// A stop ends handshakes that hang.
func TestStopEndsHandshakes(t *testing.T) {
	authority := testcerts.NewAuthority(t, "ours")
	a := newSecureNode(t, Options{Certificates: newIdentity(t, authority, "one")})
	address, err := a.listenSecure()
	if err != nil {
		t.Fatal(err)
	}
	silent := newSecureNode(t, Options{})
	if _, err := silent.dial(address, false); err != nil {
		t.Fatal(err)
	}
	both(a, silent, "the connection", func() bool { return a.net.Stats().Connections == 1 })
	a.net.Stop()
	if n := a.net.Stats().Connections; n != 0 {
		t.Errorf("%d connections stay", n)
	}
}
