// Package hostile is black-box conformance: strangers who do everything wrong, beside
// a client that does everything right. A [Citizen] produces and consumes all the
// while; an attack may cost its sender what it likes, but not stop the citizen, nor
// the broker, nor make the broker's memory grow beyond what its configuration allows.
package hostile
