package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weir/core/config"
	"weir/core/env"
	"weir/core/node"
	"weir/faults"
	"weir/realio/disk"
	"weir/realio/logging"
	"weir/realio/mailbox"
	"weir/realio/metrics"
)

const metricsHeaderTimeout = 10 * time.Second

// logFlags choose how the log looks.
type logFlags struct{ level, format string }

func (f *logFlags) logger(w io.Writer, m env.Metrics) (*logging.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, fmt.Errorf("--log-level %s: must be debug, info, warn or error", f.level)
	}
	if f.format != "text" && f.format != "json" {
		return nil, fmt.Errorf("--log-format %s: must be text or json", f.format)
	}
	dropped := m.Counter("weir_log_lines_dropped_total", "Lines of the log that were dropped because standard error was too slow or closed.")
	return logging.New(w, logging.Options{Level: level, JSON: f.format == "json", Dropped: dropped}), nil
}

func serverCommand(given *settingsFlags) *cobra.Command {
	var logs logFlags
	var plan faultFlags
	c := &cobra.Command{
		Use:   "server",
		Short: "Start a broker; without configuration, an embedded one with its data in ./data",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := given.load()
			if err != nil {
				return err
			}
			faults, err := plan.load()
			if err != nil {
				return err
			}
			// By Go's default, a write to standard output or error ends the process once
			// nobody reads the pipe. A broker outlives its log collector.
			signal.Ignore(syscall.SIGPIPE)
			m := metrics.New()
			log, err := logs.logger(c.ErrOrStderr(), m)
			if err != nil {
				return err
			}
			defer log.Close()
			return serve(settings, faults, log, m, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&logs.level, "log-level", "info", "debug, info, warn or error")
	plan.register(c)
	c.Flags().StringVar(&logs.format, "log-format", "text", "text or json")
	return c
}

// serve runs a broker until it is told to end or cannot go on.
func serve(settings *config.Settings, plan faults.Plan, log *logging.Logger, m *metrics.Metrics, out io.Writer) error {
	for _, key := range settings.Unknown() {
		log.Log(slog.LevelWarn, "unknown configuration key, ignored", slog.String("key", key))
	}
	spareProcessors()
	for {
		err := incarnate(settings, plan, log, m, out)
		if !errors.Is(err, node.ErrFenced) {
			return err
		}
		log.Log(slog.LevelWarn, "starting anew: the other brokers took this one for dead")
	}
}

// incarnate runs one incarnation of the broker, under a fault plan that starts with it.
func incarnate(settings *config.Settings, plan faults.Plan, log *logging.Logger, m *metrics.Metrics, out io.Writer) error {
	c := settings.Broker()
	world, err := openWorld(c, log, m)
	if err != nil {
		return err
	}
	var injector *faults.Injector // nil, but in tests
	if plan != nil {
		if injector, err = inject(world, c, plan); err != nil {
			return errors.Join(err, world.close())
		}
	}
	var failure error
	n := node.New(world.env, node.Options{
		Settings: settings, Hostname: hostname(),
		Ready: func(advertised []config.Listener) {
			greet(out, c, advertised)
			if injector != nil {
				injector.Begin(faults.Serving)
			}
		},
		Failed: func(err error) {
			failure = err
			world.mailbox.Stop()
		},
	})
	stop := watchSignals(log, func() { world.mailbox.Deliver(shutdown{n, world.mailbox.Stop}) })
	defer stop()
	loop := mailbox.Node(n)
	if injector != nil {
		loop = injector.Drive(n)
	}
	world.mailbox.Run(loop)
	err = errors.Join(failure, world.close())
	if err == nil {
		log.Log(slog.LevelInfo, "ended")
	}
	return err
}

// spareProcessors gives the runtime more processors than there are, since writes
// of the log that block each keep one for a while.
func spareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + disk.SpareProcessors)
	}
}

// shutdown is the event that ends a node.
type shutdown struct {
	node *node.Node
	done func()
}

// Deliver implements env.Event.
func (s shutdown) Deliver() { s.node.Shutdown(s.done) }

// watchSignals calls end at the first SIGTERM, SIGINT or SIGHUP, and ends the process
// at the second: what was acknowledged is in the log either way. SIGHUP ends a broker
// as it does Kafka, unless it is ignored, as under nohup.
func watchSignals(log *logging.Logger, end func()) (stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		for count := 0; ; count++ {
			s, ok := <-signals
			if !ok {
				return
			}
			if count > 0 {
				os.Exit(130)
			}
			log.Log(slog.LevelInfo, "told to end; once more to end at once", slog.String("signal", s.String()))
			end()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

// greet says what to type next.
func greet(out io.Writer, c *config.Broker, advertised []config.Listener) {
	fmt.Fprintf(out, `
weir is ready on %[1]s. Its log is kept in %[2]s, its objects in %[3]s.

Produce and consume with any Kafka client, for example kcat:

    echo hello | kcat -b %[1]s -t greetings -P
    kcat -b %[1]s -t greetings -C -o beginning -e

Every key of the configuration: weir config --docs. To end: Ctrl-C.

`, advertised[0].Address(), shown(c.WALPath), shown(strings.TrimPrefix(c.ObjectStore, "file:")))
}

// shown marks a relative path as one.
func shown(path string) string {
	if path == "" || strings.ContainsAny(path[:1], "./") || strings.HasPrefix(path, "s3:") {
		return path
	}
	return "./" + path
}
