package task

import (
	"iter"
	"slices"
)

// Queue is a first-in, first-out queue. It reuses its memory; push and pop take amortized constant time. The
// zero value is empty.
type Queue[T any] struct {
	items []T
	head  int
}

// Len returns the number of elements.
func (q *Queue[T]) Len() int { return len(q.items) - q.head }

// Push appends an element.
func (q *Queue[T]) Push(v T) {
	if q.head > 32 && q.head*2 >= len(q.items) {
		q.compact()
	}
	q.items = append(q.items, v)
}

// Front returns the oldest element, in place. The queue must not be empty.
func (q *Queue[T]) Front() *T { return &q.items[q.head] }

// Pop removes the oldest element. The queue must not be empty.
func (q *Queue[T]) Pop() T {
	v := q.items[q.head]
	var zero T
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return v
}

// All iterates over the elements, oldest first. The queue must not change meanwhile.
func (q *Queue[T]) All() iter.Seq[T] { return slices.Values(q.items[q.head:]) }

func (q *Queue[T]) compact() {
	n := copy(q.items, q.items[q.head:])
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
}
