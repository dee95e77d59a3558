// Package socket is production's env.Network: Kafka's frames over TCP.
//
// # Goroutines
//
// Each connection has a goroutine that reads, decodes and delivers its frames and,
// while there is something to send, a second one from a pool, which encodes and
// writes. Each listener has a goroutine that accepts, and one goroutine checks all
// deadlines. The loop calls the methods of env.Network and never waits in them.
//
// # Memory of untrusted peers
//
// A connection that is idle holds no buffer: a read buffer of 64 KiB is taken from
// a pool when its socket has something to read, and given back when it has no more.
// Muted and waiting connections hold at most 64 MiB of bytes already read, or 4 KiB
// each if there are more than 16,384 of them.
// A frame's length and first bytes go to Codec.Admit; then the frame's size (and
// some bytes for its bookkeeping) is reserved in the byte budget, and only then is
// its body read: what the read buffer has of it is copied, the rest goes from the
// kernel straight to the frame's own memory, off the heap.
//
// The budget has three pools. Frames of up to 64 KiB have a pool of their own (a quarter),
// so that small and large frames do not starve each other. A larger frame first reserves
// and receives its first 32 KiB (its opening) from a second pool (a sixteenth), and only
// then reserves its whole size in the third: a peer that announces 100 MiB and sends 15
// bytes holds 32 KiB. A reader may wait for the third pool while it holds an opening, never
// the other way round, so there is no deadlock.
// Frames that may take more memory while they are decoded ([env.HeavyCodec]) are decoded few at a time, for all connections;
// others never wait for them.
// The frames of one address hold at most three quarters of each pool; addresses that
// wait take turns, and reservations of one address are granted in order. How far a
// connection is read while its frames wait in the mailbox is bounded.
//
// A frame must arrive at a minimum rate, and the peer must read at a minimum rate. While
// half-read frames hold a quarter of a pool and other connections wait for that pool, the
// required rate is higher, and all connections below it are closed at once. A
// codec that panics closes the connection that made it do so.
//
// # Ends
//
// A graceful Close writes what was sent, tells the peer by closing that direction,
// and discards input for at most a second, because closing a socket with unread
// input would destroy what the peer has not read yet. An abort
// resets the connection. A peer that closes its direction is gone, as in Kafka.
//
// Invariants: Opened comes first and Closed last, each once; a Send completes once,
// and before Closed if it was submitted before the connection was gone; frames are
// delivered in order. The package may import core/env and realio/memory.
package socket
