// Package telemetry has the core's assertions of the numbered invariants, coverage
// marks that the simulator reads, the handles of a node's metrics, and log lines for
// operators.
//
// A line that can repeat goes through a [Limiter]: one line per cause and
// interval, with a count of those left out, however often the failure repeats. A
// [StoreWatch] wraps a node's object store and reports its failures.
//
// It may call core/env only. It keeps no globals: a [Registry] belongs to one
// node, and goes with it when the node crashes. Everything is called on the
// loop but [Assert], which touches nothing.
package telemetry
