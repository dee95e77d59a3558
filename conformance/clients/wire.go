package clients

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	wireLimit    = 10 * time.Second
	wireBytesMax = 1 << 20
)

// wire is a bare connection, for what no client library would send. Requests and
// answers are of versions without tagged header fields.
type wire struct {
	net.Conn
	formatter *kmsg.RequestFormatter
	sent      int32 // correlation of the last request
}

func (b *Bait) dial(ctx context.Context) (*wire, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", b.Endpoint.Brokers()[0])
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(wireLimit)); err != nil {
		conn.Close()
		return nil, err
	}
	return &wire{Conn: conn, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID("weir-conformance"))}, nil
}

func (w *wire) send(request kmsg.Request) error {
	w.sent++
	_, err := w.Write(w.formatter.AppendRequest(nil, request, w.sent))
	return err
}

// receive reads the answer to the last request.
func (w *wire) receive(response kmsg.Response) error {
	head := make([]byte, 8)
	if _, err := io.ReadFull(w, head); err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	size, correlation := binary.BigEndian.Uint32(head), int32(binary.BigEndian.Uint32(head[4:]))
	if size < 4 || size > wireBytesMax || correlation != w.sent {
		return fmt.Errorf("an answer of %d bytes to request %d, not to %d", size, correlation, w.sent)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(w, body); err != nil {
		return err
	}
	return response.ReadFrom(body)
}

// produceVersion has topic names and no tagged fields.
const produceVersion = 8

func (w *wire) produce(request *kmsg.ProduceRequest) (offset int64, code int16, err error) {
	if err := w.send(request); err != nil {
		return 0, 0, err
	}
	response := kmsg.NewPtrProduceResponse()
	response.SetVersion(request.GetVersion())
	if err := w.receive(response); err != nil {
		return 0, 0, err
	}
	return produced(response)
}
