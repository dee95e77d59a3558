package metadata

// Chunks cuts what a record lists into what one record each can hold: at most countMax of it, and about bytesMax
// bytes, by what bytesOf says of each, but always one. An empty list is one chunk.
func Chunks[T any](list []T, countMax, bytesMax int, bytesOf func(*T) int) [][]T {
	var chunks [][]T
	first, size := 0, 0
	for i := range list {
		bytes := bytesOf(&list[i])
		if size += bytes; i > first && (size > bytesMax || i-first == countMax) {
			chunks = append(chunks, list[first:i])
			first, size = i, bytes
		}
	}
	return append(chunks, list[first:])
}
