// Package objectstore holds object stores to what core/env promises of them: the same battery runs
// against the simulated store, a directory, and S3 servers through weir's own client.
//
// A test calls [Run] with a function that makes a fresh [Harness]. Where a store is known to
// deviate, the harness says which case and why; a listed deviation that is gone is a failure too,
// so that the list stays true. The battery runs on the caller's goroutine, starts none, and never
// sleeps. It may call bill and core/env; its tests call sim and realio.
package objectstore
