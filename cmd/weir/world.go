package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"strings"

	"weir/core/config"
	"weir/core/env"
	"weir/core/object"
	"weir/realio/certificates"
	"weir/realio/compute"
	"weir/realio/disk"
	"weir/realio/filestore"
	"weir/realio/logging"
	"weir/realio/mailbox"
	"weir/realio/memory"
	"weir/realio/metrics"
	"weir/realio/random"
	"weir/realio/s3store"
	"weir/realio/socket"
)

// idleMemoryBytes is how much memory that nobody uses is kept warm.
const idleMemoryBytes = 256 << 20

// realWorld is the operating system as a node's environment.
type realWorld struct {
	mailbox *mailbox.Mailbox
	metrics *metrics.Metrics
	env     env.Env
	log     env.Logger
	closers []func() error // in order of opening
}

// openWorld opens every resource that the configuration names.
func openWorld(c *config.Broker, logger *logging.Logger, m *metrics.Metrics) (*realWorld, error) {
	w := &realWorld{mailbox: mailbox.New(mailbox.Options{Metrics: m}), metrics: m, log: logger}
	arena := memory.NewArena(idleMemoryBytes)
	pool := compute.New(compute.Options{Deliver: w.mailbox.DeliverInTurn, Workers: runtime.GOMAXPROCS(0), Metrics: m})
	w.opened(quietly(pool.Stop))
	w.env = env.Env{
		Clock: w.mailbox.Clock(), Rand: random.New(), Compute: pool, Memory: memory.New(arena),
		Log: logger, Metrics: w.metrics,
	}
	if err := w.openDisks(c, logger); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if err := w.openStore(c, logger); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if err := w.openNetwork(c, arena); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if err := w.serveMetrics(c.MetricsAddress); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *realWorld) opened(closer func() error) { w.closers = append(w.closers, closer) }

// openDisks opens the log's device and that of the metadata.
func (w *realWorld) openDisks(c *config.Broker, logger env.Logger) error {
	open := func(path string, shared bool) (env.Disk, error) {
		d, err := disk.Open(disk.Options{Path: path, Shared: shared, Deliver: w.mailbox.DeliverInTurn, Log: logger})
		if err != nil {
			return nil, err
		}
		w.opened(d.Shutdown)
		return d, nil
	}
	wal, err := open(c.WALPath, c.WALShared)
	if err != nil {
		return err
	}
	meta, err := open(c.MetaPath, false)
	if err != nil {
		return err
	}
	w.env.WAL, w.env.Meta = wal, meta
	return nil
}

// openStore opens the object store: file:PATH or s3:BUCKET[/PREFIX].
func (w *realWorld) openStore(c *config.Broker, logger env.Logger) error {
	kind, at, _ := strings.Cut(c.ObjectStore, ":")
	if kind == "file" {
		s, err := filestore.Open(filestore.Options{Path: at, Deliver: w.mailbox.DeliverInTurn, Metrics: w.metrics, Log: logger})
		if err == nil {
			w.opened(s.Shutdown)
			w.env.Store = s
		}
		return err
	}
	bucket, prefix, err := s3store.ParseLocation(at)
	if err != nil {
		return err
	}
	s, err := s3store.Open(s3store.Options{
		Bucket: bucket, Prefix: prefix, Endpoint: c.S3.Endpoint, Region: c.S3.Region,
		PathStyle: c.S3.PathStyle, NoChecksums: c.S3.Checksum == "none", Deliver: w.mailbox.DeliverInTurn, Metrics: w.metrics, Log: logger,
		Owns: func(key string) bool {
			_, _, ok := object.ParseKey(key)
			return ok
		},
	})
	if err == nil {
		w.opened(quietly(s.Shutdown))
		w.env.Store = s
	}
	return err
}

// quietly is a closer that cannot fail.
func quietly(end func()) func() error {
	return func() error {
		end()
		return nil
	}
}

func (w *realWorld) openNetwork(c *config.Broker, arena *memory.Arena) error {
	o := socket.Options{
		Deliver: w.mailbox.Deliver, Log: w.env.Log, Metrics: w.metrics, Arena: arena, BudgetBytes: c.QueuedMaxRequestBytes,
		ConnectionsMax: c.MaxConnections, ConnectionsPerIPMax: c.MaxConnectionsPerIP, IdleTimeout: c.ConnectionsMaxIdle,
	}
	if c.Cluster.Secure {
		t := &c.Cluster.TLS
		all, err := certificates.Open(certificates.Options{
			KeyStore: t.KeyStore, Key: t.Key, Chain: t.Chain, TrustStore: t.TrustStore, Trusted: t.Trusted, AnyHost: t.AnyHost, Log: w.env.Log,
		})
		if err != nil {
			return fmt.Errorf("TLS between nodes: %w", err)
		}
		o.Certificates = all
	}
	n := socket.New(o)
	w.opened(quietly(n.Stop))
	w.env.Network = n
	return nil
}

// serveMetrics serves the metrics, if an address is set.
func (w *realWorld) serveMetrics(address string) error {
	if address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("weir.metrics.address: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", w.metrics.Handler())
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: metricsHeaderTimeout}
	go func() { _ = server.Serve(l) }() // ends with Close
	w.opened(server.Close)
	w.log.Log(slog.LevelInfo, "serving metrics", slog.String("address", l.Addr().String()))
	return nil
}

// close ends every resource, the last opened first.
func (w *realWorld) close() error {
	var faults []error
	for i := len(w.closers) - 1; i >= 0; i-- {
		faults = append(faults, w.closers[i]())
	}
	w.closers = nil
	return errors.Join(faults...)
}

// hostname is where clients reach a listener that is bound to every address.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
