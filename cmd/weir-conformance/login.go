package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"strings"

	"weir/conformance/rawconn"

	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// clientID is what cases expect member ids to begin with.
const clientID = "weir-conformance"

// login is the flags for TLS and SASL.
type login struct {
	tls, insecure            bool
	ca                       string
	mechanism, user, pwdFile string
}

func (l *login) flags(set *flag.FlagSet) {
	set.BoolVar(&l.tls, "tls", false, "connect with TLS")
	set.StringVar(&l.ca, "tls-ca", "", "PEM file with the certificates of authorities to trust, instead of the system's; implies --tls")
	set.BoolVar(&l.insecure, "tls-insecure", false, "do not verify the broker's certificate; implies --tls")
	set.StringVar(&l.mechanism, "sasl", "", "authenticate with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	set.StringVar(&l.user, "user", "", "user name for SASL")
	set.StringVar(&l.pwdFile, "password-file", "", "file with the password for SASL")
}

func (l *login) apply(o *rawconn.Options) error {
	o.ClientID = clientID
	if l.tls || l.insecure || l.ca != "" {
		o.TLS = &tls.Config{InsecureSkipVerify: l.insecure}
		if err := l.trust(o.TLS); err != nil {
			return err
		}
	}
	if l.mechanism == "" {
		return nil
	}
	text, err := os.ReadFile(l.pwdFile)
	if err != nil {
		return fmt.Errorf("read the password for SASL: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	switch l.mechanism {
	case "PLAIN":
		o.SASL = plain.Auth{User: l.user, Pass: password}.AsMechanism()
	case "SCRAM-SHA-256":
		o.SASL = scram.Auth{User: l.user, Pass: password}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		o.SASL = scram.Auth{User: l.user, Pass: password}.AsSha512Mechanism()
	default:
		return fmt.Errorf("--sasl %s: not PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", l.mechanism)
	}
	return nil
}

func (l *login) trust(c *tls.Config) error {
	if l.ca == "" {
		return nil
	}
	text, err := os.ReadFile(l.ca)
	if err != nil {
		return err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s has no certificate", l.ca)
	}
	return nil
}
