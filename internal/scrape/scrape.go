package scrape

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// timeout bounds one scrape.
const timeout = 10 * time.Second

// Text returns what the broker serves at a URL, which ends in /metrics: Prometheus' text format.
func Text(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read the broker's metrics (weir.metrics.address): %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s; metrics are under /metrics", url, response.Status)
	}
	return io.ReadAll(response.Body)
}

// Values returns the metrics at a URL that have no labels, by name.
func Values(ctx context.Context, url string) (map[string]float64, error) {
	text, err := Text(ctx, url)
	if err != nil {
		return nil, err
	}
	return parse(text)
}

func parse(text []byte) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") || strings.Contains(name, "{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		all[name] = v
	}
	return all, lines.Err()
}
