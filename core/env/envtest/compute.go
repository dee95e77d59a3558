package envtest

import (
	"testing"

	"weir/core/env"
)

// TestComputer runs the contract tests of env.Computer. fresh gives a computer and
// its pump: pump delivers at least one completion on the caller's goroutine, if work
// is under way, and waits for it if the world runs on its own.
func TestComputer(t *testing.T, fresh func(testing.TB) (c env.Computer, pump func())) {
	t.Run("EachOnce", func(t *testing.T) { testComputesOnce(t, fresh) })
	t.Run("CompletionIsNotInline", func(t *testing.T) { testComputesNotInline(t, fresh) })
	t.Run("SubmittedByCompletion", func(t *testing.T) { testComputesChained(t, fresh) })
}

func testComputesOnce(t *testing.T, fresh func(testing.TB) (env.Computer, func())) {
	c, pump := fresh(t)
	const n = 200
	var worked, done [n]int
	left := n
	for i := range n {
		c.Submit(&env.Compute{
			Work: func() { worked[i]++ },
			Done: func(*env.Compute) { done[i]++; left-- },
		})
	}
	for left > 0 {
		pump()
	}
	for i := range n {
		if worked[i] != 1 || done[i] != 1 {
			t.Fatalf("computation %d ran %d times and completed %d times", i, worked[i], done[i])
		}
	}
}

func testComputesNotInline(t *testing.T, fresh func(testing.TB) (env.Computer, func())) {
	c, pump := fresh(t)
	submitted, done := false, false
	c.Submit(&env.Compute{Work: func() {}, Done: func(*env.Compute) {
		if !submitted {
			t.Error("completed inside the call that submitted it")
		}
		done = true
	}})
	submitted = true
	for !done {
		pump()
	}
}

func testComputesChained(t *testing.T, fresh func(testing.TB) (env.Computer, func())) {
	c, pump := fresh(t)
	sum, done := 0, false
	c.Submit(&env.Compute{Work: func() { sum++ }, Done: func(o *env.Compute) {
		if sum < 10 {
			c.Submit(o)
			return
		}
		done = true
	}})
	for !done {
		pump()
	}
}
