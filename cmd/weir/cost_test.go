package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// cost runs weir cost and returns what it prints.
func cost(t *testing.T, args ...string) string {
	t.Helper()
	p := start(t, t.TempDir(), nil, append([]string{"cost"}, args...)...)
	ends(t, p)
	require.NoError(t, p.Wait(), p.Tail(30))
	return p.Tail(100)
}

// TestCostOfARunningBroker: the start of a broker is on its bill, from the live metrics as from a saved scrape.
func TestCostOfARunningBroker(t *testing.T) {
	broker := start(t, t.TempDir(), nil, "server", "--set", anyPort, "--set", "weir.metrics.address=127.0.0.1:0")
	url := "http://" + regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(says(t, broker, "serving metrics")) + "/metrics"
	says(t, broker, "weir is ready")
	live := cost(t, url)
	for _, text := range []string{"Prices of s3-standard-us-east-1 on ", "per GiB written", "founding", "shipment", "all requests"} {
		require.Contains(t, live, text)
	}
	require.NotContains(t, live, "unstated")

	response, err := http.Get(url)
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	response.Body.Close()
	saved := filepath.Join(t.TempDir(), "metrics.txt")
	require.NoError(t, os.WriteFile(saved, text, 0o600))
	require.Contains(t, cost(t, saved, "--over", "1h", "--store", "gcs-standard-us-central1"), "written in 1h0m0s, 0 B/s")
	once, twice := cost(t, saved, "--over", "1h"), cost(t, saved, saved, "--over", "1h")
	require.Regexp(t, `founding +1 +0 +0 `, once)
	require.Regexp(t, `founding +2 +0 +0 `, twice)
	require.Regexp(t, `all requests +0 +- +-`, cost(t, saved, "--since", saved))
	endsWell(t, broker)
}

func TestCostPrintsItsPrices(t *testing.T) {
	list := cost(t)
	require.Contains(t, list, "s3-express-one-zone-us-east-1")
	file := filepath.Join(t.TempDir(), "prices.json")
	row := `{"name": "cellar", "sources": ["the cellar"], "put_1000": 7}`
	require.NoError(t, os.WriteFile(file, []byte(`{"date": "2026-01-02", "stores": [`+row+`]}`), 0o600))
	require.Contains(t, cost(t, "--prices", file), "cellar")
}

func TestWrongUseOfCost(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(other, []byte("up 1\n"), 0o600))
	for _, test := range []struct {
		args  []string
		texts []string
	}{
		{[]string{"absent"}, []string{"absent", "no such file"}},
		{[]string{other}, []string{other, "not the metrics of a weir broker"}},
		{[]string{other, "--store", "tape"}, []string{`no store "tape"`, "s3-standard-us-east-1"}},
		{[]string{other, "--prices", other}, []string{"price list"}},
		{[]string{other, "--watch", "1s", "--since", other}, []string{"exclude"}},
		{[]string{other, other, "--since", other}, []string{"one broker"}},
		{[]string{"http://127.0.0.1:1/metrics"}, []string{"weir.metrics.address"}},
	} {
		fails(t, start(t, dir, nil, append([]string{"cost"}, test.args...)...), test.texts...)
	}
}
