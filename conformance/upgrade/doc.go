// Package upgrade opens the data of earlier releases with the program of today. testdata has one directory for each of
// them, made by the released program itself and packed, so that nobody changes it by accident: a broker with its store in
// files, killed with half of its records uploaded, and half in its write-ahead log.
package upgrade
