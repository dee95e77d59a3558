package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// ObjectPrefix is what the keys of a cluster's object logs start with. Data objects lie elsewhere.
func ObjectPrefix(cluster string) string { return cluster + "/wal/" }

// ObjectName is the name of the object log of a broker epoch, and what the keys of its slots start with.
func ObjectName(cluster string, epoch int64) string {
	return fmt.Sprintf("%s%016x", ObjectPrefix(cluster), uint64(epoch))
}

// slotKey is the key of a slot: "<cluster>/wal/<epoch>/<slot>", both as 16 hex digits. Keys sort like slots.
func slotKey(name string, slot uint64) string { return fmt.Sprintf("%s/%016x", name, slot) }

// ParseSlotKey takes the key of a cluster's slot apart. False: it names no slot.
func ParseSlotKey(cluster, key string) (epoch int64, slot uint64, ok bool) {
	rest, ours := strings.CutPrefix(key, ObjectPrefix(cluster))
	log, number, two := strings.Cut(rest, "/")
	if !ours || !two {
		return 0, 0, false
	}
	e, errEpoch := strconv.ParseUint(log, 16, 63)
	slot, errSlot := strconv.ParseUint(number, 16, 64)
	return int64(e), slot, errEpoch == nil && errSlot == nil && slotKey(ObjectName(cluster, int64(e)), slot) == key
}

// SealBytes is the size of a seal. Every other object of a log is larger.
const SealBytes = groupHeaderBytes

// IsSeal reports whether a body is the seal of a slot in the log of a broker epoch.
func IsSeal(body []byte, epoch int64, slot uint64) bool {
	h, ok := decodeHeader(body)
	return ok && len(body) == SealBytes && h.flags&flagSeal != 0 && h.epoch == epoch && h.sequence == slot
}
