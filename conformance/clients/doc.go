// Package clients is black-box conformance: foreign clients carry records through
// any Kafka endpoint, and Kafka's traps are set for it. It knows the endpoint by its
// address only, so the same code checks weir, Apache Kafka and kfake.
//
// [Carry] has one [Client] write a [Workload] and others read it, and compares byte
// for byte, in order per partition. [Traps] are single cases in which brokers are
// known to go wrong.
//
// The programs under java, python, node and go are scenarios of the clients of these languages, groups and transactions among them.
// Each takes an endpoint and a filter, prints `ok CLIENT/SCENARIO` or `FAIL CLIENT/SCENARIO: cause` per scenario, and exits with 1
// if one failed. BROKER_CONTROL in its environment is the URL at which it has the broker killed or restarted. The tests run them
// against weir, against Apache Kafka with -on-kafka, or with -brokers against any endpoint, where scenarios that kill the broker are
// left out; the names that a program prints are those in the table of CLIENTS.md, or the test fails. WordCount, a Streams application
// with exactly_once_v2, and Pipeline, a group that copies records in transactions, are killed while they work, as the broker is.
package clients
