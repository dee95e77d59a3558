package weirbin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"

	"weir/internal/process"
)

// startLimit bounds the time from start to listening: recovery of a whole WAL on a
// slow disk fits.
const startLimit = 60 * time.Second

// root is the repository that the working directory lies in.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module weir\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is not in weir's repository")
		}
		dir = parent
	}
}

// Build compiles cmd/weir into dir and returns the program's path.
func Build(dir string) (string, error) {
	source, err := root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "weir")
	command := exec.Command("go", "build", "-o", path, "./cmd/weir")
	command.Dir = source
	if text, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/weir: %w\n%s", err, text)
	}
	return path, nil
}

// Options say which broker to start, and how.
type Options struct {
	// Path is the weir program, as [Build] returns it.
	Path string
	// Dir holds the configuration file and, under data, all that the broker keeps.
	// Starting again with the same Dir is a restart.
	Dir string
	// Port on 127.0.0.1; zero picks a free one.
	Port int
	// Config has the keys of the configuration file beside the listener and the data
	// directory.
	Config map[string]string
	// Args follow "server --config FILE".
	Args []string
	Env  []string
	Echo io.Writer
}

// S3Env is an environment with these keys and nothing of the user's own for S3.
func S3Env(accessKey, secretKey string) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_CA_BUNDLE=",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// S3Config are the keys for a bucket of an S3-compatible store.
func S3Config(endpoint, bucket string) map[string]string {
	return map[string]string{
		"weir.object.store": "s3:" + bucket, "weir.s3.endpoint": endpoint, "weir.s3.region": "us-east-1", "weir.s3.path.style": "true",
	}
}

// Broker is a started broker.
type Broker struct {
	*process.Process
	// Address is host:port of its first listener.
	Address string
	Port    int
}

// Start runs the broker and returns once it says that it listens. The caller ends
// it.
func Start(o Options) (*Broker, error) {
	b, err := Launch(o)
	if err != nil {
		return nil, err
	}
	line, err := b.WaitLine(func(line string) bool { return ListeningAddress(line) != "" }, startLimit)
	if err != nil {
		b.Kill()
		return nil, err
	}
	b.Address = ListeningAddress(line)
	return b, nil
}

// Launch is [Start] without waiting, for callers that watch the port.
func Launch(o Options) (*Broker, error) {
	if o.Port == 0 {
		port, err := process.FreePort()
		if err != nil {
			return nil, err
		}
		o.Port = port
	}
	file := filepath.Join(o.Dir, "server.properties")
	if err := os.WriteFile(file, []byte(properties(o)), 0o644); err != nil {
		return nil, err
	}
	p, err := process.Start(process.Options{
		Name: "weir", Path: o.Path, Args: append([]string{"server", "--config", file}, o.Args...), Dir: o.Dir, Env: o.Env, Echo: o.Echo,
	})
	if err != nil {
		return nil, err
	}
	return &Broker{Process: p, Address: fmt.Sprintf("127.0.0.1:%d", o.Port), Port: o.Port}, nil
}

func properties(o Options) string {
	keys := map[string]string{"listeners": fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", o.Port), "weir.data.dir": filepath.Join(o.Dir, "data")}
	for key, value := range o.Config {
		keys[key] = value
	}
	lines := make([]string, 0, len(keys))
	for key, value := range keys {
		lines = append(lines, key+"="+value+"\n")
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

var (
	listening = regexp.MustCompile(`(?i)\blistening\b`)
	hostPort  = regexp.MustCompile(`(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}\b`)
)

// ListeningAddress returns the host:port in a log line that says that a listener
// listens, or nothing. It knows plain words, key=value pairs and JSON, with or
// without a time in front.
func ListeningAddress(line string) string {
	if !listening.MatchString(line) {
		return ""
	}
	if at := strings.Index(line, "address"); at >= 0 {
		if found := hostPort.FindString(line[at:]); found != "" {
			return found
		}
	}
	return hostPort.FindString(line[listening.FindStringIndex(line)[0]:])
}
