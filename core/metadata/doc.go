// Package metadata is what the cluster knows of itself: typed records, the image
// that they yield when applied in the order of the quorum's log, and snapshots of
// that image.
//
// It owns the validation of every record (R1-R3, R20) and the formats below. It
// does no I/O, reads no clock and draws no random numbers: an [Image] depends on
// the records alone. It may call core/telemetry, for assertions only.
//
// # Validation
//
// [Image.Apply] is total. A record that names an ended broker epoch, a range that
// is not its own, an id that is not there, or a state that has moved on, changes
// nothing and yields an error for its proposer. So the order of the log decides
// between conflicting requests, not what their proposers had read. What else
// a record was granted (ids, the verdicts on a commit's parts) is in
// [Image.Outcome] until the next record.
//
// # Records
//
// A record is its type, its version and its fields. Integers are varints (signed
// ones zigzag), strings and bytes carry a length, lists a count that is checked
// against the bytes that are left before anything is allocated. Equal records
// have equal bytes. A type or a version that is not known is an error: it was
// written by a newer release, and to skip it would give another image (I10).
//
// # Snapshots
//
// A snapshot is the magic "weirMETA", a version byte, the image's state in a fixed
// order, and the CRC32C (big-endian) of all before it. It does not hold the log
// index, which its keeper has: an image that loaded a snapshot and one that
// applied every record have equal snapshots. Loading proves the image's
// invariants again, so that damage is found at the start and not by a later
// record.
//
// Once all members of a cluster read them (PackedLevel), snapshots are packed: what most of a large image is, the parts of streams and the states of
// producers, is in columns, each value as its difference to what is expected of it, compressed with zstd (packed.go). Equal images have equal
// snapshots then, too, if the same release took them; another release may have a compressor that makes other bytes of the same columns. Topics,
// ranges and objects are as they were.
//
// A part of object 0 stands for offsets that were given up with the only WAL that held them (R16). It keeps a stream's parts
// joined, is retained and trimmed as others are, from the time at which it was given up, and is no source of a replacement.
//
// # An object's life
//
// A leased id is prepared. From there it is committed, by a commit or a replacement of which
// a part was accepted, or expired, by a record that bars any later commit (R20). A
// committed object to which no part refers any more is destroyed; once its
// deletion is recorded it is gone. An id below [Image.NextObject] that is neither
// prepared nor in the image is dead: ids are never reused.
package metadata
