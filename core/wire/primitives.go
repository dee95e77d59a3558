package wire

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kbin"
)

// ErrMalformed says that a body does not have its schema's shape. Its connection is closed.
var ErrMalformed = errors.New("malformed")

// ReadNullableString returns a slice of the frame; nil is null.
func ReadNullableString(in *kbin.Reader, flexible bool) []byte {
	length := 0
	if flexible {
		length = int(in.Uvarint()) - 1
	} else {
		length = int(in.Int16())
	}
	if length < 0 {
		return nil
	}
	return in.Span(length)
}

// ReadNullableBytes returns a slice of the frame; nil is null.
func ReadNullableBytes(in *kbin.Reader, flexible bool) []byte {
	if flexible {
		return in.CompactNullableBytes()
	}
	return in.NullableBytes()
}

// ReadArrayLen returns the number of elements; a null array has none.
func ReadArrayLen(in *kbin.Reader, flexible bool) int {
	if flexible {
		return int(max(in.CompactArrayLen(), 0))
	}
	return int(max(in.ArrayLen(), 0))
}

// SkipTags skips a section of tags. It stops at the end of the frame, whatever
// number of tags was announced.
func SkipTags(in *kbin.Reader, flexible bool) {
	if !flexible {
		return
	}
	for count := in.Uvarint(); count > 0 && in.Ok(); count-- {
		in.Uvarint()
		in.Span(int(in.Uvarint()))
	}
}

// AppendArrayLen appends the length of an array; -1 is null.
func AppendArrayLen(dst []byte, flexible bool, n int) []byte {
	if flexible {
		return kbin.AppendCompactArrayLen(dst, n)
	}
	return kbin.AppendArrayLen(dst, n)
}

// AppendString appends a string.
func AppendString(dst []byte, flexible bool, s string) []byte {
	if flexible {
		return kbin.AppendCompactString(dst, s)
	}
	return kbin.AppendString(dst, s)
}

// AppendNullableString appends a string or null.
func AppendNullableString(dst []byte, flexible bool, s *string) []byte {
	if flexible {
		return kbin.AppendCompactNullableString(dst, s)
	}
	return kbin.AppendNullableString(dst, s)
}

// AppendNoTags ends a struct without tags.
func AppendNoTags(dst []byte, flexible bool) []byte {
	if flexible {
		return append(dst, 0)
	}
	return dst
}
