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
// Each step stands on the one before it. Ranges are opened for an epoch only
// after its log exists, so that an epoch which owns a range and has no file has
// lost acknowledged records: the start fails, and says so. Connections that come
// before the addresses are registered wait, muted.
//
// # Order of the metadata
//
// The quorum hands over records in the order of its log. Each is applied to the
// image, then the parts that live by the image are told, and only then does its
// proposer hear the verdict: whoever is answered finds the effects in place.
//
// The package may call everything else in core/. Invariants: everything runs on
// the loop; a node fails once, and after that acknowledges nothing; a shutdown
// answers what is under way, and leaves no slab and no frame behind.
//
// A new log begins before the logs of ended epochs can be uploaded and removed, and they may have filled the
// disk. So some small files, the reserves, are kept beside the logs: a start that finds the disk full gives one up,
// and makes it again before its log may grow. A start that finds neither room nor a reserve waits until somebody
// frees room, and says so: it comes to that if as many starts as there are reserves (a log below 128 MiB has one)
// end before the logs of ended epochs are uploaded, and the object store's return does not help, since tails are
// uploaded only once the own log exists. Nothing keeps room for the metadata on a volume that they share with the log.
package node
