// Package compress holds the codecs of Kafka record batches: gzip, snappy
// (raw blocks and xerial framing), lz4 (frames) and zstd.
//
// Payloads pass through weir untouched. They are decompressed to validate records and
// to look a timestamp up, off the loop and as a stream ([Open]), so that memory depends
// on the codec's window and not on what a small hostile batch decompresses to (what a codec decodes in one piece is at most
// 32 MiB); a limit bounds the work. Checksums that a payload has are verified, and nothing may follow it.
//
// Decoders are pooled and reset before use. Calls are synchronous, and their output
// depends on their input alone.
//
// It calls nothing of weir.
package compress
