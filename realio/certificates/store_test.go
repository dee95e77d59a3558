package certificates

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/internal/testcerts"
)

// meets runs a handshake, and returns what each end thinks of the other once a byte has gone both ways.
func meets(t *testing.T, server, client *tls.Config) (accepts, dials error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	results := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = exchange(tls.Server(c, server))
		}
		results <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	dials = exchange(tls.Client(c, client))
	return <-results, dials
}

// exchange sends a byte and wants one.
func exchange(c *tls.Conn) error {
	defer c.Close()
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func texts(a *testcerts.Authority, name string, hosts ...string) Options {
	chain, key := a.Node(name, hosts...)
	return Options{Chain: chain, Key: key, Trusted: a.PEM}
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	require.NoError(t, err)
	return s
}

func TestNodesOfOneAuthorityMeet(t *testing.T) {
	a := testcerts.NewAuthority(t, "ours")
	one, two := open(t, texts(a, "one", "127.0.0.1", "one.example")), open(t, texts(a, "two"))
	for _, address := range []string{"127.0.0.1:9093", "one.example:9093"} {
		accepts, dials := meets(t, one.Server(), two.Client(address))
		require.NoError(t, accepts)
		require.NoError(t, dials)
	}
	_, dials := meets(t, one.Server(), two.Client("other.example:9093"))
	require.ErrorContains(t, dials, "other.example")

	careless := texts(a, "three")
	careless.AnyHost = true
	accepts, dials := meets(t, one.Server(), open(t, careless).Client("other.example:9093"))
	require.NoError(t, accepts)
	require.NoError(t, dials)
}

func TestStrangersAreRefused(t *testing.T) {
	ours, theirs := testcerts.NewAuthority(t, "ours"), testcerts.NewAuthority(t, "theirs")
	one := open(t, texts(ours, "one", "127.0.0.1"))
	liar := texts(theirs, "stranger", "127.0.0.1")
	liar.Trusted += ours.PEM
	for _, anyHost := range []bool{false, true} {
		liar.AnyHost = anyHost
		stranger := open(t, liar)
		accepts, dials := meets(t, one.Server(), stranger.Client("127.0.0.1:1"))
		require.Error(t, accepts, "it has another authority's certificate")
		require.Error(t, dials)
		_, dials = meets(t, stranger.Server(), one.Client("127.0.0.1:1"))
		require.Error(t, dials, "and so it has as the end that accepts")
		own := texts(ours, "two")
		own.AnyHost = anyHost
		_, dials = meets(t, stranger.Server(), open(t, own).Client("127.0.0.1:1"))
		require.Error(t, dials)
	}
	nobody := one.Client("127.0.0.1:1")
	nobody.Certificates = nil
	accepts, _ := meets(t, one.Server(), nobody)
	require.ErrorContains(t, accepts, "certificate")
	old := one.Client("127.0.0.1:1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	accepts, _ = meets(t, one.Server(), old)
	require.ErrorContains(t, accepts, "version")
}

func TestWhatCannotBeUsedIsSaid(t *testing.T) {
	a := testcerts.NewAuthority(t, "ours")
	whole := texts(a, "one")
	other := texts(a, "two")
	for want, change := range map[string]func(*Options){
		"no certificate":          func(o *Options) { o.Chain = "" },
		"private key":             func(o *Options) { o.Key = other.Key },
		"no authority":            func(o *Options) { o.Trusted = "nonsense" },
		"ssl.keystore.location":   func(o *Options) { o.KeyStore = "/no/such/file" },
		"ssl.truststore.location": func(o *Options) { o.TrustStore = "/no/such/file" },
		"encrypted": func(o *Options) {
			o.Key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
		},
	} {
		o := whole
		change(&o)
		_, err := Open(o)
		require.ErrorContains(t, err, want)
	}
}

type lines struct{ said []string }

func (l *lines) Log(_ slog.Level, message string, _ ...slog.Attr) { l.said = append(l.said, message) }

// A certificate is renewed by a new authority while nodes run: first all trust both, then each gets its new one.
func TestChangedFilesAreTakenOver(t *testing.T) {
	before, after := testcerts.NewAuthority(t, "before"), testcerts.NewAuthority(t, "after")
	dir := t.TempDir()
	keys, trust := filepath.Join(dir, "key.pem"), filepath.Join(dir, "trust.pem")
	changes := 0
	write := func(path, text string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		changes++
		then := time.Now().Add(time.Duration(changes) * time.Minute) // whatever the file system's clock counts in
		require.NoError(t, os.Chtimes(path, then, then))
	}
	chain, key := before.Node("one", "127.0.0.1")
	write(keys, chain+key)
	write(trust, before.PEM)
	said := &lines{}
	one := open(t, Options{KeyStore: keys, TrustStore: trust, Log: said})
	two := open(t, texts(after, "two", "127.0.0.1"))
	look := func() { one.looked = time.Now().Add(-lookEvery) } // the time has come

	_, dials := meets(t, two.Server(), one.Client("127.0.0.1:1"))
	require.Error(t, dials)
	write(keys, "torn")
	look()
	accepts, _ := meets(t, one.Server(), one.Client("127.0.0.1:1"))
	require.NoError(t, accepts, "what cannot be used leaves the old one in force")
	chain, key = after.Node("one", "127.0.0.1")
	write(keys, chain+key)
	write(trust, before.PEM+after.PEM)
	look()
	accepts, dials = meets(t, two.Server(), one.Client("127.0.0.1:1"))
	require.NoError(t, accepts)
	require.NoError(t, dials)
	require.Equal(t, []string{"changed certificates cannot be used; those of before stay in force", "changed certificates are in force"}, said.said)
}
