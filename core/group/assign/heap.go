package assign

// heap is a binary heap of members. Their order may change while they are in it: the caller then calls moved.
type heap struct {
	before func(a, b int32) bool
	items  []int32
	at     []int32 // where each member is in items
}

func newHeap(members int, before func(a, b int32) bool) heap {
	return heap{before: before, at: make([]int32, members)}
}

func (h *heap) len() int   { return len(h.items) }
func (h *heap) top() int32 { return h.items[0] }

// fill replaces what is in the heap.
func (h *heap) fill(members []int32) {
	h.items = append(h.items[:0], members...)
	for i, m := range h.items {
		h.at[m] = int32(i)
	}
	for i := int32(len(h.items)/2) - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap) pop() {
	last := int32(len(h.items) - 1)
	h.swap(0, last)
	h.items = h.items[:last]
	h.down(0)
}

// moved restores the order after that of a member of the heap changed.
func (h *heap) moved(m int32) {
	h.up(h.at[m])
	h.down(h.at[m])
}

func (h *heap) swap(i, j int32) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.at[h.items[i]], h.at[h.items[j]] = i, j
}

func (h *heap) up(i int32) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(h.items[i], h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap) down(i int32) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && int(child) < len(h.items); child++ {
			if h.before(h.items[child], h.items[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		h.swap(i, first)
		i = first
	}
}
