// Package durability kills a real broker again and again while idempotent producers
// write, and then looks for every record.
//
// [Run] owns producers, a reader that follows, and the kills; the broker is known by
// a function that launches it and by its address. What must hold afterwards: every
// acknowledged record is there once, at the offset that was acknowledged; each
// producer's records are in order in each partition; nothing appears twice, whether
// acknowledged or not; whatever the reader saw is still what stands there.
package durability
