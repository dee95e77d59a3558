package memory

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages. Where the system has none, pages are small.
func adviseHuge(piece []byte) { _ = unix.Madvise(piece, unix.MADV_HUGEPAGE) }

// dropPages lets the memory behind a piece go; the addresses stay.
func dropPages(piece []byte) { _ = unix.Madvise(piece, unix.MADV_DONTNEED) }
