// Package workers runs blocking calls for the drivers under realio: a bounded number of goroutines,
// started as they are first needed, takes jobs in the order of submission, runs and delivers them.
// As many jobs as there are goroutines that deliver wake nobody: those goroutines take jobs next.
//
// Invariants: Submit never blocks and never runs the job itself; no more than the bound run at a
// time; after Close returns, no job runs and none will.
package workers
