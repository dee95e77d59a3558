package memory

import "math/bits"

const (
	pageBytes  = 4096
	chunkBytes = 2 << 20   // also the size of a huge page
	carvedMax  = 256 << 10 // the largest class cut from a chunk
	classCount = 4 * 36
)

// classOf returns the class of a piece of at least the given size, and the
// class's size.
func classOf(bytes int) (class, size int) {
	pages := max(1, (bytes+pageBytes-1)/pageBytes)
	if pages <= 4 {
		return pages - 1, pages * pageBytes
	}
	shift := bits.Len(uint(pages-1)) - 3
	steps := (pages + 1<<shift - 1) >> shift // 5 to 8
	return 4 + 4*shift + steps - 5, steps << shift * pageBytes
}
