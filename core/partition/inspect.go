package partition

import (
	"weir/core/env"
	"weir/core/record"
)

// What a batch may decompress to when it is opened: so many bytes, or times its
// size if that is more. A stranger's batch of 64 KiB can be 64 MiB of zeros.
const (
	inspectBytesLeast = 16 << 20
	inspectRatioMax   = 32
)

// inspection is one batch whose records are to be looked at.
type inspection struct {
	partition *Partition
	append    *Append
}

// inspect opens a compressed batch off the loop, to see whether all records have
// keys, or what their timestamps are. Until it is done, the append holds its place
// in the queue. Of all partitions one batch is open at a time: each may be many
// times its size in memory, and others need Compute too.
func (p *Partition) inspect(a *Append) {
	a.inspecting = true
	p.manager.inspections.push(inspection{p, a})
	p.manager.inspectNext()
}

func (m *Manager) inspectNext() {
	for m.inspecting == nil && m.inspections.len() > 0 {
		next := m.inspections.pop()
		if a := next.append; !a.dropped && a.Deadline > m.loop.Now() {
			m.inspecting = a
			next.open(m)
			return
		}
		next.append.late = true
		next.done()
	}
}

func (i inspection) open(m *Manager) {
	var facts record.Facts
	var err error
	a := i.append
	m.env.Compute.Submit(&env.Compute{
		Work: func() { facts, err = record.Inspect(a.Data, max(inspectBytesLeast, inspectRatioMax*len(a.Data))) },
		Done: func(*env.Compute) {
			m.inspecting = nil
			a.seen(facts, err)
			i.done()
			m.inspectNext()
		},
	})
}

// seen notes what the look at the records found.
func (a *Append) seen(facts record.Facts, err error) {
	a.Keyless, a.invalid = facts.Keyless, err
	if err == nil && a.Unopened {
		a.MinTimestamp, a.MaxTimestamp = facts.MinTimestamp, facts.MaxTimestamp
		CorrectMaxTimestamp(a, facts.MaxTimestamp)
	}
}

// CorrectMaxTimestamp puts the largest timestamp in a batch's header right, as Kafka
// does for the clients that get it wrong.
func CorrectMaxTimestamp(a *Append, millis int64) {
	if a.Header.MaxTimestamp != millis && !a.Header.LogAppendTime() {
		record.SetMaxTimestamp(a.Data, millis)
		a.Header.MaxTimestamp = millis
	}
}

// done goes on with an append that was looked at, or not, its time being over.
func (i inspection) done() {
	a, p := i.append, i.partition
	a.inspecting = false
	if a.dropped {
		a.Release()
		return
	}
	if !p.blocked {
		p.pump()
	}
}
