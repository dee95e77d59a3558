// Package compute is production's env.Computer: a fixed number of goroutines that
// run the core's pure functions off the loop. The more urgent class goes first; within a class, the order is that of
// submission. One goroutine is for what acknowledgements wait for, and takes nothing else while the others have work.
//
// By default there is one goroutine fewer than processors for all else, and each yields after each piece of work: Go lets a goroutine that
// computes keep its processor for ten milliseconds, and the loop must not wait that
// long for one. Submit never blocks: the core bounds what it submits. The package may import core/env only.
package compute
