package certificates

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"weir/core/env"
)

// lookEvery is the shortest time between two looks at the files.
const lookEvery = time.Second

// Options say where certificates are. Of each pair of a file and a text one is needed.
type Options struct {
	// KeyStore is a file with the private key, which is not encrypted, and the certificate with those of the authorities between it and one that the others trust
	// (ssl.keystore.location).
	KeyStore string
	// Key and Chain are the same as text (ssl.keystore.key, ssl.keystore.certificate.chain).
	Key, Chain string
	// TrustStore is a file with the certificates of authorities (ssl.truststore.location).
	TrustStore string
	// Trusted is the same as text (ssl.truststore.certificates).
	Trusted string
	// AnyHost accepts a certificate whatever host it names (ssl.endpoint.identification.algorithm is empty).
	AnyHost bool
	// Log takes lines from any goroutine. Nil: none.
	Log env.Logger
}

// Store has the certificates that are in force. Its methods are called from any goroutine.
type Store struct {
	o Options

	mu      sync.Mutex
	current pair
	files   [2]stamp
	looked  time.Time
}

// pair is what the files, or the texts, say.
type pair struct {
	own     tls.Certificate
	trusted *x509.CertPool
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	bytes    int64
}

// Open reads the certificates. The error is for people.
func Open(o Options) (*Store, error) {
	s := &Store{o: o, looked: time.Now()}
	s.files = s.stamps()
	var err error
	s.current, err = s.read()
	return s, err
}

// Server is the configuration of an end that accepts.
func (s *Store) Server() *tls.Config {
	now := s.now()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{now.own}, ClientCAs: now.trusted, ClientAuth: tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true, // each connection proves who it is by the certificates of its time
	}
}

// Client is the configuration of an end that dialed host:port.
func (s *Store) Client(address string) *tls.Config {
	now := s.now()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host, RootCAs: now.trusted, Certificates: []tls.Certificate{now.own}}
	if s.o.AnyHost {
		c.InsecureSkipVerify = true // of the name; verifyChain does the rest
		c.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, now.trusted) }
	}
	return c
}

// verifyChain does what crypto/tls does, but for the host's name.
func verifyChain(state tls.ConnectionState, trusted *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: trusted, Intermediates: between})
	return err
}

// now is what is in force, as of the files a second ago at most.
func (s *Store) now() pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < lookEvery {
		return s.current
	}
	s.looked = time.Now()
	files := s.stamps()
	if files == s.files {
		return s.current
	}
	s.files = files
	fresh, err := s.read()
	if err != nil {
		s.log(slog.LevelWarn, "changed certificates cannot be used; those of before stay in force", slog.String("error", err.Error()))
		return s.current
	}
	s.current = fresh
	s.log(slog.LevelInfo, "changed certificates are in force", slog.Time("expires", fresh.own.Leaf.NotAfter))
	return s.current
}

func (s *Store) stamps() (all [2]stamp) {
	for i, path := range []string{s.o.KeyStore, s.o.TrustStore} {
		if info, err := os.Stat(path); path != "" && err == nil {
			all[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return all
}

func (s *Store) read() (p pair, err error) {
	chain, key := []byte(s.o.Chain), []byte(s.o.Key)
	if s.o.KeyStore != "" {
		if chain, err = os.ReadFile(s.o.KeyStore); err != nil {
			return p, fmt.Errorf("ssl.keystore.location: %w", err)
		}
		key = chain
	}
	if len(chain) == 0 || len(key) == 0 {
		return p, errors.New("no certificate: set ssl.keystore.location, or ssl.keystore.certificate.chain and ssl.keystore.key")
	}
	if encrypted(key) {
		return p, errors.New("ssl.keystore: the private key is encrypted, which is not supported: keep it in a file that only the broker reads")
	}
	if p.own, err = tls.X509KeyPair(chain, key); err != nil {
		return p, fmt.Errorf("ssl.keystore: %w", err)
	}
	trusted := []byte(s.o.Trusted)
	if s.o.TrustStore != "" {
		if trusted, err = os.ReadFile(s.o.TrustStore); err != nil {
			return p, fmt.Errorf("ssl.truststore.location: %w", err)
		}
	}
	p.trusted = x509.NewCertPool()
	if !p.trusted.AppendCertsFromPEM(trusted) {
		return p, errors.New("no authority to trust: set ssl.truststore.location or ssl.truststore.certificates to certificates in PEM")
	}
	return p, nil
}

// encrypted reports whether a PEM text has an encrypted private key.
func encrypted(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return true
		}
	}
	return false
}

func (s *Store) log(level slog.Level, message string, attrs ...slog.Attr) {
	if s.o.Log != nil {
		s.o.Log.Log(level, message, attrs...)
	}
}
