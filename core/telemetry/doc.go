// Package telemetry is what the core tells about itself: assertions of the
// numbered invariants, coverage marks that a simulation reads, the handles of a
// node's metrics, and lines for operators.
//
// A line that can repeat goes through a [Limiter]: one line per cause and
// interval, with a count of those left out, however often the trouble repeats. A
// [StoreWatch] stands between a node and its object store and tells how it fares.
//
// It may call core/env only. It keeps no globals: a [Registry] belongs to one
// node, and goes with it when the node crashes. Everything is called on the
// loop but [Assert], which touches nothing.
package telemetry
