// Package machine is one simulated machine: what of a node's environment is
// neither disk, store nor network, and the driver that gives a node its turns.
//
// # Fault model
//
//   - Clocks: each incarnation's monotonic clock has its own zero and drift; the
//     wall clock has an offset and may be stepped either way. A pause stops the
//     loop while every clock, device and timer goes on.
//   - The loop: a turn costs time, during which events gather in the mailbox; a
//     turn may come late.
//   - Crash: whatever the incarnation submitted and has not got back is never
//     delivered.
//   - Memory: a freed slab is poisoned, kept aside for a while, and checked for
//     writes before it is used again; a slab that is neither freed nor in use at a
//     clean end is a leak.
//   - Compute: work runs some time after it was submitted; its inputs are lent
//     until then.
//
// It may use sim/event, sim/latency and core/env. One Machine lives through the
// whole run; each start makes a new [Box], and with it a new incarnation.
package machine
