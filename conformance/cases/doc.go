// Package cases holds the facts about Kafka that conformance/suite runs: one file for each API key, named by number and
// request, and one for each subject that spans several. [All] lists them.
//
// Each was written from Kafka's documentation, KIPs, or the names of public tests, and holds on the released Apache Kafka
// 4.4.0. The package may call conformance/suite and franz-go, and nothing of weir.
package cases
