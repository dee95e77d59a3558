package compress

import (
	"fmt"
	"math/bits"
)

const (
	literalSymbols  = 286 // literals, the end of a block, and lengths
	distanceSymbols = 30
	lengthSymbols   = 19 // of the code in which the lengths of the others are written
	codeBitsMax     = 15
	maxDistanceBits = codeBitsMax + 13 // a code and its extra bits
	endOfBlock      = 256

	// Codes of so many bits are found by one look at a table, longer ones by a second.
	literalTableBits  = 10
	distanceTableBits = 8
	lengthTableBits   = 7
	// The largest tables that a complete code can need with these: the results of zlib's "enough".
	literalTableSize  = 2342
	distanceTableSize = 402
)

// entry says what a code stands for: in bits 16 to 30 a literal, the base of a length or distance, or
// the index of a second table; in bits 8 to 11 the length of the code, or how many bits index the
// second table; in bits 0 to 5 how many bits are consumed, those after the code included.
type entry uint32

const (
	isLiteral entry = 1 << 31
	isOther   entry = 1 << 15 // neither a literal nor a length or distance
	isLink    entry = 1 << 14 // isOther: a second table says it
	isEnd     entry = 1 << 13 // isOther: the end of the block
	entryBits entry = 1<<6 - 1
)

// value is the base and the extra bits of a length or distance; v begins with its code.
func (e entry) value(v uint64) int {
	return int(e>>16) + int(v&(1<<(e&entryBits)-1)>>(e>>8&15))
}

// linked is the index in a second table; v begins with the code.
func (e entry) linked(v uint64, tableBits uint) uint64 {
	return uint64(e>>16) + v>>(tableBits&63)&(1<<(e>>8&15)-1)
}

// inflateTables are the codes of a block.
type inflateTables struct {
	literals  [literalTableSize]entry
	distances [distanceTableSize]entry
}

// The entries of each alphabet's symbols, without their codes, and the tables of blocks of type 1.
var (
	literalEntries  = makeLiteralEntries()
	distanceEntries = makeDistanceEntries()
	lengthEntries   = makeLengthEntries()
	fixedTables     = makeFixedTables()
)

func makeLiteralEntries() (all [288]entry) {
	for i := range 256 {
		all[i] = isLiteral | entry(i)<<16
	}
	all[endOfBlock] = isOther | isEnd
	base := 3
	for i := 257; i < 285; i++ {
		extra := max(0, (i-257)/4-1)
		all[i] = entry(base)<<16 | entry(extra)
		base += 1 << extra
	}
	all[285] = 258 << 16
	all[286], all[287] = isOther, isOther
	return all
}

func makeDistanceEntries() (all [32]entry) {
	base := 1
	for i := range distanceSymbols {
		extra := max(0, i/2-1)
		all[i] = entry(base)<<16 | entry(extra)
		base += 1 << extra
	}
	all[30], all[31] = isOther, isOther
	return all
}

func makeLengthEntries() (all [lengthSymbols]entry) {
	for i := range all {
		all[i] = entry(i) << 16
	}
	return all
}

func makeFixedTables() *inflateTables {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	t := &inflateTables{}
	makeTable(t.literals[:], literalTableBits, lengths[:], literalEntries[:])
	for i := range 32 {
		lengths[i] = 5
	}
	makeTable(t.distances[:], distanceTableBits, lengths[:32], distanceEntries[:])
	return t
}

// errLengthCode: zlib does not read such a stream, although some decoders do.
var errLengthCode = fmt.Errorf("%w: the code for code lengths is not complete", errDeflate)

// lengthOrder is the order in which the lengths of the code for lengths are written.
var lengthOrder = [lengthSymbols]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// read reads the codes of a block.
func (t *inflateTables) read(in *bitReader) error {
	literals, distances, lengths := int(in.take(5))+257, int(in.take(5))+1, int(in.take(4))+4
	if literals > literalSymbols || distances > distanceSymbols {
		return errDeflate
	}
	var all [literalSymbols + distanceSymbols]uint8
	for _, symbol := range lengthOrder[:lengths] {
		all[symbol] = uint8(in.take(3))
	}
	var table [1 << lengthTableBits]entry
	if !isComplete(all[:lengthSymbols]) || !makeTable(table[:], lengthTableBits, all[:lengthSymbols], lengthEntries[:]) {
		return errLengthCode
	}
	clear(all[:lengthSymbols])
	if err := readLengths(in, &table, all[:literals+distances]); err != nil {
		return err
	}
	if all[endOfBlock] == 0 {
		return errDeflate
	}
	if !makeTable(t.literals[:], literalTableBits, all[:literals], literalEntries[:]) ||
		!makeTable(t.distances[:], distanceTableBits, all[literals:literals+distances], distanceEntries[:]) {
		return errDeflate
	}
	return nil
}

