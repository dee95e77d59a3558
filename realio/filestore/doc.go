// Package filestore is env.ObjectStore on a directory (the URL file:DIR): for one machine, for tests
// and for a first look at weir. It owns the directory's layout and may call bill, core/env and
// realio/workers. Several processes may share a directory on a local file system.
//
// A put writes a file of the session, syncs it, gives it the object's name by a rename that refuses
// to replace, and syncs the folder; only then is it done. So an object appears whole or not at all,
// and of concurrent puts one wins. Bodies bypass the page cache if the file system supports direct
// I/O: gigabytes of dirty pages would delay a write-ahead log on the same device, and cost more
// processor time. Files that a killed process left without a name are removed when a store opens.
//
// Errors of a full, read-only or missing file system are the operating system's, with advice. An object that
// is missing because another directory is mounted in the place of this one does not count as deleted.
//
// # Limits
//
// A segment of a key (between slashes) is at most 254 bytes long, or the put fails. Folders stay
// when they are empty. A page of a listing reads all names of the folders that it touches, so
// folders of hundreds of thousands of objects list slowly.
//
// # Invariants
//
//   - Done and Refused puts are durable, and so are Done deletes: no power failure takes back what
//     an answer or a read has shown.
//   - Unknown is only what failed after its effect, at the sync of a folder.
//   - A name outside the alphabet of keys is never listed, and a key never leaves the directory.
package filestore
