package order

import (
	"cmp"
	"maps"
	"slices"
	"sort"
)

type pair struct{ key, value int }

type byKey []pair

func (s byKey) Len() int           { return len(s) }
func (s byKey) Less(i, j int) bool { return s[i].key < s[j].key }
func (s byKey) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

func ranges(m map[int]int) (total int) {
	for _, v := range m { // want "range over a map"
		total += v
	}
	for k := range maps.Keys(m) { // want "maps.Keys: "
		total += k
	}
	for v := range maps.Values(m) { // want "maps.Values: "
		total += v
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		total += m[k]
	}
	_ = slices.Sorted(maps.Values(m)) // want "maps.Values: "
	_ = slices.Collect(maps.Keys(m))  // want "maps.Keys: "
	return total
}

func generic[M map[int]int](m M) {
	for range m { // want "range over a map"
	}
}

func sorts(pairs []pair, ints []int, names []string) {
	sort.Slice(pairs, func(i, j int) bool { return pairs[i].key < pairs[j].key })    // want "sort.Slice: not stable"
	sort.Sort(byKey(pairs))                                                          // want "sort.Sort: not stable"
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.key, b.key) }) // want "slices.SortFunc: not stable"
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	sort.Stable(byKey(pairs))
	slices.Sort(ints)
	sort.Strings(names)
}