// readLengths reads the lengths of codes, which are themselves coded with table.
func readLengths(in *bitReader, table *[1 << lengthTableBits]entry, all []uint8) error {
	for i := 0; i < len(all); {
		if err := in.refill(); err != nil {
			return err
		}
		e := table[in.bits&(1<<lengthTableBits-1)]
		in.take(uint(e & entryBits))
		symbol := int(e >> 16)
		if symbol < 16 {
			all[i] = uint8(symbol)
			i++
			continue
		}
		length, times := uint8(0), 0
		switch symbol {
		case 16:
			if i == 0 {
				return errDeflate
			}
			length, times = all[i-1], 3+int(in.take(2))
		case 17:
			times = 3 + int(in.take(3))
		default:
			times = 11 + int(in.take(7))
		}
		if times > len(all)-i {
			return errDeflate
		}
		for ; times > 0; times-- {
			all[i] = length
			i++
		}
	}
	return nil
}

// isComplete reports whether the codes of these lengths use up all bit sequences.
func isComplete(lengths []uint8) bool {
	used := 0
	for _, n := range lengths {
		if n > 0 {
			used += 1 << (codeBitsMax - n)
		}
	}
	return used == 1<<codeBitsMax
}

// makeTable fills table, the first part of which is indexed by tableBits bits, for codes of these
// lengths; 0 is none. As in zlib, codes must use up all bit sequences, but for a single code of one bit
// and for none at all.
func makeTable(table []entry, tableBits uint, lengths []uint8, entries []entry) (ok bool) {
	var count [codeBitsMax + 1]int
	for _, n := range lengths {
		count[n]++
	}
	longest := codeBitsMax
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	count[0] = 0
	free := 1
	for n := 1; n <= longest; n++ {
		if free = free<<1 - count[n]; free < 0 {
			return false
		}
	}
	if free > 0 && longest > 1 {
		return false
	}
	indexBits := min(tableBits, uint(max(longest, 1)))
	if longest <= 1 {
		table[0], table[1] = isOther, isOther // of a code that there is not
	}
	var symbols [288]uint16
	sortSymbols(symbols[:], lengths, &count)
	fillTable(table, indexBits, symbols[:], &count, entries)
	for size := 1 << indexBits; size < 1<<tableBits; size *= 2 {
		copy(table[size:2*size], table[:size])
	}
	return true
}

// sortSymbols puts the symbols that have a code in the order of their codes.
func sortSymbols(symbols []uint16, lengths []uint8, count *[codeBitsMax + 1]int) {
	var at [codeBitsMax + 2]int
	for n := 1; n <= codeBitsMax; n++ {
		at[n+1] = at[n] + count[n]
	}
	for symbol, n := range lengths {
		if n > 0 {
			symbols[at[n]] = uint16(symbol)
			at[n]++
		}
	}
}

// fillTable gives each code its entries: at all indexes that begin with it, lowest bit first.
func fillTable(table []entry, indexBits uint, symbols []uint16, count *[codeBitsMax + 1]int, entries []entry) {
	code, i := uint16(0), 0
	second, secondBits, secondPrefix := 1<<indexBits, uint(0), -1
	size := second
	for n := uint(1); n <= codeBitsMax; n++ {
		for left := count[n]; left > 0; left-- {
			e := entries[symbols[i]]
			e += entry(n) | entry(n)<<8 // consumes the code, too
			reversed := int(bits.Reverse16(code) >> (16 - n))
			code++
			i++
			if n <= indexBits {
				fill(table[:1<<indexBits], reversed, 1<<n, e)
				continue
			}
			if prefix := reversed & (1<<indexBits - 1); prefix != secondPrefix {
				second, secondBits, secondPrefix = size, secondTableBits(n, indexBits, left, count), prefix
				size += 1 << secondBits
				table[prefix] = isOther | isLink | entry(second)<<16 | entry(secondBits)<<8
			}
			fill(table[second:second+1<<secondBits], reversed>>indexBits, 1<<(n-indexBits), e)
		}
		code <<= 1
	}
}

func fill(table []entry, at, stride int, e entry) {
	for ; at < len(table); at += stride {
		table[at] = e
	}
}

// secondTableBits is how many bits index the table of the codes that share a prefix, the first of
// which has n bits; left of that length are to come.
func secondTableBits(n, indexBits uint, left int, count *[codeBitsMax + 1]int) uint {
	size := n - indexBits
	for room := 1<<size - left; room > 0 && indexBits+size < codeBitsMax; {
		size++
		room = room<<1 - count[indexBits+size]
	}
	return size
}
