package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weir/core/config"
	"weir/core/env"
	"weir/faults"
)

// faultFlags make a broker inject faults into itself, for tests.
type faultFlags struct {
	file  string
	meant bool
}

func (f *faultFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "fault-plan", "", "a file with faults that the broker injects into itself, one a line; for tests")
	c.Flags().BoolVar(&f.meant, "i-know-this-injects-faults", false, "without it, --fault-plan is refused")
}

// load reads the plan; nil if there is none.
func (f *faultFlags) load() (faults.Plan, error) {
	switch {
	case f.file == "" && f.meant:
		return nil, errors.New("--i-know-this-injects-faults is for --fault-plan FILE")
	case f.file == "":
		return nil, nil
	case !f.meant:
		return nil, errors.New("--fault-plan makes the broker fail on purpose: if that is meant, give --i-know-this-injects-faults, too")
	}
	text, err := os.ReadFile(f.file)
	if err != nil {
		return nil, err
	}
	plan, err := faults.ParsePlan(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.file, err)
	}
	return plan, nil
}

// inject decorates a world with a plan's faults.
func inject(w *realWorld, c *config.Broker, plan faults.Plan) (*faults.Injector, error) {
	i, err := faults.NewInjector(plan, faults.Options{
		Place: faults.Place{Node: int64(c.NodeID), Zone: c.Rack}, Env: w.env, Peers: c.Cluster.ListenerName,
		Process: ownProcess{w.log},
	})
	if err != nil {
		return nil, err
	}
	w.metrics.Gauge("weir_faults_planned", "faults that this broker was told to inject into itself; never in production").Set(int64(i.Faults()))
	w.log.Log(slog.LevelError, "THIS BROKER INJECTS FAULTS INTO ITSELF, as --fault-plan says: it is for tests, and will fail on purpose",
		slog.Int("faults", i.Faults()), slog.String("plan", plan.String()))
	w.env = i.Env()
	return i, nil
}

// ownProcess is the process of this broker, struck by its own faults.
type ownProcess struct{ log env.Logger }

// Kill implements faults.Process.
func (p ownProcess) Kill() { p.send(syscall.SIGKILL) }

// Stop implements faults.Process.
func (p ownProcess) Stop() { p.send(syscall.SIGTERM) }

func (p ownProcess) send(s syscall.Signal) {
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		p.log.Log(slog.LevelError, "a fault could not be injected", slog.String("signal", s.String()), slog.Any("error", err))
	}
}

// Pause implements faults.Process: the loop stands still, as under SIGSTOP.
func (p ownProcess) Pause(d time.Duration) { time.Sleep(d) }
