package weirbin

import (
	"os"
	"path/filepath"
	"testing"
)

func TestListeningAddress(t *testing.T) {
	for line, want := range map[string]string{
		`time=2026-11-24T10:11:12.345+01:00 level=INFO msg="listening" listener=PLAINTEXT address=127.0.0.1:9092`: "127.0.0.1:9092",
		`{"time":"2026-11-24T10:11:12Z","msg":"listening","listener":"PLAINTEXT","address":"[::1]:9092"}`:         "[::1]:9092",
		`2026/11/24 10:11:12 listening on 127.0.0.1:41234 (PLAINTEXT)`:                                            "127.0.0.1:41234",
		`10:11:12 INF Listening address="localhost:1"`:                                                            "localhost:1",
		`msg="not yet" address=127.0.0.1:9092`:                                                                    "",
		`listening soon`:                                                                                          "",
	} {
		if got := ListeningAddress(line); got != want {
			t.Errorf("%s\n  gives %q, not %q", line, got, want)
		}
	}
}

// A program that prints what the broker prints is enough to see the configuration
// file and the address found.
func TestStartWritesTheConfigurationAndFindsTheAddress(t *testing.T) {
	dir := t.TempDir()
	fake := filepath.Join(dir, "fake")
	script := "#!/bin/sh\nsed -n 's|listeners=PLAINTEXT://|msg=listening address=|p' \"$3\"\ncat \"$3\"\nexec sleep 60\n"
	if err := os.WriteFile(fake, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := Start(Options{Path: fake, Dir: dir, Port: 12345, Config: map[string]string{"weir.upload.interval.ms": "100"}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Kill()
	if b.Address != "127.0.0.1:12345" {
		t.Fatalf("address %q", b.Address)
	}
	want := "weir.upload.interval.ms=100"
	if _, err := b.WaitLine(func(line string) bool { return line == want }, startLimit); err != nil {
		t.Fatal(err)
	}
}
