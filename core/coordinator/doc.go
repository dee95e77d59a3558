// Package coordinator runs replicated state machines on the partitions of an internal topic, as
// __consumer_offsets and __transaction_state are: a [Runtime] for each topic, a [Shard] for each
// partition that this broker leads, and in it a [Machine], which is the state of the groups or of
// the transactional ids whose keys fall on that partition.
//
// # One rule
//
// Everything that a machine keeps comes from [Machine.Apply] and [Machine.ApplyMarker], and a shard
// calls them for what is committed in its partition, once, in the order of the log. It reads the
// log for that, whether the records were written by an incarnation before, or by a request just
// now: loading is following the log up to where it ended when the partition opened, and serving is
// following it further. So there is nothing that live memory and replay could see differently, and
// nothing to take back when a write fails.
//
// An [Operation] is one request to the state of one key. It decides, on the state as applied, what to
// write; its records are one batch, so they land together or not at all; and its outcome is heard
// once that batch is applied. Only what may be done in parts, and begun again if it fails, is cut into several batches: a group may
// have more offsets than one batch has room for tombstones. What looks at very much decides in steps, one for a turn of the loop. Operations of a key that write run one after another; operations that
// are marked shared run beside each other. So each of them sees the effect of those before it. An
// operation that writes nothing has its outcome at once, since what it read is committed.
//
// # Leadership
//
// A shard lives as long as its partition is open on this broker. Until it has applied what was
// committed before, [Runtime.Find] answers COORDINATOR_LOAD_IN_PROGRESS; once the partition is
// closed, everything that waits is answered NOT_COORDINATOR, and the machine is dropped. A write whose
// partition closes before its answer has an unknown outcome, and says NOT_COORDINATOR too: the client
// asks whoever leads the partition next.
//
// # A short log
//
// The topic is compacted by key like any other (core/clean), as its configuration says, and a shard reads what that leaves. But
// compaction works on what the object store has, and leaves tombstones for a day; and a shard that loads should read
// little, mostly from memory. So a shard also writes every live key again, one after another, once
// more was appended than several times the size of that, and then raises the log start to where
// it began, or to the last stable offset if that is lower: what lies above it is a whole state. Kafka's tools
// read such a log as they read a compacted one.
//
// # Memory
//
// A [Memory] counts the bytes that the machines of a broker hold, of all its runtimes together: keys and values of what is durable,
// what members and transactions hold beside, and batches until they are applied. weir.coordinator.memory.bytes bounds it. An
// operation that would hold more asks [Shard.Admits] first, and is refused with COORDINATOR_NOT_AVAILABLE, which clients try again.
// Large requests that wait are counted beside that ([Shard.Wait]), to a quarter of the bound: a log that is full makes them wait for
// seconds. What is in the log is applied whatever it takes, so that a shard above the bound loads and serves; and nothing that gives back, ends a
// transaction or lets a member go on is refused. The count follows from the state alone: it is the same after a load.
//
// It may call core/partition, core/metadata, core/record, core/task, core/telemetry, core/wire and core/env.
// Invariants: Apply sees each offset once, ascending; an Operation's Done runs exactly once; nothing here depends on
// map order.
package coordinator
