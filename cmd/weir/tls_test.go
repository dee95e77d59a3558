package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"weir/internal/testcerts"
)

// keyStores writes the keystore and the truststore of a node, and returns the settings that name them.
func keyStores(t *testing.T, a *testcerts.Authority, name string) []string {
	t.Helper()
	dir := t.TempDir()
	chain, key := a.Node(name, "127.0.0.1")
	settings := []string{"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:SSL"}
	for file, text := range map[string]string{"keystore": chain + key, "truststore": a.PEM} {
		path := filepath.Join(dir, file+".pem")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		settings = append(settings, fmt.Sprintf("ssl.%s.location=%s", file, path))
	}
	return settings
}

// Brokers reach each other by TLS; one whose certificate is of another authority does not join.
func TestBrokersReachEachOtherByTLS(t *testing.T) {
	p := startPair(t, voterByAddress, keyStores(t, testcerts.NewAuthority(t, "ours"), "node")...)
	p.create(t, "t", 4)
	drains := start(t, p.dir, nil, "drain", "--bootstrap-server", p.addresses[1], "--broker", "1", "--wait")
	ends(t, drains)
	printed(t, drains, "leads 0 partitions")

	stranger := p.launch(t, 3, voterByAddress, keyStores(t, testcerts.NewAuthority(t, "theirs"), "stranger"))
	says(t, stranger, "failed to verify certificate")
}

func TestTLSWithoutCertificates(t *testing.T) {
	settings := []string{"server", "--set", "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0", "--set", "controller.listener.names=CONTROLLER"}
	for want, setting := range map[string]string{
		"set ssl.keystore.location": "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:SSL",
		"only PLAINTEXT and SSL":    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_SSL",
	} {
		fails(t, start(t, t.TempDir(), nil, append(settings, "--set", setting)...), want)
	}
}
