package metadata

import "encoding/binary"

// coder walks the fields of a value in one order for both directions: it appends
// them, or takes them off. After a failure everything it takes off is zero. What is
// encoded is not written to: others may read it meanwhile.
type coder struct {
	b        []byte // what was appended, or what is left
	decoding bool
	failed   bool
	version  uint8 // of the record or snapshot
}

func (c *coder) fail() { c.failed, c.b = true, nil }

func natural[T ~uint8 | ~uint32 | ~uint64](c *coder, v *T) {
	if !c.decoding {
		c.b = binary.AppendUvarint(c.b, uint64(*v))
		return
	}
	x, n := binary.Uvarint(c.b)
	*v = T(x)
	c.took(n, uint64(*v) == x)
	if c.failed {
		*v = 0
	}
}

func integer[T ~int16 | ~int32 | ~int64](c *coder, v *T) {
	if !c.decoding {
		c.b = binary.AppendVarint(c.b, int64(*v))
		return
	}
	x, n := binary.Varint(c.b)
	*v = T(x)
	c.took(n, int64(*v) == x)
	if c.failed {
		*v = 0
	}
}

// relative is an integer as its difference to what is expected, which both directions know.
func relative(c *coder, v *int64, expected int64) {
	difference := *v - expected
	integer(c, &difference)
	if c.decoding {
		*v = expected + difference
	}
}

func (c *coder) took(n int, fits bool) {
	if n <= 0 || !fits {
		c.fail()
		return
	}
	c.b = c.b[n:]
}

func (c *coder) flag(v *bool) {
	x := uint8(0)
	if *v {
		x = 1
	}
	natural(c, &x)
	if !c.decoding {
		return
	}
	if x > 1 {
		c.fail()
	}
	*v = x == 1 && !c.failed
}

// id is sixteen bytes as they are.
func (c *coder) id(v *[16]byte) {
	switch {
	case !c.decoding:
		c.b = append(c.b, v[:]...)
	case len(c.b) < len(v):
		c.fail()
	default:
		c.b = c.b[copy(v[:], c.b):]
	}
}

func (c *coder) text(v *string) {
	if !c.decoding {
		c.b = binary.AppendUvarint(c.b, uint64(len(*v)))
		c.b = append(c.b, *v...)
		return
	}
	*v = string(c.run())
}

// bytes are lent from the input when decoding.
func (c *coder) bytes(v *[]byte) {
	if !c.decoding {
		c.b = binary.AppendUvarint(c.b, uint64(len(*v)))
		c.b = append(c.b, *v...)
		return
	}
	*v = c.run()
}

func (c *coder) run() []byte {
	n := uint64(0)
	natural(c, &n)
	if n > uint64(len(c.b)) {
		c.fail()
	}
	if n == 0 || c.failed {
		return nil
	}
	run := c.b[:n:n]
	c.b = c.b[n:]
	return run
}

// list walks a count and that many elements, each of at least least bytes.
func list[T any](c *coder, v *[]T, least int, each func(*coder, *T)) {
	n := uint64(len(*v))
	natural(c, &n)
	if c.decoding {
		*v = nil
		if n > uint64(len(c.b)/least) {
			c.fail()
		}
		if n == 0 || c.failed {
			return
		}
		*v = make([]T, n)
	}
	for i := range *v {
		each(c, &(*v)[i])
	}
}

// Fields of what both records and snapshots hold, and the least bytes of each.
const (
	commitPartBytesMin = 9
	leaderBytesMin     = 2
	rangeEndBytesMin   = 3
	configBytesMin     = 2
	endpointBytesMin   = 3
	featureBytesMin    = 2
	partBytesMin       = 8
	rangeBytesMin      = 6
	sealBytesMin       = rangeEndBytesMin + leaderBytesMin + 1

	newObjectBytesMin   = 2
	replacementBytesMin = 3
	sourceBytesMin      = 3

	movedCheckpointBytesMin = 5
)

func (f *Feature) fields(c *coder) {
	c.text(&f.Name)
	integer(c, &f.Level)
}

func (e *Endpoint) fields(c *coder) {
	c.text(&e.Listener)
	c.text(&e.Host)
	integer(c, &e.Port)
}

func (o *Config) fields(c *coder) {
	c.text(&o.Key)
	c.text(&o.Value)
}

// fields leave the object to the caller; the end is relative to the start.
func (p *Part) fields(c *coder) {
	length := p.End - p.Start
	integer(c, &p.Start)
	integer(c, &length)
	if c.decoding {
		p.End = p.Start + length
	}
	integer(c, &p.LeaderEpoch)
	integer(c, &p.MaxTimestamp)
	integer(c, &p.Bytes)
	integer(c, &p.IndexOffset)
	integer(c, &p.IndexBytes)
}

// partWithObject walks a part with its object.
func partWithObject(c *coder, p *Part) {
	natural(c, &p.Object)
	p.fields(c)
}

func (r *Range) fields(c *coder) {
	integer(c, &r.LeaderEpoch)
	integer(c, &r.Broker)
	integer(c, &r.BrokerEpoch)
	integer(c, &r.Start)
	integer(c, &r.Committed)
	integer(c, &r.End)
}

func fieldsOf[T any, P interface {
	*T
	fields(*coder)
}](c *coder, v *T) {
	P(v).fields(c)
}
