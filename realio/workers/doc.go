// Package workers runs blocking calls for the drivers under realio: a bounded number of goroutines,
// started as they are first needed, takes jobs in the order of submission, runs and delivers them.
// A goroutine that is delivering takes the next job itself, so Submit wakes an idle goroutine only if
// more jobs wait than goroutines are delivering.
//
// Invariants: Submit never blocks and never runs the job itself; no more than the bound run at a
// time; after Close returns, no job runs and none will.
package workers
