package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/process"
)

// limit is for what takes moments on an idle machine.
const limit = 60 * time.Second

// asProgram makes the test binary the program itself.
const asProgram = "RUN_AS_WEIR"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs weir in a directory, with a free port unless args say otherwise.
func start(t *testing.T, dir string, environment []string, args ...string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Options{
		Name: "weir", Path: os.Args[0], Args: args, Dir: dir,
		Env: append([]string{asProgram + "=1", "AWS_CA_BUNDLE="}, environment...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

const anyPort = "listeners=PLAINTEXT://127.0.0.1:0"

func says(t *testing.T, p *process.Process, text string) string {
	t.Helper()
	line, err := p.WaitLine(func(line string) bool { return strings.Contains(line, text) }, limit)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// fails waits for the end of a program that must end with status 1 and say each of texts.
func fails(t *testing.T, p *process.Process, texts ...string) {
	t.Helper()
	ends(t, p)
	if err := p.Wait(); err == nil || err.Error() != "exit status 1" {
		t.Errorf("ended with %v, want status 1", err)
	}
	printed(t, p, texts...)
}

func ends(t *testing.T, p *process.Process) {
	t.Helper()
	select {
	case <-p.Ended():
	case <-time.After(limit):
		t.Fatalf("weir did not end; it printed last:\n%s", p.Tail(30))
	}
}

func printed(t *testing.T, p *process.Process, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.Tail(1000), text) {
			t.Errorf("nothing was said of %q:\n%s", text, p.Tail(30))
		}
	}
}

func sends(t *testing.T, p *process.Process, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.ID(), s); err != nil {
		t.Fatal(err)
	}
}

// endsWell sends SIGTERM and wants status 0.
func endsWell(t *testing.T, p *process.Process) {
	t.Helper()
	sends(t, p, syscall.SIGTERM)
	ends(t, p)
	if err := p.Wait(); err != nil {
		t.Errorf("ended with %v:\n%s", err, p.Tail(30))
	}
}

func TestServerGreetsAndEnds(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second time it restarts
		p := start(t, dir, nil, "server", "--set", anyPort)
		line := says(t, p, "weir is ready on 127.0.0.1:")
		address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
		says(t, p, "To end: Ctrl-C")
		printed(t, p, "./data/wal", "./data/objects", "kcat -b "+address+" -t greetings -P")
		client, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		endsWell(t, p) // an idle client holds nothing up
		client.Close()
		printed(t, p, "msg=ended")
	}
	for _, name := range []string{"wal", "meta", "objects"} {
		if _, err := os.Stat(filepath.Join(dir, "data", name)); err != nil {
			t.Error(err)
		}
	}
}

// TestHangup: SIGHUP ends the broker as SIGTERM does.
func TestHangup(t *testing.T) {
	p := start(t, t.TempDir(), nil, "server", "--set", anyPort)
	says(t, p, "weir is ready")
	sends(t, p, syscall.SIGHUP)
	ends(t, p)
	if err := p.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
	printed(t, p, "msg=ended")
}

// TestNobodyReadsTheLog: the broker outlives the reader of its standard error.
func TestNobodyReadsTheLog(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	broker := exec.Command(os.Args[0], "server", "--set", anyPort, "--log-level", "debug")
	broker.Dir, broker.Env, broker.Stderr = t.TempDir(), append(os.Environ(), asProgram+"=1"), writer
	ready, err := broker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	defer broker.Process.Kill()
	writer.Close()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatalf("no first line: %q, %v", line, err)
	}
	reader.Close() // what the start logs from now on has no reader
	if text, err := io.ReadAll(io.LimitReader(ready, int64(len("\nweir is ready")))); err != nil || !strings.Contains(string(text), "weir is ready") {
		t.Errorf("printed %q, %v", text, err)
	}
	if err := broker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, ready)
	if err := broker.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	fails(t, start(t, t.TempDir(), nil, "server", "--set", "listeners=PLAINTEXT://"+address), address, "address is in use", "the key listeners")
	fails(t, start(t, t.TempDir(), nil, "server", "--set", anyPort, "--set", "weir.metrics.address="+address), "weir.metrics.address", address)
}

func TestDirectoryOfAnother(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, nil, "server", "--set", anyPort)
	says(t, first, "weir is ready")
	fails(t, start(t, dir, nil, "server", "--set", anyPort), fmt.Sprintf("in use by process %d", first.ID()), "data/wal")
	endsWell(t, first)
}

func TestDirectoryThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, start(t, dir, nil, "server", "--set", anyPort), "data/wal", "not a directory")
}

// TestStoreThatIsNotThere: the start waits, says for what, and ends when it is told to.
func TestStoreThatIsNotThere(t *testing.T) {
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, t.TempDir(), []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=s"}, "server", "--set", anyPort,
		"--set", "weir.object.store=s3:bucket", "--set", "weir.s3.region=r", "--set", fmt.Sprintf("weir.s3.endpoint=http://127.0.0.1:%d", port))
	says(t, p, "cannot create the cluster's marker in the object store; trying again")
	endsWell(t, p)
	printed(t, p, "the start is given up")
}

// TestKilledWhileItStarts: whatever a start had done, the next one goes on.
func TestKilledWhileItStarts(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"disk opened", "serving metrics", "listening", "founded a cluster", "weir is ready"} {
		p := start(t, dir, nil, "server", "--set", anyPort, "--set", "weir.metrics.address=127.0.0.1:0")
		if text == "founded a cluster" {
			text = "listening" // only one of the starts founds it
		}
		says(t, p, text)
		p.Kill()
	}
	p := start(t, dir, nil, "server", "--set", anyPort)
	says(t, p, "weir is ready")
	endsWell(t, p)
}

func TestWrongUse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(file, []byte("num.partitions=0\nlog.dirs=/a,/b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args  []string
		texts []string
	}{
		{[]string{"serve"}, []string{`unknown command "serve"`}},
		{[]string{"server", "now"}, []string{"now"}},
		{[]string{"server", "--set", "node.id"}, []string{"must be key=value"}},
		{[]string{"server", "--set", "node.id=x"}, []string{"node.id", "not a number"}},
		{[]string{"server", "--set", "nodeid=1"}, []string{`unknown key "nodeid"`}},
		{[]string{"server", "--log-level", "loud"}, []string{"--log-level loud"}},
		{[]string{"server", "--log-format", "xml"}, []string{"--log-format xml"}},
		{[]string{"server", "--config", "absent"}, []string{"absent", "no such file"}},
		{[]string{"server", "--config", file}, []string{file, "line 1", "num.partitions", "line 2", "log.dirs"}}, // all at once
		{[]string{"server", "--set", "listeners=SSL://127.0.0.1:9093"}, []string{"listener.security.protocol.map", "SSL"}},
		{[]string{"server", "--set", "weir.object.store=gs:bucket"}, []string{"file:PATH", "s3:BUCKET"}},
	} {
		fails(t, start(t, dir, nil, test.args...), test.texts...)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a start with a wrong configuration left something behind")
	}
}

// TestSourcesOfTheConfiguration: flags over environment over file over defaults, and nothing that is
// not understood goes unsaid.
func TestSourcesOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	text := "node.id=3\nnum.partitions=4\nmessage.max.bytes=2000\nzookeeper.connect=localhost:2181\n"
	if err := os.WriteFile(filepath.Join(dir, "server.properties"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := []string{"WEIR_NUM_PARTITIONS=5", "WEIR_NODE_ID=6", "WEIR_NODEID=7"}
	flags := []string{"--config", "server.properties", "--set", "node.id=8"}
	p := start(t, dir, environment, append(flags, "config")...)
	ends(t, p)
	fields := map[string]string{}
	for line := range strings.Lines(p.Tail(1000)) {
		if f := strings.Fields(line); len(f) >= 3 {
			fields[f[0]] = strings.Join(f[1:], " ")
		}
	}
	for key, want := range map[string]string{
		"node.id": "8 flag", "num.partitions": "5 environment", "message.max.bytes": "2000 file", "fetch.max.bytes": "57671680 default",
		"zookeeper.connect": "unknown, ignored", "WEIR_NODEID": "unknown, ignored",
	} {
		if fields[key] != want {
			t.Errorf("%s is %q, want %q", key, fields[key], want)
		}
	}
	docs := start(t, dir, environment, append(flags, "config", "--docs")...)
	ends(t, docs)
	printed(t, docs, "# The number of this broker, unique in its cluster.\nnode.id  8  flag")

	server := start(t, dir, environment, append(flags, "server", "--set", anyPort)...)
	says(t, server, "weir is ready")
	printed(t, server, `ignored" key=zookeeper.connect`, `ignored" key=WEIR_NODEID`)
	endsWell(t, server)
}

func TestVersion(t *testing.T) {
	p := start(t, t.TempDir(), nil, "version")
	ends(t, p)
	printed(t, p, "go1.")
}
