// Package config is the one table of configuration definitions, and what it
// resolves to.
//
// A [Definition] has a key's name (Kafka's where Kafka has one, else under
// "weir."), type, default, range, who may change it, and its text. [Settings]
// holds a node's values in layers: flags over environment over file over
// defaults, and above them what was changed at run time and comes from the
// cluster's metadata. It resolves to [Broker] and [Topic], lists every value with
// its source for people and for DescribeConfigs, and validates changes ([Alter]).
//
// It may call the standard library only. It reads no file and no environment:
// text and variables are handed in. Invariants: every key is in one table once;
// what Settings holds was validated; equal inputs list equally.
package config
