package env

// FileID names an open file of one Disk within one incarnation.
type FileID int32

// Disk is a directory of files on one device, read and written at block
// granularity. A file name is a relative path of letters, digits, '-', '.' and
// '/'; directories appear as needed.
//
// Operations on one file may be in flight together and complete in any order;
// the core never overlaps a write with another operation on the same bytes.
// The world promises what a real device documents: a completed Durable write,
// or a write followed by a completed Sync that was submitted after the write
// completed, survives a crash; any other write may after a crash be whole, torn
// at a BlockBytes boundary, or absent, in any order with others.
type Disk interface {
	// BlockBytes is the alignment of offset, length and memory for Direct
	// files: 512 or 4096. A block is written whole or not at all.
	BlockBytes() int
	Open(*DiskOpen)
	Read(*DiskRead)
	Write(*DiskWrite)
	Sync(*DiskSync)
	Rename(*DiskRename)
	Remove(*DiskRemove)
	List(*DiskList)
	Space(*DiskSpace)
	// Close gives the file up. No operation on it may be in flight. It never
	// syncs.
	Close(FileID)
}

// DiskOpen opens a file. Create makes it if it is absent (its directory entry
// is durable at completion); with Exclusive too, an existing file is ErrExist.
// A Direct file bypasses the page cache where the file system can.
type DiskOpen struct {
	Name      string
	Create    bool
	Exclusive bool
	Direct    bool

	File FileID
	Size int64
	Err  error // ErrNotExist, ErrExist, ErrDiskIO
	Done func(*DiskOpen)
}

// DiskRead reads len(Data) bytes at Offset. N falls short only at the end of
// the file. What it returns may never have been durable: recovery writes it again
// before it trusts it, unless something durable vouches for it (R7).
type DiskRead struct {
	File   FileID
	Offset int64
	Data   []byte

	N    int
	Err  error // ErrDiskIO
	Done func(*DiskRead)
}

// DiskWrite writes Data at Offset, growing the file if needed. If Prepare is
// set the world calls it off the loop just before the write, to fill Data; this
// is where payload is copied and summed. With Durable, the bytes (and the
// file's size) survive a crash once it completes.
type DiskWrite struct {
	File    FileID
	Offset  int64
	Data    []byte
	Prepare func()
	Durable bool

	Err  error // ErrDiskFull, ErrDiskIO
	Done func(*DiskWrite)
}

// DiskSync makes every write that completed before it was submitted durable.
// After an error nothing about those writes is known, and a later success says
// nothing about them either.
type DiskSync struct {
	File FileID
	Err  error
	Done func(*DiskSync)
}

// DiskRename replaces To by From atomically and durably (directory synced).
type DiskRename struct {
	From, To string
	Err      error
	Done     func(*DiskRename)
}

// DiskRemove removes a file by name, durably. Removing what is absent is no error.
type DiskRemove struct {
	Name string
	Err  error
	Done func(*DiskRemove)
}

// DiskList lists the names that start with Prefix, sorted, with their sizes.
type DiskList struct {
	Prefix string

	Files []FileInfo
	Err   error
	Done  func(*DiskList)
}

// DiskSpace asks how much room the disk's volume has. Other disks and other
// programs may use the same volume, so what is usable may be less a moment later.
type DiskSpace struct {
	Volume      uint64 // names the volume: disks with the same number share its room
	TotalBytes  int64  // of the volume
	UsableBytes int64  // that this process may still write

	Err  error // ErrDiskIO
	Done func(*DiskSpace)
}

// FileInfo is a row of DiskList.
type FileInfo struct {
	Name string
	Size int64
}

func (o *DiskOpen) Deliver()   { o.Done(o) }
func (o *DiskRead) Deliver()   { o.Done(o) }
func (o *DiskWrite) Deliver()  { o.Done(o) }
func (o *DiskSync) Deliver()   { o.Done(o) }
func (o *DiskRename) Deliver() { o.Done(o) }
func (o *DiskRemove) Deliver() { o.Done(o) }
func (o *DiskList) Deliver()   { o.Done(o) }
func (o *DiskSpace) Deliver()  { o.Done(o) }
