package controller_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
)

const slotPrefix = "cluster/wal/"

func slotKey(epoch metadata.BrokerEpoch, slot uint64) string {
	return fmt.Sprintf("%s%06d/%d", slotPrefix, epoch, slot)
}

func parseSlot(key string) (epoch metadata.BrokerEpoch, slot uint64, ok bool) {
	n, err := fmt.Sscanf(key, slotPrefix+"%d/%d", &epoch, &slot)
	return epoch, slot, err == nil && n == 2
}

// slotRig is a rig whose broker has an object WAL of some slots.
func slotRig(t *testing.T, shipped func() uint64) *rig {
	r := newRig(t)
	r.store.sizes = map[string]int64{}
	r.registerWithObjects()
	s := controller.NewSlotSweeper(controller.SlotSweeperOptions{
		Loop: r.loop, Env: env.Env{Clock: r, Rand: r, Store: r.store}, Telemetry: r.telemetry, Image: r.image, Shipped: shipped,
		Prefix: slotPrefix, Parse: parseSlot, SealBytes: 64, ListInterval: 10 * time.Second, ListPage: 2,
	})
	s.Start()
	return r
}

func (r *rig) registerWithObjects() {
	r.c.RegisterBroker(metadata.Broker{ID: 1, Listeners: listeners}, true, func(epoch metadata.BrokerEpoch, err error) {
		r.must(err)
		r.epoch = epoch
	})
}

func (r *rig) slot(epoch metadata.BrokerEpoch, slot uint64, bytes int64) string {
	key := slotKey(epoch, slot)
	r.store.objects[key], r.store.sizes[key] = true, bytes
	return key
}

// commitSlot commits the next offsets of a stream, and names the lowest slot.
func (r *rig) commitSlot(object metadata.ObjectID, stream metadata.StreamID, slot uint64) {
	s, _ := r.image.Stream(stream)
	part := controller.CommitPart{Stream: stream, LeaderEpoch: s.Newest().LeaderEpoch, Checkpoint: []byte("state")}
	part.Part.Start, part.Part.End = s.Newest().Committed, s.Newest().Committed+10
	r.c.Commit(object, r.epoch, 10, slot, []controller.CommitPart{part}, func(_ []bool, err error) { r.must(err) })
}

func TestSlotsBelowTheLowestOneGo(t *testing.T) {
	r := slotRig(t, func() uint64 { return 1 << 40 })
	stream := r.topic("t", 1).Partitions[0].Stream
	var keys []string
	for slot := range uint64(6) {
		keys = append(keys, r.slot(r.epoch, slot, 100))
	}
	other := r.slot(r.epoch+1000, 0, 100)
	first := r.lease(1)
	r.pass(time.Minute)
	require.Equal(t, append(keys, other), r.store.keys(slotPrefix), "nothing is committed")
	r.commitSlot(first, stream, 3)
	r.pass(time.Minute)
	require.Equal(t, append(keys[3:], other), r.store.keys(slotPrefix), "nothing is known of a later epoch")
}

// Seals stay for as long as the cluster lives (R6), whatever lies around them goes with what the epoch owes.
func TestSealsStay(t *testing.T) {
	r := slotRig(t, func() uint64 { return 1 << 40 })
	stream := r.topic("t", 1).Partitions[0].Stream
	ended := r.epoch
	r.slot(ended, 0, 72)
	r.slot(ended, 1, 100)
	seal := r.slot(ended, 2, 64)
	r.slot(ended, 4, 100) // a create that came late
	r.registerWithObjects()
	r.pass(time.Minute)
	require.Len(t, r.store.keys(slotPrefix), 4, "it owes an open range")
	s, _ := r.image.Stream(stream)
	r.c.TakeOver(r.epoch, []metadata.RangeEnd{{Stream: stream, LeaderEpoch: s.Newest().LeaderEpoch}}, r.must)
	r.pass(time.Minute)
	require.Equal(t, []string{seal}, r.store.keys(slotPrefix))
}

// What a record says that is not shipped yet is deleted later (R19), and a store that fails is asked again.
func TestSlotsWaitForTheShipment(t *testing.T) {
	shipped := uint64(0)
	r := slotRig(t, func() uint64 { return shipped })
	stream := r.topic("t", 1).Partitions[0].Stream
	key := r.slot(r.epoch, 0, 100)
	r.commitSlot(r.lease(1), stream, 1)
	r.pass(time.Minute)
	require.True(t, slices.Contains(r.store.keys(slotPrefix), key))
	shipped = 1 << 40
	r.store.fail = func(string) env.Outcome { return env.OutcomeUnknown }
	r.pass(time.Minute)
	require.True(t, slices.Contains(r.store.keys(slotPrefix), key))
	r.store.fail = nil
	r.pass(2 * time.Minute)
	require.False(t, slices.Contains(r.store.keys(slotPrefix), key))
}
