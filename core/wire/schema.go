package wire

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kbin"
)

// UnknownTagsMax bounds the tags of one request that its schema does not name.
// Real clients send none or one; each costs a map entry once it is decoded.
const UnknownTagsMax = 64

// StringBytesMax bounds every string of a request, as in Kafka. Compact lengths could say more, but records and old answers
// repeat some strings with a length of 16 bits: a longer one would make them unreadable.
const StringBytesMax = math.MaxInt16

// kind is the wire type of a field; for those of fixed width it is the width.
type kind uint8

const (
	int8Kind     kind = 1
	int16Kind    kind = 2
	int32Kind    kind = 4
	int64Kind    kind = 8
	uuidKind     kind = 16
	stringKind   kind = 100 // may not be null
	nullableKind kind = 101 // a string or null
	arrayKind    kind = 102 // of elements that have fields
	optionalKind kind = 103 // a struct behind an int8 that is -1 if it is not there
	bytesKind    kind = 105 // may not be null
	tagKind      kind = 104 // the value of a tag
)

// wireField is one field of a request. Versions are inclusive.
type wireField struct {
	kind   kind
	since  int16
	until  int16 // 0: no end
	fields []wireField
	bare   bool // an array whose elements are no structs: they have no tags
	tagged tags // of an element of an array
}

// tags are the tags that a struct may have. Kafka closes the connection of a client that sends one in a version that does
// not have it yet; a tag that is in no version is skipped.
type tags map[uint32]wireField

// value is a tag that holds one plain field, from a version on.
func value(of wireField, since int16) wireField {
	return wireField{kind: tagKind, fields: []wireField{of}, since: since, bare: true}
}

// record is a tag that holds a struct, from a version on.
func record(since int16, fields ...wireField) wireField {
	return wireField{kind: tagKind, fields: fields, since: since}
}

func (f wireField) from(version int16) wireField { f.since = version; return f }
func (f wireField) upTo(version int16) wireField { f.until = version; return f }
func (f wireField) with(t tags) wireField        { f.tagged = t; return f }

func (f *wireField) in(version int16) bool {
	return version >= f.since && (f.until == 0 || version <= f.until)
}

// Shorthands of the table of schemas.
var (
	wireBool     = wireField{kind: int8Kind}
	wireInt8     = wireField{kind: int8Kind}
	wireInt16    = wireField{kind: int16Kind}
	wireInt32    = wireField{kind: int32Kind}
	wireInt64    = wireField{kind: int64Kind}
	wireUUID     = wireField{kind: uuidKind}
	wireString   = wireField{kind: stringKind}
	wireNullable = wireField{kind: nullableKind}
	wireBytes    = wireField{kind: bytesKind}
)

// structs is an array of structs; its tags follow each.
func structs(fields ...wireField) wireField { return wireField{kind: arrayKind, fields: fields} }

// list is an array of one plain type.
func list(of wireField) wireField {
	return wireField{kind: arrayKind, fields: []wireField{of}, bare: true}
}

// optional is a struct that may be null.
func optional(fields ...wireField) wireField { return wireField{kind: optionalKind, fields: fields} }

// Schema is the shape of a request's body. Flexible is the first version with
// compact lengths and tags; negative: none.
type Schema struct {
	flexible int16
	fields   []wireField
	tagged   tags // of the body
}

// IsFlexible reports whether the version has compact lengths and tags.
func (s *Schema) IsFlexible(version int16) bool { return s.flexible >= 0 && version >= s.flexible }

// Check walks over a body and verifies that it has the schema's shape and that each
// array's elements fit into what is left. Bytes behind the body are ignored, as in
// Kafka. It allocates nothing unless it fails.
func (s *Schema) Check(version int16, body []byte) error {
	w := walk{in: kbin.Reader{Src: body}, version: version, flexible: s.IsFlexible(version)}
	for i := range s.fields {
		w.field(&s.fields[i])
	}
	w.tags(s.tagged)
	switch {
	case !w.in.Ok():
		return fmt.Errorf("%w: cut off", ErrMalformed)
	case w.fault != "":
		return fmt.Errorf("%w: %s", ErrMalformed, w.fault)
	}
	return nil
}

