package process

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Options{Name: "sh", Path: "/bin/sh", Args: []string{"-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func is(line string) func(string) bool { return func(s string) bool { return s == line } }

func TestALineIsFoundBeforeAndAfterItCame(t *testing.T) {
	p := start(t, "echo one; echo two >&2; exec sleep 60")
	for _, want := range []string{"two", "one"} {
		if line, err := p.WaitLine(is(want), 10*time.Second); err != nil || line != want {
			t.Fatalf("line %q, error %v", line, err)
		}
	}
}

func TestAMissingLineShowsTheOutput(t *testing.T) {
	p := start(t, "echo it broke; printf half")
	_, err := p.WaitLine(is("ready"), 10*time.Second)
	if err == nil || !strings.Contains(err.Error(), "it broke\nhalf") {
		t.Fatalf("error %v", err)
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestStopIsGentleThenNot(t *testing.T) {
	gentle := start(t, "trap 'echo bye; exit 0' TERM; echo up; while :; do :; done")
	if _, err := gentle.WaitLine(is("up"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := gentle.Stop(10 * time.Second); err != nil || gentle.Tail(1) != "bye" {
		t.Fatalf("error %v, last line %q", err, gentle.Tail(1))
	}
	plain := start(t, "echo up; exec sleep 60")
	if err := plain.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	deaf := start(t, "trap '' TERM; echo up; while :; do :; done")
	if _, err := deaf.WaitLine(is("up"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := deaf.Stop(10 * time.Millisecond); err == nil {
		t.Fatal("a program that ignores SIGTERM ended by itself")
	}
}

func TestARelativeProgramWithADirectoryOfItsOwn(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("program", []byte("#!/bin/sh\npwd\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p, err := Start(Options{Path: "./program", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil || p.Tail(1) != dir {
		t.Fatalf("error %v, it ran in %q", err, p.Tail(1))
	}
}

func TestUsageCountsWhatWasUsed(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here")
	}
	u, err := UsageOf(os.Getpid())
	if err != nil || u.Resident < 1<<20 || u.ResidentMax < u.Resident/2 {
		t.Fatalf("usage %+v, error %v", u, err)
	}
	cpu, err := statCPU([]byte("7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 15 16"))
	if err != nil || cpu != 1270*time.Millisecond {
		t.Fatalf("CPU %v, error %v", cpu, err)
	}
	if _, err := statCPU([]byte("7 (x) S 1")); err == nil {
		t.Fatal("a short stat was read")
	}
}

// A free port can be listened on, and is none that an outgoing connection takes.
func TestFreePort(t *testing.T) {
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	if port < portMin || port > portMax {
		t.Errorf("port %d", port)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
