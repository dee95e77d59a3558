package record

import (
	"encoding/binary"
	"hash/crc32"
)

// A batch carries the CRC32C of everything from its attributes on. Once it is verified, the records
// need not be read again to renew it after a change of the header, or to sum the bytes around it: for
// A followed by B, crc(AB) is crc(A) times x^(8*len(B)) modulo the polynomial, plus crc(B).

// combineBytesMin is the length from which combining sums is faster than reading.
const combineBytesMin = 1 << 10

// SumHolds reports whether b, at least a header long, has the CRC that its header says.
func SumHolds(b []byte) bool {
	return crc32.Checksum(b[atAttributes:], castagnoli) == binary.BigEndian.Uint32(b[atCRC:])
}

// UpdateSum extends the CRC32C sum by the batch b, as crc32.Update does. It computes the
// result from b's own CRC, which must be right, and reads only the header of larger batches.
func UpdateSum(sum uint32, b []byte) uint32 {
	if len(b) < combineBytesMin {
		return crc32.Update(sum, castagnoli, b)
	}
	sum = crc32.Update(sum, castagnoli, b[:atAttributes])
	return shift(sum, len(b)-atAttributes) ^ binary.BigEndian.Uint32(b[atCRC:])
}

// reseal renews the CRC of the batch b, right until change makes another header of it.
func reseal(b []byte, change func(header []byte)) {
	header := b[atAttributes:HeaderBytes]
	before := crc32.Checksum(header, castagnoli)
	change(b[:HeaderBytes])
	difference := before ^ crc32.Checksum(header, castagnoli)
	sum := binary.BigEndian.Uint32(b[atCRC:]) ^ shift(difference, len(b)-HeaderBytes)
	binary.BigEndian.PutUint32(b[atCRC:], sum)
}

// powers[i][v] is x^(8*v<<(8*i)) modulo the polynomial: what v<<(8*i) bytes more multiply a sum by.
var powers = makePowers()

// one is the polynomial 1: as everywhere in a reflected CRC, the highest bit is the lowest power.
const one = 1 << 31

func makePowers() (p [4][256]uint32) {
	step := uint32(one >> 8) // x^8: one byte
	for i := range p {
		p[i][0] = one
		for v := 1; v < len(p[i]); v++ {
			p[i][v] = multiply(p[i][v-1], step)
		}
		step = multiply(p[i][255], step)
	}
	return p
}

// shift is the part in the CRC of A followed by n bytes that is due to A, whose CRC is sum.
func shift(sum uint32, n int) uint32 {
	for i := 0; n > 0; i++ {
		if v := n & 0xff; v != 0 {
			sum = multiply(sum, powers[i][v])
		}
		n >>= 8
	}
	return sum
}

// multiply is the product of two polynomials modulo Castagnoli's, free of branches on their bits.
func multiply(a, b uint32) uint32 {
	product := uint32(0)
	for bit := 31; bit >= 0; bit-- {
		product ^= b & -(a >> bit & 1)
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}
