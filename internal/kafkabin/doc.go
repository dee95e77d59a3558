// Package kafkabin starts the released Apache Kafka broker from its jars, as one KRaft node or a cluster of them on loopback, for commands that
// need a reference or a rival.
package kafkabin
