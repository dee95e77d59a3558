package checker

import (
	"fmt"
	"slices"
)

// Keyed is the history of one partition that is compacted by key. It has one writer, who sends a batch only once the one
// before has its answer, so that the log holds the writes in their order.
type Keyed struct {
	Name string
	// TombstonesStay says that the time of tombstones outlives the run: then each is there until its key is written again.
	TombstonesStay bool
	// Transactional says that the writes are in transactions: a commit that is acknowledged is seen once its marker is written.
	Transactional bool
	Writes        []KeyedWrite
	Scans         []KeyedScan
	// Lost are offsets that were given up with the only log that held them: what was written there counts for nothing, and
	// what was not acknowledged of it may come again behind them.
	Lost []Lost
	// OutOfOrder is how often the writer was told that a batch before its own is missing.
	OutOfOrder int
}

// lost reports whether an offset was given up.
func (k *Keyed) lost(offset int64) bool {
	return slices.ContainsFunc(k.Lost, func(gone Lost) bool { return gone.holds(offset) })
}

// KeyedWrite is one record that was written. Its index in Keyed.Writes is what its timestamp says.
type KeyedWrite struct {
	Key       int32
	Tombstone bool
	// Outcome is Done once a reader of committed records has to see the write, or a later one of its key; Failed, if no reader
	// may see it.
	Outcome Outcome
	// Call is the stamp at which it was first sent, and Return that since which the outcome is known.
	Call, Return int64
	Base         int64 // offset that was acknowledged; -1: none was
}

// KeyedScan is one reading of committed records, from the log start until nothing more was there.
type KeyedScan struct {
	Client       int32
	Call, Return int64
	End          int64 // where it came to: nothing lies above, or nothing that is committed
	Records      []KeyedRecord
	// Compacted is the offset up to which the log was compacted before, while no broker has an older copy of it in memory: below,
	// it has one record of each key at most. 0: nobody knows.
	Compacted int64
}

// KeyedRecord is a record as it was read.
type KeyedRecord struct {
	Offset    int64
	Write     int32 // index
	Key       int32
	Tombstone bool
}

func (s *KeyedScan) describe() string {
	return fmt.Sprintf("client %d's reading of the whole log (%s to %s)", s.Client, instant(s.Call), instant(s.Return))
}

// CheckKeyed holds what readers of a compacted partition saw against a model of Kafka's cleaner: whatever it took away, a
// reader sees the last value of each key, in the order of the writes, and each offset has one record for ever.
func CheckKeyed(k *Keyed) (found []Violation) {
	c := keyedCheck{Keyed: k, at: map[int64]int32{}, offsets: make([]int64, len(k.Writes))}
	if k.OutOfOrder > 0 && len(k.Lost) == 0 {
		c.violate("I6", "the writer was told %d times that a batch is missing, which was acknowledged, and nothing was given up", k.OutOfOrder)
	}
	for i := range k.Writes {
		c.offsets[i] = -1
		if w := &k.Writes[i]; w.Outcome == Done && w.Base >= 0 {
			c.place(w.Base, int32(i), "acknowledged")
		}
	}
	for i := range k.Scans {
		c.scan(&k.Scans[i])
	}
	return c.found
}

type keyedCheck struct {
	*Keyed
	at      map[int64]int32 // by offset
	offsets []int64         // by write
	found   []Violation
}

func (c *keyedCheck) violate(invariant, format string, args ...any) {
	if len(c.found) < 4 {
		c.found = append(c.found, Violation{invariant, c.Name + ": " + fmt.Sprintf(format, args...)})
	}
}

func (c *keyedCheck) write(i int32) string {
	w := &c.Writes[i]
	what := "value"
	if w.Tombstone {
		what = "tombstone"
	}
	return fmt.Sprintf("%s %d of key %d (%s)", what, i, w.Key, w.Outcome)
}

