// Package compute is production's env.Computer: a fixed number of goroutines that
// run the core's pure functions off the loop, in the order of submission.
//
// By default there is one goroutine fewer than processors: Go lets a goroutine that
// computes keep its processor for ten milliseconds, and the loop must not wait that
// long for one. Submit never blocks: the core bounds what it submits. The package may import core/env only.
package compute
