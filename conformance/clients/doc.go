// Package clients is black-box conformance: foreign clients carry records through
// any Kafka endpoint, and Kafka's traps are set for it. It knows the endpoint by its
// address only, so the same code checks weir, Apache Kafka and kfake.
//
// [Carry] has one [Client] write a [Workload] and others read it, and compares byte
// for byte, in order per partition. [Traps] are single cases in which brokers are
// known to go wrong.
package clients
