package memory

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Arena is a store of off-heap memory in size classes. Its methods may be called
// by any goroutine.
type Arena struct {
	idleMax int64

	mu       sync.Mutex
	classes  [classCount]class
	stats    Stats
	trimming bool
	trimmed  sync.Cond // trimming became false
	moved    int       // entries that trimming moved within lists
}

// Stats says where an arena's memory is, in bytes of whole classes.
type Stats struct {
	Used   int64 // handed out
	Idle   int64 // given back, warm, kept for the next Get
	Mapped int64 // address space taken from the system, resident or not
}

// class holds the pieces of one size that are not in use.
type class struct {
	warm [][]byte // the last one was used most recently
	gone int      // leading entries of warm that were trimmed already
	cold [][]byte // carved pieces without memory behind them

	chunks int // that were carved
}

// NewArena returns an arena that keeps at most idleMax idle bytes; 0 keeps none.
func NewArena(idleMax int64) *Arena {
	a := &Arena{idleMax: idleMax}
	a.trimmed.L = &a.mu
	return a
}

// Get returns a page-aligned piece of at least the given size, its length that
// of its class, its contents arbitrary. The caller owns it until Put. Get panics
// when the system has no memory.
func (a *Arena) Get(bytes int) []byte {
	index, size := classOf(bytes)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Used += int64(size)
	c := &a.classes[index]
	if piece := c.popWarm(); piece != nil {
		a.stats.Idle -= int64(size)
		return piece
	}
	if size > carvedMax {
		return a.mapPiece(size)
	}
	if len(c.cold) == 0 {
		a.carve(c, size)
	}
	return pop(&c.cold)
}

// Put takes a piece back. It must be as Get returned it, and nobody may use it
// any more.
func (a *Arena) Put(piece []byte) {
	index, size := classOf(cap(piece))
	if size != cap(piece) {
		panic(fmt.Sprintf("memory: a piece of %d bytes is none of the arena's", cap(piece)))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Used -= int64(size)
	a.stats.Idle += int64(size)
	a.classes[index].warm = append(a.classes[index].warm, piece[:size])
	if a.stats.Idle > a.idleMax && !a.trimming {
		a.trimming = true
		go a.trim()
	}
}

// Stats returns where the memory is now.
func (a *Arena) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Wait returns once no trimming is under way.
func (a *Arena) Wait() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.trimming {
		a.trimmed.Wait()
	}
}

func pop(list *[][]byte) []byte {
	n := len(*list)
	if n == 0 {
		return nil
	}
	piece := (*list)[n-1]
	(*list)[n-1] = nil
	*list = (*list)[:n-1]
	return piece
}

// carve cuts a new chunk into cold pieces. A class's first chunk has small pages: of
// a class that is hardly used only what is used becomes resident.
func (a *Arena) carve(c *class, size int) {
	chunk := a.mapAligned(chunkBytes)
	if c.chunks++; c.chunks > 1 {
		adviseHuge(chunk)
	}
	for at := 0; at+size <= chunkBytes; at += size {
		c.cold = append(c.cold, chunk[at:at+size:at+size])
	}
}

// mapPiece maps a large piece, of huge pages if it is as large as one.
func (a *Arena) mapPiece(size int) []byte {
	if size < chunkBytes {
		a.stats.Mapped += int64(size)
		return unsafe.Slice((*byte)(mustMap(size)), size)
	}
	piece := a.mapAligned(size)
	adviseHuge(piece)
	return piece
}

// mapAligned maps memory that starts where a huge page may.
func (a *Arena) mapAligned(size int) []byte {
	a.stats.Mapped += int64(size)
	start := mustMap(size + chunkBytes)
	skip := int(-uintptr(start) & (chunkBytes - 1))
	mustUnmap(start, skip)
	mustUnmap(unsafe.Add(start, skip+size), chunkBytes-skip)
	return unsafe.Slice((*byte)(unsafe.Add(start, skip)), size)
}

// trim gives the oldest idle pieces back to the system, large ones first, until a
// quarter less than the bound is idle. The system is called without the lock.
func (a *Arena) trim() {
	a.mu.Lock()
	target := a.idleMax - a.idleMax/4
	for a.stats.Idle > target {
		a.trimOne(a.largestIdle())
	}
	a.trimming = false
	a.trimmed.Broadcast()
	a.mu.Unlock()
}

// largestIdle returns the class of the largest warm pieces; there must be one. It is
// looked for anew for every piece, since large pieces may have been put back while the
// lock was released for a small one.
func (a *Arena) largestIdle() *class {
	for index := classCount - 1; ; index-- {
		if a.classes[index].idle() > 0 {
			return &a.classes[index]
		}
	}
}

// idle counts the warm pieces.
func (c *class) idle() int { return len(c.warm) - c.gone }

func (c *class) popWarm() []byte {
	if c.idle() == 0 {
		return nil
	}
	return pop(&c.warm)
}

// takeOldest removes the warm piece that was unused for longest. The list is moved up
// only when at least half of it is gone, which costs one move for each piece at most.
func (a *Arena) takeOldest(c *class) []byte {
	piece := c.warm[c.gone]
	c.warm[c.gone] = nil
	c.gone++
	if c.gone*2 >= len(c.warm) {
		a.moved += c.idle()
		left := copy(c.warm, c.warm[c.gone:])
		clear(c.warm[left:])
		c.warm, c.gone = c.warm[:left], 0
	}
	return piece
}

func (a *Arena) trimOne(c *class) {
	piece := a.takeOldest(c)
	size := int64(len(piece))
	a.stats.Idle -= size
	a.mu.Unlock()
	if size > carvedMax {
		mustUnmap(unsafe.Pointer(unsafe.SliceData(piece)), len(piece))
	} else {
		dropPages(piece)
	}
	a.mu.Lock()
	if size > carvedMax {
		a.stats.Mapped -= size
	} else {
		c.cold = append(c.cold, piece)
	}
}

func mustMap(size int) unsafe.Pointer {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("memory: the system has no %d bytes: %v", size, err))
	}
	return p
}

func mustUnmap(p unsafe.Pointer, size int) {
	if size == 0 {
		return
	}
	if err := unix.MunmapPtr(p, uintptr(size)); err != nil {
		panic(fmt.Sprintf("memory: cannot give %d bytes back: %v", size, err))
	}
}
