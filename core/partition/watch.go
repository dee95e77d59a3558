package partition

// Watcher waits for a partition to change: a fetch with nothing to return yet.
type Watcher interface {
	// Moved says that the watched partition's high watermark moved, or that it
	// closed. It is called for every move until the watch is taken back. It must
	// not append, watch or unwatch before it returns: it posts that.
	Moved(w *Watch)
}

// Watch is a watcher's place on one partition. Its zero value is on none.
type Watch struct {
	Watcher Watcher
	on      *Partition
	index   int
	since   int64
}

// Watch puts w on the partition, until Unwatch or the partition closes.
func (p *Partition) Watch(w *Watch) {
	if w.on != nil {
		panic("partition: watch set twice")
	}
	w.on, w.index, w.since = p, len(p.watches), p.durableBytes
	p.watches = append(p.watches, w)
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

// Watching reports whether w is on a partition.
func (w *Watch) Watching() bool { return w.on != nil }

// Bytes is how many bytes became durable on the partition since Watch.
func (w *Watch) Bytes() int64 {
	if w.on == nil {
		return 0
	}
	return w.on.durableBytes - w.since
}

func (p *Partition) wake() {
	for _, w := range p.watches {
		w.Watcher.Moved(w)
	}
}

// dropWatches tells every watcher, and takes it off.
func (p *Partition) dropWatches() {
	watches := p.watches
	p.watches = nil
	for _, w := range watches {
		w.on = nil
		w.Watcher.Moved(w)
	}
}
