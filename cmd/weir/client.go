package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/config"
)

const (
	// requestLimit bounds a connect, and the wait for an answer.
	requestLimit = 10 * time.Second
	// answerMax bounds an answer in bytes: the metadata of a million partitions have about a hundred.
	answerMax = 256 << 20
)

// client is a connection to a broker, for what an administrator asks: one request at a time.
type client struct {
	conn   net.Conn
	format *kmsg.RequestFormatter
	last   int32 // correlation id
}

// dial connects to the first of the brokers that answers; they are host:port,...
func dial(bootstrap string) (*client, error) {
	var faults []error
	for _, address := range config.SplitList(bootstrap) {
		conn, err := net.DialTimeout("tcp", address, requestLimit)
		if err == nil {
			return &client{conn: conn, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("weir"))}, nil
		}
		faults = append(faults, err)
	}
	if len(faults) == 0 {
		return nil, errors.New("--bootstrap-server: host:port of a broker is needed")
	}
	return nil, fmt.Errorf("no broker answers; name one that runs by --bootstrap-server: %w", errors.Join(faults...))
}

// ask connects to one of the brokers, sends one request, and returns the answer, which is of its kind.
func ask[R kmsg.Response](bootstrap string, r kmsg.Request) (response R, err error) {
	response = r.ResponseKind().(R)
	c, err := dial(bootstrap)
	if err != nil {
		return response, err
	}
	defer c.close()
	return response, c.ask(r, response)
}

func (c *client) close() { _ = c.conn.Close() }

// ask sends a request, whose version is set, and decodes the answer into response.
func (c *client) ask(r kmsg.Request, response kmsg.Response) error {
	c.last++
	if err := c.conn.SetDeadline(time.Now().Add(requestLimit)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.format.AppendRequest(nil, r, c.last)); err != nil {
		return err
	}
	body, err := c.read()
	if err != nil {
		return fmt.Errorf("%s: %w", kmsg.NameForKey(r.Key()), err)
	}
	response.SetVersion(r.GetVersion())
	return response.ReadFrom(body[min(headerBytes(response), len(body)):])
}

// headerBytes is what comes before the fields of an answer: the correlation id, and the empty tags of a flexible version.
func headerBytes(r kmsg.Response) int {
	if r.IsFlexible() {
		return 5
	}
	return 4
}

func (c *client) read() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > answerMax {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return nil, err
	}
	if int32(binary.BigEndian.Uint32(body)) != c.last {
		return nil, errors.New("the answer is to another request")
	}
	return body, nil
}

// refusedBy is a broker's refusal, for people; nil: it did what was asked.
func refusedBy(code int16, message *string) error {
	switch {
	case code == 0:
		return nil
	case message == nil || *message == "":
		return fmt.Errorf("the broker answered with error %d", code)
	}
	return errors.New(*message)
}
