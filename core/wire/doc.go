// Package wire holds what belongs to Kafka's wire protocol alone: the error codes, the table of APIs with the versions
// served, the schemas of requests, and the primitive encodings. It knows nothing of topics, partitions or records.
//
// A [Schema] is walked before a request's body is decoded: the walk checks each array's length against what is left of the
// frame, so that decoding allocates no more than a small multiple of the frame, and refuses strings above [StringBytesMax]. [APIs] is the one list of what is served: a
// key is there only if every version in its range is served in full.
//
// It may call kbin and kmsg, and nothing of weir. Its users are core/broker, core/partition, core/controller and the
// simulator's clients.
package wire
