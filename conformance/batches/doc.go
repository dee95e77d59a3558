// Package batches sends record batches that no client makes, good and poisoned, to a real broker,
// and compares each answer with what Apache Kafka 4.4.0 answers, which testdata has. Where weir
// differs the case says why. To record Kafka's answers anew, start it (weir-bench kafka) and run
//
//	go test ./conformance/batches -kafka 127.0.0.1:9092
//
// It may import core/record and core/compress to make batches, and weirbin to start the broker.
package batches
