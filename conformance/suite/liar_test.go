package suite_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// liar is a proxy that changes answers on their way.
type liar struct {
	listener net.Listener
	target   string
	lie      func(kmsg.Response)
}

// newLiar returns the address of a proxy of a broker.
func newLiar(t *testing.T, target string, lie func(kmsg.Response)) string {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &liar{listener, target, lie}
	go l.accept()
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

func (l *liar) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.serve(conn)
	}
}

// serve passes one request at a time, until either side closes.
func (l *liar) serve(client net.Conn) {
	defer client.Close()
	broker, err := (&net.Dialer{}).Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer broker.Close()
	for {
		request, err := readFrame(client)
		if err != nil {
			return
		}
		if _, err := broker.Write(frameOf(request)); err != nil {
			return
		}
		answer, err := readFrame(broker)
		if err != nil {
			return
		}
		if _, err := client.Write(frameOf(l.changed(request, answer))); err != nil {
			return
		}
	}
}

func (l *liar) changed(request, answer []byte) []byte {
	key, version := int16(binary.BigEndian.Uint16(request)), int16(binary.BigEndian.Uint16(request[2:]))
	r := kmsg.ResponseForKey(key)
	r.SetVersion(version)
	head := 4
	if r.IsFlexible() && key != 18 {
		head = 5
	}
	if r.ReadFrom(answer[head:]) != nil {
		return answer
	}
	l.lie(r)
	return r.AppendTo(answer[:head:head])
}

func frameOf(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}
