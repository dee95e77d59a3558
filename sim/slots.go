package sim

import (
	"fmt"

	"weir/core/metadata"
	"weir/core/wal"
)

// deadSlot is a slot of an object log that its image gave up.
type deadSlot struct {
	epoch int64
	slot  uint64
}

// watchSlots holds the deletions of object logs against R6: a slot is deleted only when the image of who deletes it says
// that nobody needs it any more.
//
// Such a slot may get a second body, if that is a seal, which is the one case where R20 leaves room: a recoverer's seal is delayed, a late
// create of the log's writer wins the slot, is read, committed and deleted, and then the seal lands. No recovery reads it.
// All of them begin with the same slot, since no commit of an ended epoch's owner applies, and a slot from there on is given up only with the
// whole log. One whose image is so old that it still reads that log would seal the free slot itself, at the same end.
func (w *world) watchSlots() {
	w.deadSlots = map[string]deadSlot{}
	w.store.OnDelete = func(machine uint64, key string) {
		n, ok := coreOf(w.brokers[machine-1].machine.Node())
		if !ok {
			return
		}
		image := n.Image()
		epoch, slot, ok := wal.ParseSlotKey(image.ClusterID(), key)
		if !ok {
			return
		}
		if !image.SlotDead(metadata.BrokerEpoch(epoch), slot) {
			panic(fmt.Sprintf("sim: I5/R6: machine %d deletes %s, which its image does not give up", machine, key))
		}
		w.deadSlots[key] = deadSlot{epoch, slot}
	}
	w.store.Reborn = func(key string, body []byte) bool {
		dead, ok := w.deadSlots[key]
		if !ok || !wal.IsSeal(body, dead.epoch, dead.slot) {
			return false
		}
		w.queue.Hit("store: a seal came after its slot was given up")
		return true
	}
}
