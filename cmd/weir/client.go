package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	dialTimeout   = 5 * time.Second
	answerTimeout = 30 * time.Second
	answerMax     = 64 << 20 // bytes
	clientName    = "weir"
)

// ask sends one flexible request to the first of the bootstrap servers that can be reached (host:port,...), and reads the answer into
// the response of its kind.
func ask[R kmsg.Response](servers string, r kmsg.Request) (out R, err error) {
	out = r.ResponseKind().(R)
	conn, err := dialAny(servers)
	if err != nil {
		return out, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return out, err
	}
	if _, err := conn.Write(frameOf(r)); err != nil {
		return out, err
	}
	body, err := readAnswer(conn)
	if err == nil {
		err = out.ReadFrom(body)
	}
	if err != nil {
		return out, fmt.Errorf("%s did not answer, or is no weir of this release or a later one: %w", conn.RemoteAddr(), err)
	}
	return out, nil
}

func dialAny(servers string) (net.Conn, error) {
	var failures []error
	for _, server := range strings.Split(servers, ",") {
		conn, err := net.DialTimeout("tcp", strings.TrimSpace(server), dialTimeout)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, fmt.Errorf("no bootstrap server can be reached: %w", errors.Join(failures...))
}

// frameOf is a request with its header of version 2.
func frameOf(r kmsg.Request) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(r.Key()))
	b = binary.BigEndian.AppendUint16(b, uint16(r.GetVersion()))
	b = binary.BigEndian.AppendUint32(b, 1)
	b = kbin.AppendUvarint(kbin.AppendNullableString(b, kmsg.StringPtr(clientName)), 0)
	b = r.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// readAnswer reads a response, and takes its header of version 1 off.
func readAnswer(from io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 5 || n > answerMax {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(from, body); err != nil {
		return nil, err
	}
	return body[5:], nil // the correlation id, and no tags
}
