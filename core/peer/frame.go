package peer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind says what a message is. The kinds of a mesh's callers begin at KindMin.
type Kind uint8

const (
	kindHello Kind = iota + 1
	kindAnswer
	kindProof
	kindReady

	// KindMin is the lowest kind that is not the mesh's own.
	KindMin Kind = 16
)

// Versions of messages that this program speaks.
const (
	versionMin = 1
	versionMax = 1
)

const (
	magic          = 0x5245455072696577 // "weirPEER", read as little-endian
	helloBytes     = 1 + 8 + 2 + 2 + 4 + 16 + 4 + 16 + 16
	proofBytes     = sha256.Size
	handshakeBytes = 128 // that a frame may have before the peer has proved who it is

	ends = "weir peer"
)

var order = binary.LittleEndian

var errMalformed = errors.New("a frame of the handshake is malformed")

// hello is how a node introduces itself.
type hello struct {
	versionMin, versionMax uint16
	cluster                [16]byte
	node                   int32
	incarnation            [16]byte
	nonce                  [16]byte
}

func (h *hello) append(kind Kind, dst []byte) []byte {
	dst = append(dst, byte(kind))
	dst = order.AppendUint64(dst, magic)
	dst = order.AppendUint16(dst, h.versionMin)
	dst = order.AppendUint16(dst, h.versionMax)
	dst = order.AppendUint32(dst, 0)
	dst = append(dst, h.cluster[:]...)
	dst = order.AppendUint32(dst, uint32(h.node))
	dst = append(dst, h.incarnation[:]...)
	return append(dst, h.nonce[:]...)
}

func decodeHello(b []byte) (h hello, err error) {
	if len(b) < helloBytes || order.Uint64(b[1:]) != magic {
		return h, errMalformed
	}
	h = hello{
		versionMin: order.Uint16(b[9:]), versionMax: order.Uint16(b[11:]), cluster: [16]byte(b[17:33]),
		node: int32(order.Uint32(b[33:])), incarnation: [16]byte(b[37:53]), nonce: [16]byte(b[53:69]),
	}
	if h.node < 0 || h.versionMin > h.versionMax {
		return h, errMalformed
	}
	return h, nil
}

// prove is the proof of one end, over what both said.
func prove(secret []byte, dialed bool, dialer, acceptor *hello) []byte {
	mac := hmac.New(sha256.New, secret)
	end := byte(1)
	if dialed {
		end = 0
	}
	mac.Write(append([]byte(ends), end))
	mac.Write(dialer.append(kindHello, nil))
	mac.Write(acceptor.append(kindHello, nil))
	return mac.Sum(nil)
}

// frame is what is sent: the kind, and what fills the rest.
type frame struct {
	kind Kind
	body Body
}

// Body encodes itself off the loop.
type Body interface {
	// AppendTo appends the encoded message.
	AppendTo(dst []byte) []byte
}

// Encode implements env.Outgoing.
func (f *frame) Encode(scratch []byte) [][]byte {
	return [][]byte{f.body.AppendTo(append(scratch, byte(f.kind)))}
}

// raw is a frame of the mesh's own.
type raw []byte

func (r raw) Encode([]byte) [][]byte { return [][]byte{r} }

// shaking takes the frames of a handshake.
type shaking struct{}

func (shaking) Admit(size int, _ []byte) error {
	if size < 1 || size > handshakeBytes {
		return fmt.Errorf("a frame of %d bytes before the peer has said who it is; is this the port of a Kafka listener?", size)
	}
	return nil
}

func (shaking) Decode(b []byte) (any, error) { return append([]byte(nil), b...), nil }

// message is a decoded frame of a peer's.
type message struct {
	kind  Kind
	value any
}

// proved takes the frames of a peer.
type proved struct {
	bytesMax int
	decode   func(kind Kind, body []byte) (any, error)
}

func (c *proved) Admit(size int, head []byte) error {
	if size < 1 || size > c.bytesMax || len(head) > 0 && Kind(head[0]) < kindReady {
		return fmt.Errorf("a frame of %d bytes of a peer", size)
	}
	return nil
}

func (c *proved) Decode(b []byte) (any, error) {
	if Kind(b[0]) < KindMin {
		return append([]byte(nil), b...), nil
	}
	value, err := c.decode(Kind(b[0]), b[1:])
	if err != nil {
		return nil, fmt.Errorf("a message of kind %d: %w", b[0], err)
	}
	return message{Kind(b[0]), value}, nil
}
