// Package compress holds the codecs of Kafka record batches: gzip, snappy
// (raw blocks and xerial framing), lz4 (frames) and zstd.
//
// Payloads pass through weir untouched; batches are opened only to look a
// timestamp up or to validate records, off the loop. The package is pure: each
// call is synchronous, keeps nothing between calls, and its output depends on its
// input alone. Every decoder takes a limit on the bytes it may produce, so that a
// small hostile batch cannot take unbounded memory.
//
// It calls nothing of weir.
package compress
