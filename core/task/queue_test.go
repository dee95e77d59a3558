package task

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQueueIsFirstInFirstOut(t *testing.T) {
	var q Queue[int]
	next, out := 0, 0
	for round := range 1000 {
		for range round % 7 {
			q.Push(next)
			next++
		}
		for range round % 5 {
			if q.Len() == 0 {
				break
			}
			require.Equal(t, out, *q.Front())
			require.Equal(t, out, q.Pop())
			out++
		}
		require.Equal(t, next-out, q.Len())
	}
}

// What is taken off moves nothing, and what is put in moves each item twice at most.
func TestQueueMovesLittle(t *testing.T) {
	var q Queue[int]
	const items = 10_000
	for i := range items {
		q.Push(i)
	}
	moves := 0
	for range items - 1 {
		second := &q.items[q.head+1]
		q.Pop()
		require.Same(t, second, q.Front())
		before := q.head
		q.Push(0)
		if q.head < before {
			moves += q.Len()
		}
	}
	require.LessOrEqual(t, moves, 2*items)
}
