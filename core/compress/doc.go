// Package compress holds the codecs of Kafka record batches: gzip, snappy
// (raw blocks and xerial framing), lz4 (frames) and zstd.
//
// Payloads pass through weir untouched. They are decompressed to validate records and
// to look a timestamp up, off the loop and as a stream ([Open]), so that memory depends
// on the codec's window and not on what a small hostile batch decompresses to; a limit
// bounds the work. Checksums that a payload has are verified, and nothing may follow it.
//
// snappy, lz4 and zstd are read by libraries, gzip by a decoder of this package: the libraries' cost
// twice as much CPU (BenchmarkOpen), because they read DEFLATE a byte at a time. It takes what zlib takes, and is
// fuzzed against the standard library's.
//
// Decoders are pooled and reset before use. Calls are synchronous, and their output
// depends on their input alone.
//
// It calls nothing of weir.
package compress
