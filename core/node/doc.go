// Package node builds one broker's node, in the same way for production and for
// the simulator: it starts, recovers, routes events, and drains.
//
// # Start
//
//	quorum open -> cluster founded, if new -> broker registered: a new epoch
//	  -> logs of ended epochs recovered -> log of this epoch created
//	  -> their ranges taken over -> partitions opened -> listeners bound
//	  -> their addresses registered -> ready
//
// Each step needs the one before it. Ranges are opened for an epoch only
// after its log exists, so that an epoch which owns a range and has no file has
// lost acknowledged records: the start fails, and says so. Beside other brokers it waits for the file, as a member of the quorum, until an administrator
// gives it up (R16). Connections that come
// before the addresses are registered wait, muted.
//
// Logs of ended epochs may be of either kind: those on the device are found there, those in the object store are named by
// the image, which also says where each begins. The kind of this epoch's log is registered with it.
//
// # Logs of dead brokers
//
// A running node recovers the logs of other brokers' ended epochs (adopt.go, R14). Of one that the image assigns to it, it finds out how it ends, and
// gives its partitions to brokers that are alive; then the next log has its turn. Where the log's newest summary is not
// enough, it is read first. Of any log that has no open ranges it reads what the streams that it leads have there, and uploads it.
//
// # Order of the metadata
//
// The quorum hands over records in the order of its log. Each is applied to the
// image; then the parts that depend on the image are notified; only then is its
// proposer called, so that whoever is answered sees the effects.
//
// The package may call everything else in core/. Invariants: everything runs on
// the loop; a node fails once, and after that acknowledges nothing; a shutdown
// answers what is under way, and leaves no slab and no frame behind.
//
// # A full volume
//
// A start must find room before it can free any: the metadata begin a segment of their log, and the broker's log,
// of which only the head is written then (8 KiB), begins before the logs of ended epochs can be uploaded and
// removed. Two things keep that room:
//
//   - The reserves: eight files of 64 KiB beside the logs. Whoever finds the log's volume full at a start gives one
//     up, and so does the metadata's log at any time if it shares the volume. They are made again before the log may
//     grow; on a shared volume only once as much room again is left to the metadata. A log that owes nothing is removed
//     at the next start, so that starts which end early do not use them up.
//   - The floor: on a volume that log and metadata share, the log does not grow into the last eighth of it (at least
//     16 MiB, or half of a small volume; at most 128 MiB). It goes on with what there is, and wraps there (core/wal).
//
// So a volume that only this node writes to can be filled by the log, and any number of restarts find room, with the
// object store or without it. The log grows once uploads freed the logs of ended epochs. If somebody else fills the
// volume, and the reserves with it, a start waits for room and says so; meanwhile it uploads and removes those logs
// whose ranges an earlier start has sealed. Nothing keeps room for metadata that outgrow the floor, or that lie on
// another volume which fills up: changes of the metadata, and starts, wait until somebody frees space.
package node
