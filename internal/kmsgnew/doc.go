// Package kmsgnew holds the core to making kmsg's response structs, and those nested in them, by their constructors.
//
// Some fields have defaults that are not zero: a leader hint of node -1 means that there is no hint, and one of node 0 sends the
// client to broker 0. A literal, new, a variable or named result without a value, and the elements of make have zeros there.
// [Analyzer] finds them; kmsg.NewX, kmsg.NewPtrX, ResponseKind, a copy, or Default on each element is right.
//
// It may call nothing of weir.
package kmsgnew
