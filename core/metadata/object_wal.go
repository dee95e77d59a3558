package metadata

import (
	"cmp"
	"slices"
)

// ObjectWAL is a WAL of the object kind, of an epoch that is current or owes something.
type ObjectWAL struct {
	Epoch BrokerEpoch
	Slot  uint64 // the lowest that may hold anything uncommitted of a living stream: where recovery begins (R6)
}

// ObjectWAL returns the lowest slot of an epoch's WAL from which on it may be needed. False: the WAL is a device's, or
// the epoch has ended and owes nothing.
func (im *Image) ObjectWAL(epoch BrokerEpoch) (slot uint64, ok bool) {
	if i, ok := im.searchObjectWAL(epoch); ok {
		return im.objectWALs[i].Slot, true
	}
	return 0, false
}

// ObjectWALs returns those of the object kind, ascending by epoch. Some may be of epochs that owe nothing any more.
func (im *Image) ObjectWALs() []ObjectWAL { return im.objectWALs }

func (im *Image) searchObjectWAL(epoch BrokerEpoch) (int, bool) {
	return slices.BinarySearchFunc(im.objectWALs, epoch, func(w ObjectWAL, epoch BrokerEpoch) int { return cmp.Compare(w.Epoch, epoch) })
}

// raiseSlot takes the lowest slot that a commit carries. Commits may apply in another order than they were proposed.
func (im *Image) raiseSlot(epoch BrokerEpoch, slot uint64) {
	if i, ok := im.searchObjectWAL(epoch); ok {
		im.objectWALs[i].Slot = max(im.objectWALs[i].Slot, slot)
	}
}

// SlotDead says that nobody will need a slot of an object WAL any more, unless it is a seal: it lies below where
// recovery begins, or its epoch has ended and owes nothing. Of an epoch above the applied index nothing is known.
func (im *Image) SlotDead(epoch BrokerEpoch, slot uint64) bool {
	if epoch <= 0 || uint64(epoch) > im.index {
		return false
	}
	if lowest, ok := im.ObjectWAL(epoch); ok && slot < lowest {
		return true
	}
	return !im.Current(epoch) && !im.EpochOwes(epoch)
}
