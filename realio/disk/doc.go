// Package disk is env.Disk on the operating system: a directory of files, or a whole block device.
//
// It owns a directory or device for as long as it is open: a lock keeps other processes out. Calls
// of the kernel run on a bounded number of goroutines; a completed operation is handed to the
// node's mailbox. It may call core/env and realio/workers, and decides nothing.
//
// # Durability
//
// A Durable write is a single pwritev2 with RWF_DSYNC, on a Direct file past the page cache: on
// space that was written before, one request to the device. Open finds out by such a write, read
// back, whether the file system offers it; where it refuses, the log says so once, and Durable
// writes go through the page cache and end with fdatasync. A full file system allows no such write; it
// is then used in that way too, because the start may be what frees space. Either way the kernel's word that a
// write is durable is all there is: a device that lies about its cache loses what it lied about.
//
// Creating, renaming and removing a file syncs the directories concerned, and so does creating what
// exists already, or removing what does not: an earlier process may have died between the two.
//
// # Block devices
//
// A block device is opened exclusively and used whole, under a table in its first blocks (see
// table.go for the format): up to 64 files, in chunks of 1 MiB or a 4096th of the device, with
// everything that env.Disk has. It suits write-ahead logs, several of which live until they are
// drained; give it twice the space of one log at least. It is no file system: all I/O on it must be
// aligned as for Direct files, each growth of a file costs a table write, and a disk shared between
// machines needs a fence that is not here. A device that holds anything else is refused, untouched.
//
// # Invariants
//
//   - A failed write or sync is never tried again, and its completion says so.
//   - A name cannot leave the directory: names have no empty segment and none with a leading dot.
//   - BlockBytes is 512 only where the device is known to write no more than that whole; it is 4096
//     where it is known to, and where nothing is known.
//   - Nothing is delivered inside the call that submitted it, nor after Shutdown.
//   - A file of a block device never shows what was on the device before it.
package disk
