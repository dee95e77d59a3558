package sim

import (
	"encoding/binary"
	"fmt"
	"strings"

	"weir/core/wal"
	"weir/sim/checker"
)

// The log's format, as far as I5 needs it; see the doc of core/wal.
const (
	superMagic = 0x314c415772696577 // "weirWAL1"
	groupMagic = 0x70726777         // "wgrp"
)

// checkReuse holds a write to a log against the superblock that is durable on the device (I5): what that keeps
// is not overwritten. It shares no code with the log.
func (b *broker) checkReuse(name string, offset int64, data []byte) {
	if !strings.HasPrefix(name, "wal-") || offset < wal.CreateBytes || binary.LittleEndian.Uint32(data) != groupMagic {
		return
	}
	trim, region, ok := b.durableSuperblock(name)
	if !ok {
		return
	}
	at, bytes := binary.LittleEndian.Uint64(data[40:]), uint64(binary.LittleEndian.Uint32(data[48:]))
	if at < trim || at+bytes > trim+region {
		b.violate(checker.Violation{Invariant: "I5", Text: fmt.Sprintf(
			"a group was written to positions %d to %d of %s, whose durable superblock keeps positions from %d on in %d bytes", at, at+bytes, name, trim, region)})
	}
}

// durableSuperblock is what the newest superblock says that no crash takes back.
func (b *broker) durableSuperblock(name string) (trim, region uint64, ok bool) {
	newest := uint64(0)
	for i := int64(0); i < wal.CreateBytes; i += wal.CreateBytes / 2 {
		s := b.wal.Durable(name, i)
		if s == nil || binary.LittleEndian.Uint64(s) != superMagic {
			continue
		}
		if sequence := binary.LittleEndian.Uint64(s[32:]); !ok || sequence > newest {
			newest, ok = sequence, true
			region, trim = binary.LittleEndian.Uint64(s[40:]), binary.LittleEndian.Uint64(s[56:])
		}
	}
	return trim, region, ok
}
