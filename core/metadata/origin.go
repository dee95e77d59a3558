package metadata

import "fmt"

// Origin names a proposal of a node that does not lead the quorum: it travels with the record through the log, so that the node
// finds its own proposal again when it applies it, whoever led meanwhile.
type Origin struct {
	Node   BrokerID
	Nonce  uint64 // of the node's incarnation
	Number uint64 // of the proposal
}

// typeOrigin is the first byte of a record with an origin; no type of record has this number.
const (
	typeOrigin    = 0xf0
	originVersion = 1
)

// AppendTo appends the origin, and the record behind it, encoded.
func (o *Origin) AppendTo(dst, record []byte) []byte {
	c := coder{b: append(dst, typeOrigin, originVersion), version: originVersion}
	o.fields(&c)
	return append(c.b, record...)
}

// SplitOrigin splits an entry of the log into its origin, if it has one, and the record. The error is an ErrRecord.
func SplitOrigin(b []byte) (o Origin, has bool, record []byte, err error) {
	if len(b) < 2 || b[0] != typeOrigin {
		return o, false, b, nil
	}
	if b[1] != originVersion {
		return o, false, nil, fmt.Errorf("%w: version %d of an origin is not known: a newer release wrote it", ErrRecord, b[1])
	}
	c := coder{b: b[2:], decoding: true, version: originVersion}
	if o.fields(&c); c.failed {
		return o, false, nil, fmt.Errorf("%w: its origin ends short", ErrRecord)
	}
	return o, true, c.b, nil
}

func (o *Origin) fields(c *coder) {
	integer(c, &o.Node)
	natural(c, &o.Nonce)
	natural(c, &o.Number)
}
