// Package client is the simulated clients: they speak Kafka's wire protocol over
// the simulated network, and record what they did and saw.
//
// A client knows only what its answers tell. A lost connection, a timeout,
// NOT_LEADER and every error that does not exclude an append leave the outcome
// unknown. An idempotent producer then sends the same batches again, with the same
// sequences in the same order, until they are acknowledged or it gives up; then it
// bumps its epoch and starts again from sequence 0, as Apache Kafka's client does. A
// plain producer never sends a batch twice, and may send with acks 0.
//
// In a cluster of several brokers a client learns from metadata who leads each partition, and from FindCoordinator
// who coordinates a group or a transactional id, and has a connection to each broker that it needs: what it asks of a partition
// travels to the leader, what it asks of a group to its coordinator, everything else to the broker at which it bootstrapped. Metadata may be
// out of date, on a broker whose image lags behind, too; then the answers say so, and it asks again, each time another broker.
//
// A [Consumer] uses fetch sessions or none, forgets partitions, asks for offsets by
// every special timestamp, and sends leader epochs, right and wrong. An [Operator]
// changes configurations and partitions and checks that each change is in force. A
// [Churn] makes topics and deletes them, also under the same name; a [Trimmer]
// deletes records. A [Breaker] sends requests and frames that must be refused. A
// [Poller] measures how soon a waiting fetch is answered.
//
// A [Member] is a member of a consumer group, of the classic protocol or of KIP-848: it joins, reads from the committed
// offset on, commits, leaves, dies without a word, or freezes for longer than its session and then commits. Some join and
// never ask for their assignment, offer only some of their group's protocols, come back at epoch 0 under the same id,
// subscribe by a regular expression, commit with an older epoch that is still allowed (KIP-1251), give partitions back slowly,
// or end for good with the broker. A [Committer] is a consumer without a group membership: it commits, in transactions and outside of them, deletes
// offsets and its group, and fetches what is left. A
// [Transactor] writes in transactions of either generation; it stalls until about its timeout, or leaves a transaction to
// its next incarnation, copies of its EndTxn, Produce and TxnOffsetCommit arrive late (R23), and a topic is deleted within
// a transaction that wrote to it. A [Pipe] is both: it
// consumes, and commits offsets and output in one transaction. Readers of committed records leave out what a response
// lists as aborted, as clients do.
//
// Every record carries the partition and the number of its batch, so that a reader
// knows each value's origin. Readers check every byte, timestamp and checksum.
//
// A stand-in for the broker, as the simulator's own tests use, may lack APIs: clients
// then leave out what needs them.
package client
