package checker

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Group is the history of one consumer group.
type Group struct {
	Name string
	// Mixed: it has members that do not speak the classic protocol; generations are then member epochs.
	Mixed bool
	// Simple: it has no members. One client makes all commits, plain ones and staged ones.
	Simple bool
	// Retention is after how many nanoseconds without a commit the offsets of an empty group may
	// expire; 0: never.
	Retention int64
	Commits   []OffsetCommit
	Deletions []OffsetDeletion
	Fetches   []OffsetFetch
	Syncs     []Sync
	Owned     []Ownership
}

// OffsetCommit is the commit of one partition's offset. Its index, plus one, is its number: it travels as the
// metadata of the commit, so that a fetch tells which one it saw.
type OffsetCommit struct {
	Client    int32
	Partition string
	Offset    int64
	// Generation is that of a member of the classic protocol; -1: of no member, or of another protocol.
	Generation int32
	// Transaction is the index, plus one, of the transaction that it is part of; 0 is none.
	Transaction  int32
	Outcome      Outcome
	Code         int16
	Call, Return int64
}

// OffsetDeletion deletes a partition's offset, and what transactions have staged for it.
type OffsetDeletion struct {
	Partition    string
	Outcome      Outcome
	Call, Return int64 // without an answer, Return has no bound
}

// OffsetFetch is what an OffsetFetch said of one partition.
type OffsetFetch struct {
	Client    int32
	Partition string
	Offset    int64 // -1: none
	Number    int32 // of the commit; 0: none
	// Stable: the fetch waited for open transactions (require_stable).
	Stable       bool
	Call, Return int64
}

// Sync is an assignment in a generation of the classic protocol.
type Sync struct {
	Client     int32
	Member     string // the instance id of a static member, else the member id
	Generation int32
	Partitions []string
	Call       int64
	Return     int64
}

// Ownership is a time in which a member certainly owned a partition: from the answer that assigned it until the
// call of the last request that the coordinator took while the member had not given it up.
type Ownership struct {
	Client    int32
	Member    string // as in [Sync]
	Epoch     int32  // generation or member epoch
	Partition string
	From, To  int64 // stamps
}

type group struct {
	*Group
	transactions []Transaction
	found        []Violation
}

// CheckGroup checks a group's history. It runs after [CheckTransactions], which finds out which transactions took
// effect. It takes about n log n.
func CheckGroup(g *Group, transactions []Transaction) []Violation {
	c := &group{Group: g, transactions: transactions}
	c.checkOffsets()
	c.checkOwners()
	if g.Retention == 0 && !g.Mixed { // else a group that expired begins again with generation 1
		c.checkGenerations()
		c.checkZombies()
	}
	return c.found
}

func (g *group) violate(invariant, format string, args ...any) {
	if len(g.found) < 8 {
		g.found = append(g.found, Violation{invariant, "group " + g.Name + ": " + fmt.Sprintf(format, args...)})
	}
}

func (c *OffsetCommit) describe(number int) string {
	answer := c.Outcome.String()
	if c.Outcome != Done && c.Code != 0 {
		answer += ", " + CodeName(c.Code)
	}
	return fmt.Sprintf("commit %d of %s at %d (client %d, called at %s, %s)", number, c.Partition, c.Offset, c.Client, instant(c.Call), answer)
}

func (f *OffsetFetch) describe() string {
	return fmt.Sprintf("client %d's fetch of the offset of %s (%s to %s)", f.Client, f.Partition, instant(f.Call), instant(f.Return))
}

// effect is when a commit may have taken effect: a transaction's does so between the call of EndTxn and its answer.
func (g *group) effect(c *OffsetCommit) (call, back int64, possible bool) {
	if c.Transaction == 0 {
		if c.Outcome != Done {
			return c.Call, math.MaxInt64, c.Outcome != Failed
		}
		return c.Call, c.Return, true
	}
	txn := &g.transactions[c.Transaction-1]
	yes, certain := txn.committed()
	switch {
	case txn.Stale:
		return c.Call, math.MaxInt64, true
	case certain && !yes || c.Outcome == Failed:
		return 0, 0, false
	}
	switch over, maybe := g.overridden(c, txn); {
	case over:
		return 0, 0, false
	case yes && c.Outcome == Done && !maybe:
		return txn.Call, txn.Return, true
	}
	return txn.Call, math.MaxInt64, true
}

// overridden reports whether a commit that a transaction has staged is void when the transaction commits: a plain commit or a
// deletion came between the two. maybe: it may have.
func (g *group) overridden(c *OffsetCommit, txn *Transaction) (over, maybe bool) {
	between := func(partition string, outcome Outcome, call, back int64) {
		if partition != c.Partition || outcome == Failed {
			return
		}
		over = over || outcome == Done && c.Outcome == Done && call > c.Return && back < txn.Call
		maybe = maybe || back > c.Call && call < txn.Return
	}
	for i := range g.Deletions {
		d := &g.Deletions[i]
		between(d.Partition, d.Outcome, d.Call, d.Return)
	}
	if !g.Simple {
		return over, maybe
	}
	for i := range g.Commits {
		if p := &g.Commits[i]; p.Transaction == 0 {
			between(p.Partition, p.Outcome, p.Call, p.Return)
		}
	}
	return over, maybe
}

