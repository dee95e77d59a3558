// Package rawconn is one connection to a Kafka broker on which a test decides every byte: the version of a request, tagged
// fields, garbage behind a body, requests in flight together.
//
// [Dial] opens a connection with TLS and SASL as [Options] say. [Conn.Send] writes a request and [Conn.Receive] reads the
// answer to the oldest request that has none yet; nothing is retried and nothing is negotiated. A Conn is used by one goroutine.
//
// The package may call kmsg and nothing of weir.
package rawconn
