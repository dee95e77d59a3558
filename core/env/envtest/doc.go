// Package envtest has the contract tests of core/env's disk, memory, computer and network: the
// battery that every implementation and wrapper must pass, the simulator's as well as the operating
// system's.
//
// A test package calls [TestDisk], [TestMemory], [TestComputer] and [TestNetwork] with a function
// that makes a fresh world. The battery submits operations and calls the harness's Pump until they complete; it runs on the
// caller's goroutine only, starts none, and never sleeps. It may call core/env.
//
// Invariants: a test relies only on what core/env promises; whatever an implementation is free to
// do (complete in any order, keep or lose what was not made durable) the battery accepts.
package envtest
