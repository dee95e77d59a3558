// Package telemetry is what the core tells about itself: assertions of the
// numbered invariants, coverage marks that a simulation reads, and the handles
// of a node's metrics.
//
// It may call core/env only. It keeps no globals: a [Registry] belongs to one
// node, and goes with it when the node crashes. Everything is called on the
// loop but [Assert], which touches nothing.
package telemetry
