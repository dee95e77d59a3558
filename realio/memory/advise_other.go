//go:build unix && !linux

package memory

import "golang.org/x/sys/unix"

// adviseHuge does nothing: huge pages are not ours to ask for here.
func adviseHuge([]byte) {}

// dropPages lets the memory behind a piece go when the system wants it; the
// addresses stay.
func dropPages(piece []byte) { _ = unix.Madvise(piece, unix.MADV_FREE) }
