// Package diff sends the same generated requests to two Kafka endpoints and compares every field of what they answer.
//
// A [Case] is a short sequence of requests on one connection to each endpoint, with topics of its own, or with some that
// many cases only read. Most cases come from
// a valid request of an API and version in which one field was changed: every integer to its boundary values, every array
// emptied, nulled and doubled, every string and id to one that is not there. The others are sequences with state: fetch
// sessions, produce and read back, create and describe.
//
// Fields are changed at the lowest and highest version of an API and where its schema changes; the plain request is sent in
// every version. Answers are flattened to paths and values. Noise (ids, hosts, times) is named once, in noise.go; of texts
// for people only the presence counts, and the order of an array counts unless Kafka leaves it to a hash table. Differences
// that are meant stand in reasons.txt, each with its reason; a case with any other difference fails. What shows the effect
// of a request is asked again for some seconds, since a broker may apply changes behind its answer.
//
// Cases talk to one broker. In a cluster of several the coordinators' topics, and each topic that a request makes, are moved to that
// broker, and of the brokers that an answer shows only this one is compared. It should have the node id of the other endpoint's broker.
//
// The package may call kmsg and nothing of weir: it knows brokers by their sockets alone.
package diff
