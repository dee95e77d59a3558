package main

import (
	"bytes"
	"testing"

	"weir/conformance/cases"
	"weir/conformance/rawconn"
	"weir/conformance/suite"
	"weir/internal/weirbin"

	"github.com/stretchr/testify/require"
)

// weir passes every case in its highest version; `make conformance` runs the other versions too.
func TestWeirConforms(t *testing.T) {
	program, err := weirbin.Build(t.TempDir())
	require.NoError(t, err)
	r := rig{weir: program}
	t.Cleanup(r.stop)
	address, err := r.startWeir(runSettings)
	require.NoError(t, err)
	var out bytes.Buffer
	result, err := suite.Run(t.Context(), suite.Options{
		Endpoint: rawconn.Options{Address: address, ClientID: clientID}, Cases: cases.All(), Workers: 8, Short: true, Out: &out,
	})
	require.NoError(t, err)
	result.Print(&out)
	require.Zero(t, result.Failed, out.String())
	require.Greater(t, result.Passed, 500)
}
