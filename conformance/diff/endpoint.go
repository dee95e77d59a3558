package diff

import (
	"context"
	"maps"
	"time"

	"weir/conformance/rawconn"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const answerLimit = 8 * time.Second

// endpoint is one broker and what one worker knows of it. It is used by one goroutine.
type endpoint struct {
	address string
	conn    *rawconn.Conn
	words   map[string]string   // member ids
	vars    map[string]int64    // what earlier answers of the case gave: session and producer ids
	ids     map[string][16]byte // topic ids by name
	names   map[[16]byte]string
	home    int32     // the broker, where the cluster has several; or single
	shared  *endpoint // knows the topics that cases share
}

// newEndpoint returns an endpoint that is not connected yet. It knows the topics of shared, if that is not nil.
func newEndpoint(address string, shared *endpoint) *endpoint {
	e := &endpoint{address: address, home: single, shared: shared}
	if shared != nil {
		e.home = shared.home
	}
	e.reset()
	return e
}

// reset forgets what belonged to a case.
func (e *endpoint) reset() {
	e.words, e.vars, e.ids, e.names = map[string]string{}, map[string]int64{}, map[string][16]byte{}, map[[16]byte]string{}
	if e.shared != nil {
		maps.Copy(e.ids, e.shared.ids)
		maps.Copy(e.names, e.shared.names)
	}
}

// id is the topic id of a topic of the case; zero if it is not known.
func (e *endpoint) id(name string) [16]byte { return e.ids[name] }

func (e *endpoint) close() {
	if e.conn != nil {
		e.conn.Close()
		e.conn = nil
	}
}

// send writes a request; raw, if it is there, changes the bytes of the frame before they are sent.
func (e *endpoint) send(r kmsg.Request, raw func([]byte) []byte) error {
	if e.conn == nil {
		conn, err := rawconn.Dial(context.Background(), rawconn.Options{Address: e.address, Limit: answerLimit, ClientID: "weir-diff"})
		if err != nil {
			return err
		}
		e.conn = conn
	}
	err := e.conn.Send(r, raw)
	if err != nil {
		e.close()
	}
	return err
}

// receive reads the answer to a request. After an error the next request opens another connection.
func (e *endpoint) receive(r kmsg.Request) (kmsg.Response, error) {
	answer, err := e.conn.Receive(r)
	if err != nil {
		e.close()
	}
	return answer, err
}

// call sends a request and reads its answer. Produce with acks=0 has none: then a second request says whether the
// connection still lives.
func (e *endpoint) call(r kmsg.Request, raw func([]byte) []byte) (kmsg.Response, error) {
	if err := e.send(r, raw); err != nil {
		return nil, err
	}
	if p, ok := r.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		probe := kmsg.NewPtrApiVersionsRequest()
		if err := e.send(probe, nil); err != nil {
			return nil, err
		}
		if _, err := e.receive(probe); err != nil {
			return nil, err
		}
		return nil, nil
	}
	answer, err := e.receive(r)
	if err == nil {
		err = e.placeMade(answer)
	}
	return answer, err
}
