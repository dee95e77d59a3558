// Package model searches the protocol of core/doc.go exhaustively, in two small models: slots and seals of an object log
// ([Slots]), and leases and fences ([Leases]). Each is a state, and the steps that may come next, whoever takes them. A search
// visits every state that can be reached, nearest first, so that what it finds is a shortest trace.
//
// A model has a switch for each part of a rule. With all rules kept nothing breaks; with any one of them switched off
// something does, which shows that the rule is needed, and that the model is able to see it broken.
//
// The data of the log rest on no clock: in [Slots] an epoch ends at any moment. Leases only keep readers from being served by two, so [Leases]
// knows nothing of slots. What the models leave out: several streams in one slot, logs on devices (R7, R8), the quorum
// itself. The same creates and seals are searched on the real code, in every order, by core/wal's tests.
package model
