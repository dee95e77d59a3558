package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/internal/process"
)

// planFile writes a fault plan.
func planFile(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "faults.plan")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600))
	return file
}

// withFaults starts a broker in a directory with a plan.
func withFaults(t *testing.T, dir string, args []string, lines ...string) *process.Process {
	return start(t, dir, nil, append([]string{"server", "--set", anyPort, "--fault-plan", planFile(t, lines...), "--i-know-this-injects-faults"}, args...)...)
}

// TestFaultsAreInjectedLoudly: a broker with a plan says so, counts what it does to itself, and lives with it.
func TestFaultsAreInjectedLoudly(t *testing.T) {
	p := withFaults(t, t.TempDir(), []string{"--set", "weir.metrics.address=127.0.0.1:0"},
		"# a store that refuses at first", "store refuse since=boot for=500ms", "disk:meta slow since=boot times=3", "node:7 kill")
	line := says(t, p, "THIS BROKER INJECTS FAULTS INTO ITSELF")
	require.Contains(t, line, "level=ERROR")
	require.Contains(t, line, "faults=2")
	url := "http://" + regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(says(t, p, "serving metrics")) + "/metrics"
	says(t, p, "weir is ready")
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	metrics, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(metrics), "weir_faults_planned 2")
	require.Regexp(t, `weir_faults_injected_total\{effect="refuse",target="store"\} [1-9]`, string(metrics))
	endsWell(t, p)
}

// TestABrokerKillsItself at the first PUT of its life, and the next start goes on.
func TestABrokerKillsItself(t *testing.T) {
	dir := t.TempDir()
	p := withFaults(t, dir, nil, "nodes kill since=boot when=put")
	ends(t, p)
	require.ErrorContains(t, p.Wait(), "killed")
	p = withFaults(t, dir, nil, "nodes stop at=10ms", "nodes pause since=boot for=50ms")
	ends(t, p)
	require.NoError(t, p.Wait(), p.Tail(30))
	printed(t, p, "weir is ready", syscall.SIGTERM.String(), "msg=ended")
}

func TestWrongUseOfFaults(t *testing.T) {
	const meant = "--i-know-this-injects-faults"
	good := planFile(t, "store refuse")
	for _, test := range []struct {
		args  []string
		texts []string
	}{
		{[]string{"--fault-plan", good}, []string{"on purpose", meant}},
		{[]string{meant}, []string{"--fault-plan FILE"}},
		{[]string{"--fault-plan", "absent", meant}, []string{"absent", "no such file"}},
		{[]string{"--fault-plan", planFile(t, "store refuse", "store explode"), meant}, []string{"faults.plan", "line 2", "explode"}},
		{[]string{"--fault-plan", planFile(t, "nodes crash at=1s"), meant}, []string{"nodes crash at=1s", "power"}},
	} {
		fails(t, start(t, t.TempDir(), nil, append([]string{"server", "--set", anyPort}, test.args...)...), test.texts...)
	}
}
