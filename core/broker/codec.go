package broker

import (
	"encoding/binary"
	"errors"
	"fmt"

	"weir/core/env"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// headerBytesMin is a header without a client id.
	headerBytesMin = 10
	// clientIDBytesMax is how much of a client id is kept for each connection; the rest is ignored.
	clientIDBytesMax = 1 << 10
)

// Errors that close a connection before its frame is read.
var (
	ErrFrameSize  = errors.New("frame size is out of bounds")
	ErrUnknownKey = errors.New("API key is not served here")
)

// Codec decodes requests. It is a value without state, for any number of
// listeners.
type Codec struct {
	// ProduceBytesMax is the largest Produce request (socket.request.max.bytes).
	ProduceBytesMax int
}

var _ env.HeavyCodec = (*Codec)(nil)

// Admit implements env.Codec: a frame is let in if its key is served and its size
// within the key's limit. Versions are checked later, since ApiVersions must answer
// any.
func (c *Codec) Admit(size int, head []byte) error {
	if size < headerBytesMin || len(head) < 4 {
		return fmt.Errorf("%w: %d bytes", ErrFrameSize, size)
	}
	a := wire.FindAPI(int16(binary.BigEndian.Uint16(head)))
	if a == nil {
		return fmt.Errorf("%w: %d", ErrUnknownKey, int16(binary.BigEndian.Uint16(head)))
	}
	limit := a.BytesMax
	if a.Key == produceKey {
		limit = c.ProduceBytesMax
	}
	if size > limit {
		return fmt.Errorf("%w: %d bytes for API key %d, the limit is %d", ErrFrameSize, size, a.Key, limit)
	}
	return nil
}

// Heavy implements env.HeavyCodec: the batches of Produce are decompressed, with up to 32 MiB for each request.
func (c *Codec) Heavy(head []byte) bool {
	return len(head) >= 2 && binary.BigEndian.Uint16(head) == produceKey
}

// Decode implements env.Codec. Its message is always a *Request; one that cannot
// be served says why, so that the answers before it still go out.
func (c *Codec) Decode(frame []byte) (any, error) {
	r := &Request{}
	body, err := r.decodeHeader(frame)
	if err == nil {
		err = r.decodeBody(body)
	}
	r.fault = err
	return r, nil
}

// decodeHeader reads request header v1, or v2 with tags, and finds the API.
func (r *Request) decodeHeader(frame []byte) (body []byte, err error) {
	in := kbin.Reader{Src: frame}
	r.Key, r.Version, r.CorrelationID = in.Int16(), in.Int16(), in.Int32()
	r.sentClientID = wire.ReadNullableString(&in, false) // never compact
	if r.api = wire.FindAPI(r.Key); r.api == nil {
		return nil, fmt.Errorf("%w: %d", ErrUnknownKey, r.Key)
	}
	r.sentClientID = r.sentClientID[:min(len(r.sentClientID), clientIDBytesMax)]
	wire.SkipTags(&in, r.api.Schema.IsFlexible(r.Version))
	if !in.Ok() {
		return nil, fmt.Errorf("%w: the header is cut off", wire.ErrMalformed)
	}
	return in.Src, nil
}

// decodedAgain is the body of a request that was decoded before; nil if that fails, which it cannot.
func (r *Request) decodedAgain() any {
	again := &Request{}
	if body, err := again.decodeHeader(r.frame.Data); err != nil || again.decodeBody(body) != nil {
		return nil
	}
	return again.Body
}

func (r *Request) decodeBody(body []byte) error {
	a := r.api
	if r.Version < a.Min || r.Version > a.Max {
		if a.Key == apiVersionsKey {
			r.Body = (*kmsg.ApiVersionsRequest)(nil) // answered in version 0
			return nil
		}
		return fmt.Errorf("version %d of API key %d is not supported", r.Version, r.Key)
	}
	var err error
	r.Body, err = decoderOf(a.Key)(a, r.Version, body)
	return err
}

// decodeMessage returns a decoder of one kmsg request: it checks the body's
// shape, and lets kmsg decode what passed.
func decodeMessage[M any, P interface {
	*M
	kmsg.Request
}](a *wire.API, version int16, body []byte) (any, error) {
	if err := a.Schema.Check(version, body); err != nil {
		return nil, err
	}
	message := P(new(M))
	message.SetVersion(version)
	if err := message.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: %v", wire.ErrMalformed, err)
	}
	return message, nil
}

func decodeProduceBody(_ *wire.API, version int16, body []byte) (any, error) {
	return decodeProduce(version, body)
}
