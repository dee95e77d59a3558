// Package tree has tests, and no code, that hold the source tree to its rules: which folder may import which, one package
// comment for each package, no sleeps in tests, no test skipped without a reason, short functions and files, and the list of
// packages that the broker links.
package tree