// walk is one pass over a body.
type walk struct {
	in       kbin.Reader
	version  int16
	flexible bool
	unknown  int
	fault    string
}

// fail ends the walk: nothing more is read.
func (w *walk) fail(why string) {
	if w.fault == "" {
		w.fault = why
	}
	w.in.Src = nil
}

func (w *walk) ok() bool { return w.fault == "" && w.in.Ok() }

func (w *walk) field(f *wireField) {
	if !f.in(w.version) || !w.ok() {
		return
	}
	switch f.kind {
	case stringKind, nullableKind:
		w.text(f.kind == nullableKind)
	case bytesKind:
		w.bytes()
	case arrayKind:
		w.array(f)
	case optionalKind:
		w.optional(f)
	default:
		w.in.Span(int(f.kind))
	}
}

// optional walks over a struct that may be absent. Kafka takes any negative byte for that, kmsg -1 alone.
func (w *walk) optional(f *wireField) {
	switch there := w.in.Int8(); {
	case there >= 0:
		w.element(f)
	case there != -1:
		w.fail("a struct that is neither there nor not")
	}
}

func (w *walk) text(nullable bool) {
	length := 0
	if w.flexible {
		length = int(w.in.Uvarint()) - 1
	} else {
		length = int(w.in.Int16())
	}
	switch {
	case length == -1 && nullable:
	case length < 0:
		w.fail("a string with a negative length")
	case length > StringBytesMax:
		w.fail("a string that is too long")
	default:
		w.in.Span(length)
	}
}

// bytes walks over a byte array. Kafka refuses null where the schema does.
func (w *walk) bytes() {
	length := 0
	if w.flexible {
		length = int(w.in.Uvarint()) - 1
	} else {
		length = int(w.in.Int32())
	}
	if length < 0 {
		w.fail("bytes with a negative length")
		return
	}
	w.in.Span(length)
}

func (w *walk) array(f *wireField) {
	count := int64(0)
	if w.flexible {
		count = int64(w.in.Uvarint()) - 1
	} else {
		count = int64(w.in.Int32())
	}
	if !w.ok() || count <= 0 {
		if count < -1 {
			w.fail("an array with a negative length")
		}
		return
	}
	if least := int64(w.least(f)); least == 0 || count > int64(len(w.in.Src))/least {
		w.fail("an array longer than its frame")
		return
	}
	for ; count > 0 && w.ok(); count-- {
		w.element(f)
	}
}

func (w *walk) element(f *wireField) {
	for i := range f.fields {
		w.field(&f.fields[i])
	}
	if !f.bare {
		w.tags(f.tagged)
	}
}

// least is the size of the smallest element of an array in this version.
func (w *walk) least(f *wireField) int {
	sum := 0
	if w.flexible && !f.bare {
		sum = 1
	}
	for i := range f.fields {
		g := &f.fields[i]
		switch {
		case !g.in(w.version):
		case g.kind < stringKind:
			sum += int(g.kind)
		case w.flexible:
			sum++
		case g.kind == arrayKind || g.kind == bytesKind:
			sum += 4
		default:
			sum += 2
		}
	}
	return sum
}

// tags walks over a section of tags. The values of those that are not in known are
// opaque.
func (w *walk) tags(known tags) {
	if !w.flexible || !w.ok() {
		return
	}
	for count := w.in.Uvarint(); count > 0 && w.ok(); count-- {
		tag, size := w.in.Uvarint(), w.in.Uvarint()
		value := w.in.Span(int(size))
		f, ok := known[tag]
		switch {
		case !w.ok():
		case !ok:
			if w.unknown++; w.unknown > UnknownTagsMax {
				w.fail("too many tags")
			}
		case !f.in(w.version):
			w.fail("a tag that its version does not have")
		default:
			w.nested(&f, value)
		}
	}
}

// nested walks over a tag's value.
func (w *walk) nested(f *wireField, value []byte) {
	rest := w.in
	w.in = kbin.Reader{Src: value}
	w.element(f)
	if !w.ok() || len(w.in.Src) > 0 {
		w.fail("a tag with a value of the wrong shape")
		return
	}
	w.in = rest
}
