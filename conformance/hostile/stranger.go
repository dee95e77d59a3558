package hostile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// strangerAddress is where strangers come from, so that limits for each address
// tell them from the citizen. Of loopback, Linux takes every address.
const strangerAddress = "127.0.0.2"

// Stranger is a bare connection.
type Stranger struct {
	*net.TCPConn
	formatter *kmsg.RequestFormatter
	sent      int32
}

// Dial connects from the strangers' address.
func Dial(address string) (*Stranger, error) { return DialFrom(strangerAddress, address) }

// DialFrom connects from an address of loopback.
func DialFrom(from, address string) (*Stranger, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Stranger{TCPConn: conn.(*net.TCPConn), formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID("stranger"))}, nil
}

// Frame is a request as it goes over the wire.
func (s *Stranger) Frame(request kmsg.Request) []byte {
	s.sent++
	return s.formatter.AppendRequest(nil, request, s.sent)
}

// Ask sends a request and reads its answer.
func (s *Stranger) Ask(request kmsg.Request, limit time.Duration) (kmsg.Response, error) {
	if err := s.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if _, err := s.Write(s.Frame(request)); err != nil {
		return nil, err
	}
	body, err := s.Answer()
	if err != nil {
		return nil, err
	}
	response := request.ResponseKind()
	if response.IsFlexible() && response.Key() != 18 {
		body = body[1:] // a header without tags
	}
	return response, response.ReadFrom(body)
}

// Answer reads one answer, without length and correlation id.
func (s *Stranger) Answer() ([]byte, error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(s, head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size < 4 || size > 1<<30 {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	body := make([]byte, size-4)
	_, err := io.ReadFull(s, body)
	return body, err
}

// Gone waits until the broker has closed the connection.
func (s *Stranger) Gone(limit time.Duration) error {
	if err := s.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, s)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the connection is open after %v", limit)
	}
	return nil
}

// sized is a length and the start of what should follow.
func sized(size uint32, start ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, size), start...)
}

// header is the start of a request: key, version, correlation and no client id.
func header(key, version int16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	return append(b, 0, 0, 0, 1, 0xff, 0xff)
}