// zone is a commit with the fetches that saw it. It is a register's write: it took effect before the first answer of
// all of them, and was in effect at the last call (Gibbons and Korach, Testing Shared Memories, 1997).
type zone struct {
	number int
	call   int64 // before it took effect
	first  int64 // earliest answer
	last   int64 // latest call
	by     *OffsetFetch
}

// checkOffsets: the committed offset of each partition is a register: a fetch sees the last commit (I9).
func (g *group) checkOffsets() {
	zones := map[string][]*zone{}
	var order []string
	byCommit := make([]*zone, len(g.Commits))
	for i := range g.Commits {
		c := &g.Commits[i]
		call, back, possible := g.effect(c)
		if !possible {
			continue
		}
		if zones[c.Partition] == nil {
			order = append(order, c.Partition)
		}
		byCommit[i] = &zone{i + 1, call, back, call, nil}
		zones[c.Partition] = append(zones[c.Partition], byCommit[i])
	}
	for i := range g.Fetches {
		g.placeFetch(&g.Fetches[i], byCommit)
	}
	for _, partition := range order {
		g.checkZones(partition, zones[partition])
		g.checkDeleted(partition, zones[partition])
	}
	g.checkMissing(zones)
}

func (g *group) placeFetch(f *OffsetFetch, byCommit []*zone) {
	if f.Number == 0 {
		if f.Offset >= 0 {
			g.violate("I9", "%s was told %d, without metadata", f.describe(), f.Offset)
		}
		return
	}
	if f.Number < 0 || int(f.Number) > len(g.Commits) {
		g.violate("I9", "%s was told %d of commit %d, which nobody sent", f.describe(), f.Offset, f.Number)
		return
	}
	c, z := &g.Commits[f.Number-1], byCommit[f.Number-1]
	switch {
	case c.Partition != f.Partition || c.Offset != f.Offset:
		g.violate("I9", "%s was told %d of another commit: %s", f.describe(), f.Offset, c.describe(int(f.Number)))
		return
	case z == nil:
		g.violate("I9", "%s was told %d of what never took effect: %s", f.describe(), f.Offset, c.describe(int(f.Number)))
		return
	case z.last >= f.Return && z.by == nil:
		g.violate("I9", "%s was told %d before it could take effect: %s", f.describe(), f.Offset, c.describe(int(f.Number)))
	}
	if !f.Stable {
		return // it may see what was committed before an open transaction
	}
	z.first = min(z.first, f.Return)
	if f.Call > z.last {
		z.last, z.by = f.Call, f
	}
}

