// Package compute is production's env.Computer: a fixed number of goroutines that
// run the core's pure functions off the loop. The more urgent class goes first; within a class, the order is that of
// submission. What has waited for a second goes before all that was submitted later, so that nothing waits for ever. One goroutine is
// left to what acknowledgements wait for, whatever else there is to do.
//
// By default there is one goroutine fewer than processors for all else, and each yields after each piece of work: Go lets a goroutine that
// computes keep its processor for ten milliseconds, and the loop must not wait that
// long for one. Submit never blocks: the core bounds what it submits. The package may import core/env only.
package compute
