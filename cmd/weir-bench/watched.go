package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"weir/internal/process"
	"weir/internal/scrape"
	"weir/internal/weirbin"
)

// watched is a running weir broker that serves its metrics, in a directory of its own.
type watched struct {
	*weirbin.Broker
	dir     string
	metrics string // URL
}

// startWatched starts a broker on an empty directory under dir, of which an empty one is the system's for temporary files. Later
// configurations count more. The caller removes it.
func startWatched(path, dir string, configs ...map[string]string) (*watched, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	if dir, err = os.MkdirTemp(dir, "weir-bench-"); err != nil {
		return nil, err
	}
	w := &watched{metrics: fmt.Sprintf("http://127.0.0.1:%d/metrics", port)}
	if w.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	config := map[string]string{"weir.metrics.address": fmt.Sprintf("127.0.0.1:%d", port)}
	for _, one := range configs {
		maps.Copy(config, one)
	}
	if w.Broker, err = weirbin.Start(weirbin.Options{Path: path, Dir: w.dir, Config: config}); err != nil {
		os.RemoveAll(w.dir)
		return nil, err
	}
	return w, nil
}

// values are the metrics of now.
func (w *watched) values(ctx context.Context) (map[string]float64, error) {
	return scrape.Values(ctx, w.metrics)
}

// explain adds what the broker printed last.
func (w *watched) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; the broker printed last:\n%s", err, w.Tail(20))
}

// remove kills the broker and deletes its directory.
func (w *watched) remove() {
	w.Kill()
	os.RemoveAll(w.dir)
}

const (
	stateTimeout = 2 * time.Minute
	statePoll    = 100 * time.Millisecond
)

// await returns once the metrics say what is waited for.
func (w *watched) await(ctx context.Context, what string, reached func(map[string]float64) bool) error {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	for {
		now, err := w.values(ctx)
		if err != nil {
			return err
		}
		if reached(now) {
			return nil
		}
		if err := sleep(ctx, statePoll); err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
}

// awaitUploads returns once nothing waits to be uploaded.
func (w *watched) awaitUploads(ctx context.Context) error {
	return w.await(ctx, "all is uploaded", func(now map[string]float64) bool {
		return now["weir_upload_waiting_bytes"] == 0 && now["weir_upload_commits_total"] >= now["weir_upload_objects_total"]
	})
}

// awaitSent returns once clients got so many bytes more.
func (w *watched) awaitSent(ctx context.Context, bytes float64) error {
	const sent = "weir_network_sent_bytes_total"
	before, err := w.values(ctx)
	if err != nil {
		return err
	}
	return w.await(ctx, "clients have read", func(now map[string]float64) bool { return now[sent] >= before[sent]+bytes })
}
