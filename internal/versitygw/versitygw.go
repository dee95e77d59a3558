// Package versitygw starts versitygw, an S3 server that keeps objects in files, for tests.
package versitygw

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/internal/process"
)

const startLimit = 30 * time.Second

// Options say which program to start, and what it serves.
type Options struct {
	// Path is the program; `make versitygw` installs it into .cache/bin.
	Path string
	// Dir is an empty directory for the objects.
	Dir string
	// Bucket is made before the start.
	Bucket               string
	AccessKey, SecretKey string
}

// Start starts the server on a free port of loopback, and returns it and its URL once it listens. The caller ends it.
func Start(o Options) (p *process.Process, endpoint string, err error) {
	if err := os.Mkdir(filepath.Join(o.Dir, o.Bucket), 0o755); err != nil {
		return nil, "", err
	}
	port, err := process.FreePort()
	if err != nil {
		return nil, "", err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	p, err = process.Start(process.Options{
		Name: "versitygw", Path: o.Path, Args: []string{"--port", address, "posix", o.Dir},
		Env: []string{"ROOT_ACCESS_KEY=" + o.AccessKey, "ROOT_SECRET_KEY=" + o.SecretKey},
	})
	if err != nil {
		return nil, "", err
	}
	if _, err := p.WaitLine(func(line string) bool { return strings.Contains(line, address) }, startLimit); err != nil {
		p.Kill()
		return nil, "", err
	}
	return p, "http://" + address, nil
}
