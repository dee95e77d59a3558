package main

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write APIS.md")

// APIS.md shows what is served and tested today.
func TestAPIsPage(t *testing.T) {
	const path = "../../APIS.md"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(apisPage()), 0o644))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, apisPage(), string(text), "run make apis")
}
