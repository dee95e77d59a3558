package env

import "time"

// ConnID names a connection within one incarnation; never reused.
type ConnID uint64

// Network accepts and opens connections and carries frames: a 4-byte big-endian length,
// then that many bytes, as in Kafka's protocol. Frames of one connection are
// delivered in order; sends on one connection are written in the order of
// submission.
//
// The world keeps one byte budget for all frames: it reserves a frame's size
// before it reads the body (and stops reading sockets while there is none), and
// returns it at Release. It closes connections that are idle, that exceed the
// connection limits, whose frame Admit refuses, or that do not deliver an
// announced frame in time.
type Network interface {
	Listen(*Listen)
	// Dial opens a connection to a broker. Both ends are equal from then on: either sends
	// frames, is muted and closed by the methods below. Connections that were dialed do
	// not count against the limits of those that are accepted.
	Dial(*Dial)
	// Release gives a received frame's memory and budget back. Once per frame,
	// on the loop.
	Release(*Frame)
	Send(*Send)
	// Mute stops reading from the connection until Unmute. Frames already read
	// may still be delivered.
	Mute(ConnID)
	Unmute(ConnID)
	// SetCodec gives the connection another codec, and so other limits: frames whose
	// reading begins later are admitted and decoded by it. Mute the connection, or let
	// the peer wait for an answer, to know which frames those are.
	SetCodec(ConnID, Codec)
	// Close closes a connection after what was sent before has been written (or
	// at once, with abort). Closed is delivered in any case.
	Close(id ConnID, abort bool)
	// StopListening refuses new connections on every listener; open ones stay.
	StopListening()
	// LimitConnections changes how many connections are accepted, in all and from one
	// address; 0 is no bound. Open ones stay.
	LimitConnections(total, perIP int)
}

// Listen opens a listener and binds its connections to a handler and a codec.
type Listen struct {
	Name    string // listener name, e.g. PLAINTEXT
	Address string // host:port; port 0 picks a free one
	Handler ConnHandler
	Codec   Codec // what connections begin with; see Network.SetCodec
	// Secure asks for TLS on which both ends prove by a certificate who they are. A connection that fails to is not opened.
	Secure bool

	Bound string // the address really bound
	Err   error  // ErrAddrInUse
	Done  func(*Listen)
}

func (o *Listen) Deliver() { o.Done(o) }

// Dial opens a connection and binds it to a handler and a codec. On success the handler's
// Opened comes right before Done; on failure the handler hears nothing.
type Dial struct {
	Address string // host:port
	Handler ConnHandler
	Codec   Codec // what the connection begins with; see Network.SetCodec
	// Secure is that of the listener there.
	Secure bool
	// Timeout bounds the wait for the connection; 0 is 10 s
	// (socket.connection.setup.timeout.ms).
	Timeout time.Duration

	Conn ConnID // of the connection
	Err  error
	Done func(*Dial)
}

func (o *Dial) Deliver() { o.Done(o) }

// ConnHandler receives the events of a listener's connections, or of one that was dialed,
// on the loop. Opened comes first and Closed last, each exactly once; nothing follows
// Closed.
type ConnHandler interface {
	Opened(id ConnID, info ConnInfo)
	// Received delivers one decoded frame. The handler owns the frame until it
	// releases it; message may point into it.
	Received(id ConnID, message any, frame *Frame)
	Closed(id ConnID, reason error)
}

// ConnInfo describes a connection.
type ConnInfo struct {
	Listener string // empty if this end dialed
	Remote   string // host:port of the peer
	// Principal is who the transport authenticated the peer as, in Kafka's form
	// ("User:name"). Empty is User:ANONYMOUS: today's listeners authenticate nobody.
	Principal string
	// Certificate is the distinguished name in the certificate that the peer presented;
	// empty without mutual TLS.
	Certificate string
}

// Frame is a received frame without its length prefix, and its reservation.
type Frame struct {
	Data []byte
	// World is the world's own bookkeeping.
	World any
}

// Codec decodes frames off the loop. Its methods are pure, keep nothing, and
// are called from many goroutines at once.
type Codec interface {
	// Admit accepts or refuses a frame by its size and up to the first 8 bytes of its body
	// before anything is reserved. An error closes the connection.
	Admit(size int, head []byte) error
	// Decode returns the message handed to ConnHandler.Received. It may point
	// into the frame. Malformed input yields a message that says so (so that
	// the core can answer), or an error, which closes the connection.
	Decode(frame []byte) (any, error)
}

// HeavyCodec is a Codec whose frames may take memory while they are decoded that nothing has reserved: a decompressor's
// window. A world that decodes on many goroutines decodes few such frames at once.
type HeavyCodec interface {
	Codec
	// Heavy reports whether a frame is one, by the first bytes that Admit gets.
	Heavy(head []byte) bool
}

// Send writes one frame: the length prefix is the world's. It completes when
// the bytes were handed to the kernel or the connection is gone; until then
// whatever Encode returned stays lent.
type Send struct {
	Conn    ConnID
	Message Outgoing

	Err  error       // ErrConnGone
	Done func(*Send) // may be nil: then no completion is delivered
}

func (o *Send) Deliver() { o.Done(o) }

// Outgoing encodes itself off the loop.
type Outgoing interface {
	// Encode returns the frame's body as slices to write in order, the first
	// built by appending to scratch (which has length 0). It may return slices
	// of slabs that the Send keeps alive.
	Encode(scratch []byte) [][]byte
}
