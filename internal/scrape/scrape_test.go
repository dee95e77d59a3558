package scrape_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/internal/scrape"
)

func TestValuesAreTheMetricsWithoutLabels(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("# HELP a what it is\n# TYPE a counter\na 12\nb{purpose=\"upload\"} 3\nc 1.5e+09\n"))
	}))
	defer s.Close()
	got, err := scrape.Values(t.Context(), s.URL)
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"a": 12, "c": 1.5e9}, got)
}

func TestAnAnswerThatIsNoMetricsIsAnError(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, err := scrape.Text(t.Context(), s.URL)
	require.ErrorContains(t, err, "404")
	require.ErrorContains(t, err, "/metrics")
}

func TestAValueThatIsNoNumberIsAnError(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a many\n")) }))
	defer s.Close()
	_, err := scrape.Values(t.Context(), s.URL)
	require.ErrorContains(t, err, "metric a")
}
