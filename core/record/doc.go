// Package record reads, checks and builds Kafka record batches (magic 2), the
// unit that is appended, stored and served.
//
// A batch is not re-encoded, unless its topic asks for another codec ([Recode]): what a producer sent is what consumers get, but
// for the base offset and leader epoch (outside the checksum) and, for
// LogAppendTime, the timestamp type and max timestamp (with the checksum anew).
// Only the cleaner of a compacted topic makes a smaller batch of a stored one ([Filter]): offsets stay, some are then missing.
// Its records are read to validate it ([Validate]) and to look a timestamp up ([Scan]):
// in chunks, without its keys and values.
//
// Everything here is pure and bounds-checked: no input makes it panic or
// allocate beyond the limit that the caller gives. It may call core/compress.
package record
