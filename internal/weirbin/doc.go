// Package weirbin builds and starts the real weir broker for commands and tests,
// which then know it only by its command line, its log and its port.
package weirbin
