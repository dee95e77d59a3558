// Package txn is the transaction coordinator: a [Machine] holds the transactional ids that fall on one partition of
// __transaction_state, core/coordinator runs it, and a [Coordinator] answers requests to them (KIP-98, KIP-360, KIP-664,
// KIP-890).
//
// # State
//
// A transactional id has a producer id and epoch, a state, and the partitions of its transaction. Each change is one
// record, which holds all of it, in Kafka's schema: Kafka's tools can read the topic. What Kafka keeps in memory alone,
// the epoch before the last bump by the producer itself, is in a tag of ours that other readers pass over: a retry is
// answered the same before and after the partition moves. [Machine.Apply] changes the state, and nothing else does;
// a request whose record is refused leaves no trace, so an epoch that was not written is given again.
//
// Operations on an id run one after another. One that comes while a record of the id is being written waits for it, where
// Kafka answers CONCURRENT_TRANSACTIONS. While markers are being written (states PrepareCommit and PrepareAbort) requests
// get that code, but for partitions that a broker adds for Produce or TxnOffsetCommit: those wait up to
// add.partitions.to.txn.retry.backoff.max.ms for the transaction before to complete, as in Kafka (KAFKA-18654), and longer where
// logs are objects (config.Transactions.AddRetryMax).
// The partitions that brokers add for one producer are added in the order in which they were asked for, so that batches
// of pipelined requests reach their partition in the order of their sequences. Those that wait share one record; if they wait for the
// transaction before, it is in the batch that completes that.
//
// # Writes of a log
//
// What a transaction costs where a write takes long, as in an object log: a consumer, transformer and producer of the second generation
// waits for six, one after another. Markers of the transaction before, on all partitions at once; its completion with the partitions
// that are produced to; the records themselves; the partition of the group's offsets; the offsets; the decision. EndTxn is answered with that.
//
// # Generations
//
// In the first generation (EndTxn up to version 4) all transactions of a producer have one epoch, so a delayed EndTxn may
// end a later transaction, as it may in Kafka. In the second (EndTxn 5) ending a transaction bumps the epoch: markers have
// the epoch after that of their transaction, and an EndTxn that comes late or again finds another epoch, and
// decides nothing (R23). It gets the answer that was lost, if the outcome is the one that it asks for. When the
// epochs of a producer id are used up, ending a transaction gives the next producer id, which takes its place once the
// markers are written.
//
// The coordinator itself aborts a transaction that has run for longer than its timeout, or whose transactional id
// begins anew (InitProducerId). That bumps the epoch once, in the record that decides. The timeout of a
// transaction begins anew when its partition is loaded: the time without a coordinator does not count.
//
// # Markers
//
// The record of PrepareCommit or PrepareAbort is the decision. Once it is applied, by whichever incarnation, a marker
// goes to each partition of the transaction, again and again until the partition has it, and then the record that
// completes the transaction is written. A partition is found by its name each time: a topic that was deleted holds
// nothing up, one that was created again gets the marker too, where it does no harm. A partition that knows the producer
// with a later epoch has nothing of the transaction, and counts as done. The completion names the producer id and epoch
// that it is for, so that a late one completes no other transaction.
//
// # Limits
//
// A partition holds up to [Options.IDsMax] transactional ids, and refuses more with POLICY_VIOLATION. Ids that have no
// open transaction are removed after transactional.id.expiration.ms. At the bound of weir.coordinator.memory.bytes (core/coordinator)
// new ids and more partitions in a transaction are refused with COORDINATOR_NOT_AVAILABLE; transactions end. So they do where a
// record may be no larger (max.message.bytes): a partition that leaves no room for the records that end the transaction is
// refused with UNKNOWN_SERVER_ERROR, as one whose record is too large itself.
//
// It may call core/coordinator, core/config, core/task, core/telemetry, core/wire and core/env. Invariants: every
// prepared transaction completes as it was prepared; an operation bumps an epoch once; every request is
// answered once; nothing depends on map order.
package txn
