package objectstore

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"weir/realio/s3store"
)

// bucket serves each case of the battery from a prefix of its own, which is empty at first.
type bucket struct {
	endpoint             string
	accessKey, secretKey string
	deviations           map[string]Deviation
	prefixes             atomic.Int64
}

func (b *bucket) fresh(t testing.TB) Harness {
	box := newMailbox()
	s, err := s3store.Open(s3store.Options{
		Bucket: "weir", Prefix: fmt.Sprintf("case-%d", b.prefixes.Add(1)),
		Endpoint: b.endpoint, Region: "us-east-1", PathStyle: true, AccessKey: b.accessKey, SecretKey: b.secretKey,
		Deliver: box.deliver,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return Harness{Store: s, Pump: box.pump, Deviations: b.deviations}
}

// TestFakeS3 runs against gofakes3 in this process, over plain HTTP.
func TestFakeS3(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("weir"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	b := &bucket{endpoint: server.URL, accessKey: "key", secretKey: "secret", deviations: map[string]Deviation{
		"RacingLargeCreates": {Reason: "gofakes3 1.2.0 ignores the condition with which a multipart upload ends", Sometimes: true},
	}}
	Run(t, b.fresh)
}

var versitygw = flag.String("versitygw", "", "the versitygw program; make versitygw puts it where it is looked for")

func findVersitygw(t *testing.T) string {
	program := *versitygw
	if program == "" {
		program = filepath.Join("..", "..", ".cache", "bin", "versitygw")
	}
	if _, err := os.Stat(program); err != nil {
		t.Skipf("no versitygw, an S3 server that keeps to the rules more strictly: %v; make versitygw builds it", err)
	}
	return program
}

// TestVersitygw runs against versitygw, which keeps objects in files.
func TestVersitygw(t *testing.T) {
	program, dir := findVersitygw(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "weir"), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	server := exec.Command(program, "--access", "key", "--secret", "secret-secret", "--port", address, "--health", "/health", "--quiet", "posix", "--sidecar", t.TempDir(), dir)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	waitFor(t, "http://"+address+"/health")
	b := &bucket{endpoint: "http://" + address, accessKey: "key", secretKey: "secret-secret", deviations: map[string]Deviation{
		"KeyBesideFolder": {Reason: "versitygw's keys are paths of files, so a key cannot be a folder of others"},
		"DotSegments":     {Reason: "versitygw's keys are paths of files, which it cleans"},
	}}
	Run(t, b.fresh)
}

// waitFor asks until a server answers.
func waitFor(t *testing.T, url string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for range 500 {
		response, err := http.Get(url)
		if err == nil {
			_ = response.Body.Close()
			return
		}
		<-again.C
	}
	t.Fatal("the server never answered")
}