// checkZones: a commit that was in effect for some time excludes others from it: two such times do not overlap, and none holds a
// whole other commit.
func (g *group) checkZones(partition string, zones []*zone) {
	var forward, backward []*zone
	for _, z := range zones {
		switch {
		case z.first == math.MaxInt64: // it may never have taken effect
		case z.first < z.last:
			forward = append(forward, z)
		default:
			backward = append(backward, z)
		}
	}
	slices.SortStableFunc(forward, func(a, b *zone) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(forward); i++ {
		if a, b := forward[i-1], forward[i]; b.first < a.last {
			g.rolledBack(partition, a, b)
			return
		}
	}
	for _, z := range backward { // it took effect after last and before first
		i, _ := slices.BinarySearchFunc(forward, z.last, func(f *zone, at int64) int { return cmp.Compare(f.first, at) })
		if i > 0 && z.last > forward[i-1].first && z.first < forward[i-1].last {
			g.rolledBack(partition, forward[i-1], z)
			return
		}
	}
}

func (g *group) rolledBack(partition string, a, b *zone) {
	seen := "acknowledged"
	if a.by != nil {
		seen = a.by.describe()
	}
	g.violate("I9", "%s: %s was in effect from %s at the latest until %s at the earliest (%s), but meanwhile there was %s", partition,
		g.Commits[a.number-1].describe(a.number), instant(a.first), instant(a.last), seen, g.Commits[b.number-1].describe(b.number))
}

// checkMissing: once there was a commit there is one always, until it expires.
func (g *group) checkMissing(zones map[string][]*zone) {
	type known struct {
		z     *zone
		since int64
	}
	first := map[string]known{} // by partition
	for partition, list := range zones {
		for _, z := range list {
			if k, ok := first[partition]; z.first != math.MaxInt64 && (!ok || z.first < k.since) {
				first[partition] = known{z, z.first}
			}
		}
	}
	for i := range g.Fetches {
		f := &g.Fetches[i]
		k, ok := first[f.Partition]
		if f.Number != 0 || !ok || k.since >= f.Call {
			continue
		}
		if g.Retention > 0 && g.mayHaveExpired(zones[f.Partition], f) || g.mayBeGone(zones[f.Partition], f) {
			continue
		}
		g.violate("I9", "%s was told that there is none, after %s", f.describe(), g.Commits[k.z.number-1].describe(k.z.number))
		return
	}
}

// checkDeleted: what was in effect before a deletion is not seen after it.
func (g *group) checkDeleted(partition string, zones []*zone) {
	for i := range g.Deletions {
		d := &g.Deletions[i]
		if d.Partition != partition || d.Outcome != Done {
			continue
		}
		for _, z := range zones {
			if z.by != nil && z.first < d.Call && d.Return < z.last {
				g.violate("I9", "%s was deleted from %s to %s, and %s was told of %s", partition, instant(d.Call), instant(d.Return), z.by.describe(), g.Commits[z.number-1].describe(z.number))
				return
			}
		}
	}
}

// mayBeGone reports whether a deletion may have come after every commit that was certainly in effect.
func (g *group) mayBeGone(zones []*zone, f *OffsetFetch) bool {
	for i := range g.Deletions {
		d := &g.Deletions[i]
		if d.Partition != f.Partition || d.Outcome == Failed || d.Call > f.Return {
			continue
		}
		if !slices.ContainsFunc(zones, func(z *zone) bool { return z.first < f.Call && z.call > d.Return }) {
			return true
		}
	}
	return false
}

// mayHaveExpired reports whether no commit that was certainly in effect is younger than the retention.
func (g *group) mayHaveExpired(zones []*zone, f *OffsetFetch) bool {
	for _, z := range zones {
		if z.first < f.Call && g.Commits[z.number-1].Call+g.Retention > f.Return {
			return false
		}
	}
	return true
}

// deletionMin is less than the time that a group takes to lose its members and be deleted, in nanoseconds.
const deletionMin = 100_000_000

// checkGenerations: within a generation a partition has one owner. A group that is empty and has no offsets is deleted, and
// its generations count from one again.
func (g *group) checkGenerations() {
	type key struct {
		generation int32
		partition  string
	}
	owners := map[key]*Sync{}
	var newest *Sync
	for i := range g.Syncs {
		s := &g.Syncs[i]
		if newest != nil && s.Generation <= newest.Generation && s.Call > newest.Return+deletionMin && g.mayBeDeleted(s.Call) {
			owners, newest = map[key]*Sync{}, nil
		}
		if newest == nil || s.Generation >= newest.Generation {
			newest = s
		}
		for _, p := range s.Partitions {
			k := key{s.Generation, p}
			if before := owners[k]; before != nil && before.Member != s.Member {
				g.violate("group", "%s has two owners in generation %d: %s (client %d, at %s) and %s (client %d, at %s)", p, s.Generation,
					before.Member, before.Client, instant(before.Return), s.Member, s.Client, instant(s.Return))
				return
			}
			owners[k] = s
		}
	}
}

// mayBeDeleted reports whether the group may have been without offsets before an instant.
func (g *group) mayBeDeleted(at int64) bool {
	if g.Retention > 0 {
		return true
	}
	for i := range g.Commits {
		if c := &g.Commits[i]; c.Outcome == Done && c.Return < at {
			return false
		}
	}
	return true
}

// checkOwners: no two members own a partition at one time.
func (g *group) checkOwners() {
	owned := map[string][]Ownership{}
	var order []string
	for _, o := range g.Owned {
		if o.From >= o.To {
			continue
		}
		if owned[o.Partition] == nil {
			order = append(order, o.Partition)
		}
		owned[o.Partition] = append(owned[o.Partition], o)
	}
	for _, partition := range order {
		list := owned[partition]
		slices.SortStableFunc(list, func(a, b Ownership) int { return cmp.Compare(a.From, b.From) })
		longest := list[0]
		for _, o := range list[1:] {
			if o.From < longest.To && o.Member != longest.Member {
				g.violate("group", "%s has two owners: %s (client %d, epoch %d, %s to %s) and %s (client %d, epoch %d, %s to %s)", partition,
					longest.Member, longest.Client, longest.Epoch, instant(longest.From), instant(longest.To), o.Member, o.Client, o.Epoch, instant(o.From), instant(o.To))
				return
			}
			if o.To > longest.To {
				longest = o
			}
		}
	}
}

// checkZombies: a commit of a generation is refused once a member was assigned partitions in a later one.
func (g *group) checkZombies() {
	syncs := slices.Clone(g.Syncs)
	slices.SortStableFunc(syncs, func(a, b Sync) int { return cmp.Compare(a.Return, b.Return) })
	highest := make([]int32, len(syncs)+1)
	highest[0] = -1
	last := int64(math.MinInt64) // return of the newest sync
	for i := range syncs {
		highest[i+1] = max(highest[i], syncs[i].Generation)
		if syncs[i].Call > last && g.mayBeDeleted(syncs[i].Call) {
			highest[i+1] = syncs[i].Generation
		}
		last = syncs[i].Return
	}
	for i := range g.Commits {
		c := &g.Commits[i]
		if c.Generation < 0 || c.Outcome != Done {
			continue
		}
		n, _ := slices.BinarySearchFunc(syncs, c.Call, func(s Sync, at int64) int { return cmp.Compare(s.Return, at) })
		if c.Generation < highest[n] {
			g.violate("group", "%s of generation %d was taken, though generation %d had begun", c.describe(i+1), c.Generation, highest[n])
			return
		}
	}
}
