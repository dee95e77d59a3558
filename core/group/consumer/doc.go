// Package consumer is the state of one consumer group of the new protocol (KIP-848), and the decisions on it: what a
// heartbeat writes and answers, who is fenced, what a regular expression matches.
//
// # Records
//
// A [Group] is what its records yield: Kafka's own types 3 to 8 and 16 of __consumer_offsets, with the bytes that Apache
// Kafka 4.4 writes, so that its tools read them. [Group.Apply] applies one record, live and in replay alike. Records may
// come in any order: compaction leaves a later one of a key only, and a member's record may come after its assignment's.
// A tombstone of something unknown changes nothing.
//
// A decision (Heartbeat, Fence, Resolved) is a pure function of the group as applied, the topics, the time and the
// configuration. It changes nothing: its records are one batch, and count once they are applied. If the write fails, it
// never was. What it costs: a heartbeat without change looks at its member alone; one that changes a subscription
// looks at the topics of the group; a new assignment at all its members and partitions.
//
// # Epochs
//
// The group epoch grows with every change of what is to be assigned: a member joins, leaves or subscribes to
// something else, the preferred assignor changes, a topic of the group comes, goes or grows. The assignment epoch
// is the group epoch for which the target was computed; consumer.assignment.interval.ms spaces that. A member's epoch is
// the assignment epoch that it has been moved to. It moves on as soon as the member has confirmed to have
// given back what is not in its target, and need not wait for what others have still to give.
//
// # One owner
//
// A partition has one owner, who may consume it, or has not confirmed yet that it stopped. It is given to a member
// only while it has none, and a record that says otherwise is an error, or a broken invariant if it is of a decision here (I13): otherwise two members would process it at once, and each
// would overwrite the offsets of the other. A member that is frozen until it confirms (Unrevoked) is not computed
// anew when the target moves. What it was told to give back and should now keep is its own all the while.
//
// # Who is right
//
// Epoch 0 is a join, and always right, whatever is known of the member. The epoch before is right too as long
// as the member owns nothing that it was not given: it missed an answer. Any other epoch is fenced. A static member that
// leaves with epoch -2 keeps its seat and its partitions until its session ends; who comes back with its instance
// id takes both.
//
// An offset commit with an older epoch is accepted for partitions that the member has had since (KIP-1251).
//
// # Regular expressions
//
// They are RE2, and match whole names. They are resolved off the loop, all of a group together: when a new one comes, when
// there are new topics, and every ten minutes. What they matched is a record, so that a new coordinator assigns
// alike. A member whose expression is not resolved yet subscribes to nothing by it.
//
// # Differences from Kafka
//
// Of assignors with equally many votes the first by name counts. An expression has at most 8 KiB and, as Go bounds it,
// repeats at most 1,000 times, nested repetitions multiplied; with them written out it has at most 16 Ki steps.
//
// It may call core/group/assign, core/coordinator for its record type, core/config, core/metadata, core/wire and core/env.
package consumer
