// Package assign is the server-side assignors of consumer groups (KIP-848): pure
// functions from members, their subscriptions and what they hold to who shall hold
// which partition.
//
// [Range] gives each member of a topic a contiguous range of its partitions, in the
// same order of members for every topic, so that topics with equally many partitions
// and the same subscribers are assigned alike. It does not look at what members hold,
// as in Kafka 4.4.
//
// [Uniform] spreads all partitions evenly and moves as few as it can: a member keeps
// what it holds unless another subscriber of the topic has at least two partitions
// less. So it changes nothing in a group that is balanced already.
//
// Neither looks at racks: the assignors of Kafka 4.4 do not, and a partition has no
// replica that is closer to one member than to another.
//
// The result depends on the set of members only, never on their order. The package
// may call nothing of weir.
package assign
