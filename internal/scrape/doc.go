// Package scrape reads the metrics that a running broker serves at weir.metrics.address, for commands and benchmarks.
package scrape
