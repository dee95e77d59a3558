package record

import "weir/core/compress"

// Recode returns the batch b, which was validated, with its records compressed anew; nothing else of it changes but its checksum.
// plainMax is the size of its records, decompressed; a result of more than limit bytes is ErrTooLarge.
func Recode(b []byte, to compress.Target, plainMax, limit int) ([]byte, error) {
	h, err := ReadHeader(b)
	if err != nil {
		return nil, err
	}
	out, err := compress.Recode(to, make([]byte, HeaderBytes, HeaderBytes+len(b)), h.Codec(), b[HeaderBytes:h.Bytes], plainMax, max(limit-HeaderBytes, 0))
	if err != nil {
		return nil, decompressError(err)
	}
	h.Attributes = h.Attributes&^codecBits | int16(to.Codec)
	h.write(out)
	return out, nil
}
