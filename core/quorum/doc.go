// Package quorum is the metadata's replicated log.
package quorum
