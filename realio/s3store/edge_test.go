package s3store

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"weir/core/env"
)

// TestCertificatesOfTheEnvironment: a store behind a private authority is trusted by AWS_CA_BUNDLE,
// and by nothing else.
func TestCertificatesOfTheEnvironment(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(gofakes3.New(backend).Server())
	defer server.Close()
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(bundle, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]env.Outcome{"": env.OutcomeFailed, bundle: env.OutcomeDone} {
		for key, value := range map[string]string{
			"AWS_CA_BUNDLE": name, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_PROFILE": "",
			"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		} {
			t.Setenv(key, value)
		}
		r := &rig{box: make(chan env.Event, 1)}
		var err error
		r.Store, err = Open(Options{Bucket: "bucket", Endpoint: server.URL, Region: "r", PathStyle: true, Deliver: func(e env.Event) { r.box <- e }})
		if err != nil {
			t.Fatal(err)
		}
		if p := r.put("key", []byte("value")); p.Outcome != want {
			t.Errorf("with bundle %q: outcome %d, %v", name, p.Outcome, p.Err)
		}
		r.Shutdown()
	}
}

// TestALaxStoreIsFoundOut: a store that writes over what exists must not be used, since nothing
// would keep two clusters, or a cluster and its late writes, apart.
func TestALaxStoreIsFoundOut(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	strict := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("If-None-Match")
		strict.ServeHTTP(w, r)
	}))
	defer server.Close()
	r := &rig{box: make(chan env.Event, 1)}
	var err error
	r.Store, err = Open(Options{
		Bucket: "bucket", Endpoint: server.URL, Region: "r", PathStyle: true, AccessKey: "a", SecretKey: "s",
		Deliver: func(e env.Event) { r.box <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Shutdown()
	for range 2 {
		if p := r.put("key", []byte("value")); p.Outcome != env.OutcomeFailed || !strings.Contains(p.Err.Error(), "If-None-Match") {
			t.Fatalf("outcome %d, %v", p.Outcome, p.Err)
		}
	}
}
