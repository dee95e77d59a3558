// Package disk is env.Disk on the operating system: a directory of files, or a whole block device.
//
// It owns a directory or device for as long as it is open: a lock keeps other processes out. Processes that open a
// directory as shared use it together, each with files of its own (see the last section). Calls
// of the kernel run on a bounded number of goroutines; a completed operation is handed to the
// node's mailbox. It may call core/env and realio/workers, and decides nothing.
//
// # Durability
//
// A Durable write is a single pwritev2 with RWF_DSYNC, on a Direct file past the page cache: on
// space that was written before, one request to the device. Open tests this
// with such a write, which it reads back. If the file system refuses it, one line is logged, and
// Durable writes go through the page cache and end with fdatasync. The same is done on a full file
// system, where the test cannot write, because the start may be what frees space. In both cases
// durability is what the kernel reports: a device that acknowledges writes in a volatile cache loses
// them in a power failure.
//
// Creating, renaming and removing a file syncs the directories concerned, and so does creating what
// exists already, or removing what does not: an earlier process may have died between the two.
//
// # Block devices
//
// A block device is opened exclusively and used whole, under a table in its first blocks (see
// table.go for the format): up to 64 files, in chunks of 1 MiB or a 4096th of the device, with
// everything that env.Disk has. It suits write-ahead logs, several of which live until they are
// drained; give it at least twice the size of one log. It is not a file system: all I/O on it must be
// aligned as for Direct files, each growth of a file costs a table write, and a device cannot be
// shared between machines: each would have a table of its own. A device that holds anything else is refused, untouched.
//
// # Shared directories
//
// Several processes, on one machine or on several, use a directory that they opened as Shared: on a volume with a cluster file
// system, or on NFS. It must offer direct I/O, which is how one reads what another wrote. On NFS mount it hard, and with
// lookupcache=positive, so that a file which another machine made is found at once. Direct writes and reads there go to
// the server; they are as durable as it says (export sync, the default). What keeps processes from
// harming each other's files is the core's (R5, R8): there is no lock but the one against a process that opened the directory for itself.
//
// # Invariants
//
//   - A failed write or sync is never retried; its completion has the error.
//   - A name cannot leave the directory: names have no empty segment and none with a leading dot.
//   - BlockBytes is 512 only if the device is known to write that much atomically and no more. It is
//     4096 if the device is known to write that atomically, or if nothing is known.
//   - Nothing is delivered inside the call that submitted it, nor after Shutdown.
//   - A file of a block device never shows what was on the device before it.
package disk
