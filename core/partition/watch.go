package partition

// Watch waits for a partition to change: a fetch with nothing to return yet. Its zero
// value is on no partition.
type Watch struct {
	// Moved is called whenever there may be more to read, and when the partition closes,
	// until the watch is taken back. It must not append, watch or unwatch before it
	// returns: it posts that.
	Moved func()

	on        *Partition
	index     int
	isolation Isolation
	since     int64 // of what the isolation lets see
	end       int64 // ReadableEnd, then
}

// Watch puts w on the partition, until Unwatch or the partition closes. It counts what a
// reader of the isolation may see.
func (p *Partition) Watch(w *Watch, i Isolation) {
	if w.on != nil {
		panic("partition: watch set twice")
	}
	w.on, w.index, w.isolation, w.since, w.end = p, len(p.watches), i, p.readableBytes(i), p.ReadableEnd(i)
	p.watches = append(p.watches, w)
}

// readableBytes is how many bytes became readable since the partition opened, as far as the isolation lets see.
func (p *Partition) readableBytes(i Isolation) int64 {
	if i == ReadCommitted && len(p.state.open) > 0 {
		return p.state.open[0].bytesBefore
	}
	return p.durableBytes
}

// Unwatch takes w off its partition. On none, it does nothing.
func (w *Watch) Unwatch() {
	p := w.on
	if p == nil {
		return
	}
	last := len(p.watches) - 1
	moved := p.watches[last]
	p.watches[w.index], moved.index = moved, w.index
	p.watches[last] = nil
	p.watches = p.watches[:last]
	w.on = nil
}

// bytesUnknown is more than a reader waits for; those of many partitions can be added.
const bytesUnknown = 1 << 40

// Watching reports whether w is on a partition.
func (w *Watch) Watching() bool { return w.on != nil }

// Bytes is how many bytes became readable on the partition since Watch. They are more than any reader waits for where
// nobody knows: between two transactions that are older than the opening of the partition.
func (w *Watch) Bytes() int64 {
	if w.on == nil {
		return 0
	}
	if p := w.on; w.isolation == ReadCommitted && len(p.state.open) > 0 && p.state.open[0].bytesBefore == openBefore && p.ReadableEnd(w.isolation) > w.end {
		return bytesUnknown
	}
	return min(w.on.readableBytes(w.isolation)-w.since, bytesUnknown) // the last of the older transactions may have ended
}

func (p *Partition) wake() {
	for _, w := range p.watches {
		w.Moved()
	}
}

// dropWatches tells every watcher, and takes it off.
func (p *Partition) dropWatches() {
	watches := p.watches
	p.watches = nil
	for _, w := range watches {
		w.on = nil
		w.Moved()
	}
}
