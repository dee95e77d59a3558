package envtest

import "errors"

// strictCodec admits frames of up to 8 bytes.
type strictCodec struct{ networkCodec }

// Admit implements env.Codec.
func (strictCodec) Admit(size int, _ []byte) error {
	if size > 8 {
		return errNetworkAdmit
	}
	return nil
}

func (n *network) testSetCodec() {
	strict, atStrict := n.dial()
	raised, atRaised := n.dial()
	n.Network.SetCodec(atStrict.id, strictCodec{})
	n.Network.SetCodec(atRaised.id, strictCodec{})
	n.Network.SetCodec(atRaised.id, networkCodec{})
	n.Network.SetCodec(1<<40, strictCodec{})
	strict.Send(networkBody(100, 1))
	raised.Send(networkBody(100, 2))
	n.until("the end of the limited connection", func() bool { return atStrict.closed })
	n.until("a frame within the raised limit", func() bool { return len(atRaised.frames) == 1 })
	if !errors.Is(atStrict.reason, errNetworkAdmit) || len(atStrict.frames) != 0 {
		n.Fatalf("closed because of %v after %d frames", atStrict.reason, len(atStrict.frames))
	}
}
