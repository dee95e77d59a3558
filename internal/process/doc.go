// Package process runs other programs for commands and tests: brokers, object
// stores, clients. A [Process] is ended by its own id and never outlives the one
// that started it; its output is kept, so that a failure can show it.
package process
