package process

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// outputDelay is how long a program's output is read on after its end, if children
// that it left behind hold it open.
const outputDelay = time.Second

// Options say what to run.
type Options struct {
	// Name stands in errors; empty is the path's.
	Name string
	// Path is the program; a relative one begins at this process's directory, whatever Dir is.
	Path string
	Args []string
	// Dir is the working directory; empty is this process's.
	Dir string
	// Env is added to this process's environment, as KEY=value.
	Env []string
	// Echo gets a copy of all that the program prints; nil is none.
	Echo io.Writer
}

// Process is a running program, or one that has ended. All methods may be called
// by any goroutine.
type Process struct {
	name    string
	command *exec.Cmd
	output  *output
	ended   chan struct{}
	err     error // of Wait; read after ended is closed
}

// Start runs the program with its standard output and error kept together. The
// caller calls [Process.Kill] or [Process.Stop], whatever happens. Where the system
// can do it, the program is killed when the starting process dies.
func Start(o Options) (*Process, error) {
	if o.Name == "" {
		o.Name = o.Path
	}
	path, err := exec.LookPath(o.Path)
	if err == nil {
		path, err = filepath.Abs(path) // exec would look for it below Dir
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	p := &Process{name: o.Name, command: exec.Command(path, o.Args...), output: newOutput(o.Echo), ended: make(chan struct{})}
	p.command.Dir, p.command.Env = o.Dir, append(os.Environ(), o.Env...)
	p.command.Stdout, p.command.Stderr = p.output, p.output
	p.command.SysProcAttr = attributes()
	p.command.WaitDelay = outputDelay
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	p.err = p.command.Wait()
	p.output.close()
	close(p.ended)
}

// ID is the number that the operating system gave.
func (p *Process) ID() int { return p.command.Process.Pid }

// Ended is closed once the program is gone and its output is complete.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait returns how the program ended: nil is exit code 0.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

// Kill ends the program at once, as a crash would (SIGKILL), and waits until it is
// gone. Killing one that has ended does nothing.
func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// Stop asks the program to end (SIGTERM), waits for it, and kills it after grace.
// It returns how the program ended; being ended by that signal is no error.
func (p *Process) Stop(grace time.Duration) error {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(grace):
		p.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.name, grace)
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && (status.Signal() == syscall.SIGTERM || status.ExitStatus() == 128+int(syscall.SIGTERM)) {
			return nil
		}
	}
	return p.err
}

// WaitLine returns the first line of output for which match holds, lines that came
// before the call included. It fails when the program ends or the time is over
// first, with the last lines in the error.
func (p *Process) WaitLine(match func(string) bool, limit time.Duration) (string, error) {
	line, why := p.output.wait(match, limit)
	if why == "" {
		return line, nil
	}
	return "", fmt.Errorf("%s: %s; it printed last:\n%s", p.name, why, p.Tail(30))
}

// Tail is the last n lines of output, of the few thousand that are kept.
func (p *Process) Tail(n int) string { return p.output.tail(n) }

// Ports between these are drawn: those above are for outgoing connections (32768 and up on Linux), one of which might take a port
// between its choice and its use.
const portMin, portMax = 10_240, 32_767

// FreePort returns a port of 127.0.0.1 that nobody listened on a moment ago.
func FreePort() (int, error) {
	var failed error
	for range 100 {
		port := portMin + rand.IntN(portMax-portMin+1)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
		failed = err
	}
	return 0, fmt.Errorf("find a free port: %w", failed)
}
