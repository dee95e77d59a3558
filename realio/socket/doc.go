// Package socket is production's env.Network: Kafka's frames over TCP.
//
// # Goroutines
//
// Each connection has one goroutine that reads, decodes and delivers its frames,
// and, while there is something to send, one that encodes and writes, taken from a few
// that wait for the next connection. Each listener has one that accepts, a connection
// that is dialed has its reader from the start, and one goroutine looks after all
// deadlines. The loop calls the methods of env.Network and
// never waits for any of them.
//
// # What strangers cost
//
// A connection that is idle holds no buffer: a read buffer of 64 KiB is taken from
// a pool when its socket has something to read, and given back when it has no more.
// What muted and waiting connections have read already is 64 MiB in all, or 4 KiB
// each where there are more than 16,384 of them.
// A frame's length and first bytes go to Codec.Admit; then the frame's size (and
// some bytes for its bookkeeping) is reserved in the byte budget, and only then is
// its body read: what the read buffer has of it is copied, the rest goes from the
// kernel straight to the frame's own memory, off the heap.
//
// The budget has three pools. Frames of up to 64 KiB have one of their own (a quarter),
// so that they never wait for room that larger frames hold, nor do small frames starve
// large ones. A larger frame first reserves and receives its opening of 32 KiB, from a
// second pool (a sixteenth), and only then reserves its whole size in the third: a peer
// that announces 100 MiB and sends 15 bytes holds 32 KiB. A reader waits for the third
// pool while it holds an opening, never the other way round, so there is no deadlock.
// The frames of one address hold at most three quarters of each pool; addresses that
// wait take turns, and reservations of one address are granted in order. A connection whose frames wait in the mailbox is not read further than a bound.
//
// A frame must arrive at a pace; so must the peer take what is written to it. While
// half-read frames hold a quarter of a pool and other connections wait for that pool,
// the required pace is higher, and all frames of the pool that lag are closed at once. A
// codec that panics closes the connection that made it do so.
//
// # Ends
//
// A graceful Close writes what was sent, tells the peer by closing that direction,
// and reads on for a second at most without looking at what comes, since closing a
// socket with unread input would destroy what the peer has not read yet. An abort
// resets the connection. A peer that closes its direction is gone, as in Kafka.
//
// Invariants: Opened comes first and Closed last, each once; a Send completes once,
// and before Closed if it was submitted before the connection was gone; frames are
// delivered in order. The package may import core/env and realio/memory.
package socket