// place: an offset has one record, and a record one offset.
func (c *keyedCheck) place(offset int64, write int32, how string) {
	if other, there := c.at[offset]; there && other != write {
		c.violate("I2", "offset %d has two records: %s and, %s, %s", offset, c.write(other), how, c.write(write))
	}
	if before := c.offsets[write]; before >= 0 && before != offset && !c.lost(before) {
		c.violate("I6", "%s lies at offset %d and, %s, at %d", c.write(write), before, how, offset)
	}
	c.at[offset], c.offsets[write] = write, offset
}

func (c *keyedCheck) scan(s *KeyedScan) {
	last := map[int32]int32{} // by key: the last write that was seen
	counted := map[int32]int{}
	before := int64(-1)
	highest := int32(-1)
	for _, r := range s.Records {
		if r.Write < 0 || int(r.Write) >= len(c.Writes) {
			c.violate("I2", "%s found a record at offset %d that nobody wrote", s.describe(), r.Offset)
			return
		}
		switch w := &c.Writes[r.Write]; {
		case w.Key != r.Key || w.Tombstone != r.Tombstone:
			c.violate("I2", "%s found %s at offset %d with key %d (tombstone: %v)", s.describe(), c.write(r.Write), r.Offset, r.Key, r.Tombstone)
		case w.Outcome == Failed:
			c.violate("I7", "%s found %s at offset %d", s.describe(), c.write(r.Write), r.Offset)
		case c.lost(r.Offset): // it was read before it was lost
			c.place(r.Offset, r.Write, "read")
			continue
		case r.Offset <= before || r.Write <= highest:
			c.violate("I2", "%s found %s at offset %d after offset %d, write %d", s.describe(), c.write(r.Write), r.Offset, before, highest)
		}
		c.place(r.Offset, r.Write, "read")
		before, highest = r.Offset, r.Write
		last[r.Key] = r.Write
		if r.Offset < s.Compacted {
			counted[r.Key]++
		}
	}
	c.checkLatest(s, last)
	for _, key := range sortedKeys(counted) {
		if counted[key] > 1 {
			c.violate("compaction", "%s found %d records of key %d below %d, although it was compacted up to there before", s.describe(), counted[key], key, s.Compacted)
		}
	}
}

// checkLatest: of each key a reader saw at last what was known to be in the log when it began, or what came later.
func (c *keyedCheck) checkLatest(s *KeyedScan, last map[int32]int32) {
	known := map[int32]int32{}
	for i := range c.Writes {
		switch w := &c.Writes[i]; {
		case w.Outcome != Done || w.Return >= s.Call || w.Base < 0 || c.lost(w.Base):
		case w.Base < s.End:
			known[w.Key] = int32(i)
		case !c.Transactional:
			c.violate("I3", "%s ended at %d, although %s was acknowledged at %d before", s.describe(), s.End, c.write(int32(i)), w.Base)
			return
		}
	}
	for _, key := range sortedKeys(known) {
		want := known[key]
		got, seen := last[key]
		switch {
		case seen && got >= want:
		case !seen && !c.TombstonesStay && (c.Writes[want].Tombstone || c.deletedSince(key, want, s)):
		case seen && c.Writes[want].Tombstone && !c.TombstonesStay && want >= 0 && c.Writes[want].Base >= s.Compacted: // it was read before it was compacted away, and its tombstone after
		case !seen:
			c.violate("I1", "%s found nothing of key %d, although %s was in the log before", s.describe(), key, c.write(want))
		default:
			c.violate("I1", "%s found %s at last of key %d, although %s was in the log before", s.describe(), c.write(got), key, c.write(want))
		}
	}
}

// deletedSince: a tombstone that came later may be gone again, with all that it hid.
func (c *keyedCheck) deletedSince(key, write int32, s *KeyedScan) bool {
	for i := int(write) + 1; i < len(c.Writes); i++ {
		if w := &c.Writes[i]; w.Key == key && w.Tombstone && w.Outcome != Failed && w.Call < s.Return {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[int32]V) []int32 {
	keys := make([]int32, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
