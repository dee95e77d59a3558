package rawconn

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// authenticate runs the handshake of KIP-152: the mechanism's messages travel in SaslAuthenticate requests.
func (c *Conn) authenticate(ctx context.Context, o Options) error {
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Version, hello.Mechanism = 1, o.SASL.Name()
	accepted, err := hello.RequestWith(ctx, requestor{c})
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(accepted.ErrorCode); err != nil {
		return err
	}
	session, message, err := o.SASL.Authenticate(ctx, o.Address)
	for err == nil {
		var answer *kmsg.SASLAuthenticateResponse
		if answer, err = c.challenge(ctx, message); err != nil {
			break
		}
		var done bool
		if done, message, err = session.Challenge(answer.SASLAuthBytes); done {
			break
		}
	}
	return err
}

func (c *Conn) challenge(ctx context.Context, message []byte) (*kmsg.SASLAuthenticateResponse, error) {
	r := kmsg.NewPtrSASLAuthenticateRequest()
	r.Version, r.SASLAuthBytes = 1, message
	answer, err := r.RequestWith(ctx, requestor{c})
	if err != nil {
		return nil, err
	}
	return answer, kerr.ErrorForCode(answer.ErrorCode)
}

// requestor lets kmsg give an answer its type.
type requestor struct{ c *Conn }

func (q requestor) Request(_ context.Context, r kmsg.Request) (kmsg.Response, error) {
	if err := q.c.Send(r, nil); err != nil {
		return nil, err
	}
	return q.c.Receive(r)
}
