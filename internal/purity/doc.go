// Package purity holds the core to being pure: nothing under core/ starts a goroutine, takes a lock, uses a channel,
// reads time, randomness, environment or files, or lets map order, floating point or an unstable sort reach an output.
//
// [Analyzer] decides that by rules that need no judgement: banned imports, banned functions, banned syntax and banned
// types. A rule may be set aside on one line by an escape comment on that line or the line above it, which must say why:
//
//	//weir:ordered the result is a sum
//	//weir:pure the address is compared with itself only
//
// The first sets aside the rules on map order and sorts, the second any other rule. An escape without a reason is a finding
// itself, and so is an escape that sets nothing aside.
//
// The package's tests hold every package of the core to the analyzer, and the analyzer to cases in testdata of what must
// and must not pass. It may call nothing of weir.
package purity
