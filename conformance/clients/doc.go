// Package clients is black-box conformance: foreign clients carry records through
// any Kafka endpoint, and Kafka's traps are set for it. It knows the endpoint by its
// address only, so the same code checks weir, Apache Kafka and kfake.
//
// [Carry] has one [Client] write a [Workload] and others read it, and compares byte
// for byte, in order per partition. [Traps] are single cases in which brokers are
// known to go wrong.
//
// The programs under java, python, node and go are scenarios of the clients of these languages,
// groups and transactions among them. Each takes an endpoint and a filter, prints
// `ok NAME` or `FAIL NAME: cause` per scenario, and exits with 1 if one failed. The
// tests run them against weir, or with -brokers against any endpoint. WordCount, a
// Streams application with exactly_once_v2, and Pipeline, a group that copies records
// in transactions, are killed while they work, as the broker is.
package clients
