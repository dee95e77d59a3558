package main

import (
	"io"
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadSocketBytes(t *testing.T) {
	before, err := readSocketBytes("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 cubic wscale:10,10 bytes_sent:100 bytes_acked:90 segs_out:3\n" +
		"ESTAB 0 0 127.0.0.1:2 127.0.0.1:1 cubic bytes_received:100\n\n")
	require.NoError(t, err)
	require.Equal(t, socketBytes{"127.0.0.1:1 127.0.0.1:2": 100, "127.0.0.1:2 127.0.0.1:1": 0}, before)
	after := socketBytes{"127.0.0.1:1 127.0.0.1:2": 150, "127.0.0.1:1 127.0.0.1:3": 7} // one closed, one opened
	require.EqualValues(t, 57, after.since(before))
	_, err = readSocketBytes("ESTAB 0 0 a b bytes_sent:many\n")
	require.ErrorContains(t, err, "many")
}

// The kernel's count is that of what was written.
func TestSentAt(t *testing.T) {
	if _, err := exec.LookPath("ss"); err != nil {
		t.Skip("no ss (iproute2)")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	to, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer to.Close()
	from, err := listener.Accept()
	require.NoError(t, err)
	defer from.Close()
	ports := []int{listener.Addr().(*net.TCPAddr).Port}
	before, err := sentAt(t.Context(), ports)
	require.NoError(t, err)
	require.Len(t, before, 2)
	_, err = to.Write(make([]byte, 12_345))
	require.NoError(t, err)
	_, err = io.ReadFull(from, make([]byte, 12_345))
	require.NoError(t, err)
	_, err = from.Write(make([]byte, 55))
	require.NoError(t, err)
	after, err := sentAt(t.Context(), ports)
	require.NoError(t, err)
	require.EqualValues(t, 12_400, after.since(before))
}
