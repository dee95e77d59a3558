// Package client is the simulated clients: they speak Kafka's wire protocol over
// the simulated network, and record what they did and saw.
//
// A client knows only what its answers tell. A lost connection, a timeout,
// NOT_LEADER and every error that does not exclude an append leave the outcome
// open. An idempotent producer then sends the same batches again, same sequences,
// same order, until they are acknowledged or it gives up; then it bumps its epoch
// and starts again from sequence 0, as Apache Kafka's client does. A plain
// producer never sends a batch twice.
//
// Every record carries the partition and the number of its batch, so that a reader
// knows each value's origin; readers check every byte and every checksum.
package client
