// Package random is production's env.Rand: draws keyed by what they are for, from
// a secret that the operating system gave at start.
//
// It may import core/env only. Draws of equal arguments are equal within one
// process and unforeseeable outside it, so they serve as nonces as well as for
// jitter.
package random
