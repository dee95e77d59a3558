package config

import (
	"fmt"
	"slices"
	"strings"
)

// Sizes that suit a broker beside an application on a small machine. Memory is
// taken as it is used: an idle broker holds next to none of it.
const (
	// While the object store does not answer, a WAL of 1 GiB accepts writes for some
	// seconds at full load, and for minutes at the loads of such machines.
	defaultWALBytes = 1 << 30
	// Whatever waits for upload is in memory too, so a smaller log cache than the WAL
	// would leave a part of the WAL unused.
	defaultCacheBytes = 1 << 30
	// Each reader of old records needs a few blocks of 512 KiB.
	defaultBlockCacheBytes = 256 << 20
	// defaultCoordinatorBytes holds the offsets of half a million partitions, and 40,000 members.
	defaultCoordinatorBytes = 256 << 20
	// Frames are held from the socket to the WAL only. The largest one
	// (socket.request.max.bytes, 100 MiB) must fit; this is room for two.
	defaultQueuedBytes = 256 << 20
	// Kafka's default is no bound; file descriptors and memory are bounded.
	defaultConnections = 10_000
)

// DrainKey is set while a broker is drained.
const DrainKey = "weir.broker.drain"

// brokerKeys are a broker's keys, sorted: Kafka's that mean something here or are
// defaults of topics, and weir's own.
var brokerKeys = []Definition{
	integer(Int, "add.partitions.to.txn.retry.backoff.max.ms", 100, 0, maxInt, "How long a partition that a Produce or TxnOffsetCommit request adds to a transaction waits for the transaction before to complete, in milliseconds. With weir.wal.kind=object it is at least four times weir.wal.object.linger.max.ms, up to 5 s. 0: it does not wait; the client asks again."),
	words(List, "advertised.listeners", nil, "Where clients reach the broker, as NAME://host:port,...; unset: as in listeners.").checked(checkListeners),
	boolean("auto.create.topics.enable", "true", "Whether asking for the metadata of an unknown topic creates it, if the client allows that."),
	boolean("auto.leader.rebalance.enable", "true", "Whether the active controller moves leaders of partitions so that all brokers move about as many bytes for clients, and lead about as many."),
	integer(Int, "background.threads", 10, 1, maxInt, unusedThreads).dynamic(),
	integer(Int, "broker.heartbeat.interval.ms", 2000, 1, maxInt, "How often a broker renews its lease at the active controller, in milliseconds; at most a quarter of broker.session.timeout.ms is used."),
	words(String, "broker.rack", nil, "The availability zone of this broker."),
	integer(Int, "broker.session.timeout.ms", 9000, 100, maxInt, "How long a broker may go without renewing its lease before others take over its partitions, in milliseconds. A broker that cannot renew it stops serving a little earlier. Lower fails over faster, and more often without need."),
	integer(Int, "compression.gzip.level", -1, -1, 9, recompressLevel).checked(gzipLevel).dynamic(),
	integer(Int, "compression.lz4.level", 9, 1, 17, recompressLevel).dynamic(),
	words(String, "compression.type", text("producer"), "The default of the topic key compression.type.", codecs...).dynamic(),
	integer(Int, "compression.zstd.level", 3, -131072, 22, recompressLevel).dynamic(),
	integer(Long, "connections.max.idle.ms", 600_000, 0, maxLong, "Connections idle for this long are closed, in milliseconds. 0: never."),
	integer(Long, "connections.max.reauth.ms", 0, 0, maxLong, "How long an authentication lasts, in milliseconds. Without effect: there is no authentication yet."),
	words(List, "controller.listener.names", nil, "The listener for the other nodes of the cluster, which listeners names too; clients are not served there. Unset: this node is a cluster of its own.").checked(oneElement),
	boolean("controller.quorum.auto.join.enable", "false", "Whether a node with the controller role that finds the quorum by controller.quorum.bootstrap.servers becomes a voter by itself, once it has caught up. Without, kafka-metadata-quorum add-controller makes it one. An odd number of voters is useful, five at most."),
	words(List, "controller.quorum.bootstrap.servers", text(""), "Where to find the metadata's quorum, as host:port,... of the listeners for other nodes of some of them, in place of controller.quorum.voters: any that runs tells who leads. A node whose own address, as in advertised.listeners, is not among them does not found a cluster.").checked(checkAddresses),
	integer(Int, "controller.quorum.election.timeout.ms", 1000, 10, maxInt, "How long the leader of the metadata's quorum may be silent before the voters elect another, in milliseconds."),
	words(List, "controller.quorum.voters", nil, "The nodes that vote in the metadata's quorum, as node.id@host:port,... with the addresses of their listeners for other nodes: one, three or five. The same on all nodes; nodes that are not named follow.").checked(checkVoters),
	integer(Int, "default.replication.factor", 1, 1, maxInt, "The replication factor of topics created without one. Only 1 is served: with more, such topics are refused. Records are kept by the write-ahead log and the object store, not by replicas."),
	boolean("delete.topic.enable", "true", "Whether topics may be deleted."),
	integer(Int, "fetch.max.bytes", 55<<20, 1024, maxInt, "The maximum number of bytes of records in one fetch response. A first batch that is larger is still returned."),
	integer(Int, "group.consumer.assignment.interval.ms", 1000, 0, maxInt, "The shortest time between two assignments of a consumer group, in milliseconds: members that join together are assigned once. 0: every change is assigned at once.").dynamic(),
	words(List, "group.consumer.assignors", text("uniform,range"), "The assignors that consumer groups may use. The first is for groups whose members ask for none.", "uniform", "range").checked(someElement),
	integer(Int, "group.consumer.heartbeat.interval.ms", 5000, 1, maxInt, "How often the members of a consumer group are told to send heartbeats, in milliseconds."),
	integer(Int, "group.consumer.max.assignment.interval.ms", 15_000, 0, maxInt, "The largest value of the group key consumer.assignment.interval.ms."),
	integer(Int, "group.consumer.max.heartbeat.interval.ms", 15_000, 1, maxInt, "The largest value of the group key consumer.heartbeat.interval.ms."),
	integer(Int, "group.consumer.max.session.timeout.ms", 60_000, 1, maxInt, "The largest value of the group key consumer.session.timeout.ms."),
	integer(Int, "group.consumer.max.size", maxInt, 1, maxInt, "The maximum number of members of a consumer group."),
	words(String, "group.consumer.migration.policy", text("bidirectional"), "Which groups with members change between the classic and the consumer protocol while they run: none (disabled), to the consumer protocol (upgrade), back (downgrade), or both.", "bidirectional", "disabled", "downgrade", "upgrade"),
	integer(Int, "group.consumer.min.assignment.interval.ms", 0, 0, maxInt, "The smallest value of the group key consumer.assignment.interval.ms."),
	integer(Int, "group.consumer.min.heartbeat.interval.ms", 5000, 1, maxInt, "The smallest value of the group key consumer.heartbeat.interval.ms."),
	integer(Int, "group.consumer.min.session.timeout.ms", 45_000, 1, maxInt, "The smallest value of the group key consumer.session.timeout.ms."),
	integer(Int, "group.consumer.regex.refresh.interval.ms", 600_000, 10_000, maxInt, "How often the regular expressions of a consumer group are matched against all topics, in milliseconds. New topics are found within 10 seconds besides."),
	integer(Int, "group.consumer.session.timeout.ms", 45_000, 1, maxInt, "How long a member of a consumer group may be silent before it is removed, in milliseconds. Less than a few heartbeat intervals removes members that are well."),
	integer(Int, "group.initial.rebalance.delay.ms", 3000, 0, maxInt, "How long the first rebalance of a group of the classic protocol waits for more members, in milliseconds. Each that comes extends it. 0: not at all."),
	integer(Int, "group.max.session.timeout.ms", 1_800_000, 1, maxInt, "The maximum session timeout that a member of the classic protocol may ask for, in milliseconds."),
	integer(Int, "group.max.size", maxInt, 1, maxInt, "The maximum number of members of a group of the classic protocol."),
	integer(Int, "group.min.session.timeout.ms", 6000, 1, maxInt, "The minimum session timeout that a member of the classic protocol may ask for, in milliseconds."),
	words(String, "inter.broker.listener.name", nil, "Without effect: nodes reach each other on the listener of controller.listener.names, whose protocol is that of listener.security.protocol.map."),
	integer(Long, "leader.imbalance.check.interval.seconds", 300, 1, 1<<31, "How often the active controller looks whether leaders are to be moved, in seconds."),
	integer(Int, "leader.imbalance.per.broker.percentage", 10, 0, 100, "By how many percent a broker may move more bytes for clients than its share, or lead more partitions, before any are moved."),
	words(String, "listener.security.protocol.map", text("PLAINTEXT:PLAINTEXT"), "The protocol of each listener's name, as NAME:PROTOCOL,.... Listeners of clients can only have PLAINTEXT yet; the listener for other nodes (controller.listener.names) PLAINTEXT or SSL, which is TLS where both ends need a certificate.").checked(checkProtocols),
	words(List, "listeners", text("PLAINTEXT://127.0.0.1:9092"), "Where the broker listens, as NAME://host:port,...; an empty host is every address, port 0 a free port.").checked(checkListeners),
	integer(Long, "log.cleaner.backoff.ms", 15_000, 0, maxLong, "How long until it is looked again for a partition to compact by key after there was none, in milliseconds; at least a second.").dynamic(),
	integer(Long, "log.cleaner.dedupe.buffer.size", 128<<20, 1<<20, maxLong, "The maximum number of bytes in memory for the keys of one pass of compaction, 24 for each key. With less, a pass over many keys takes several. It is used only while a pass runs.").dynamic(),
	integer(Long, "log.cleaner.delete.retention.ms", 86_400_000, 0, maxLong, "The default of the topic key delete.retention.ms.").dynamic(),
	integer(Long, "log.cleaner.max.compaction.lag.ms", maxLong, 1, maxLong, "The default of the topic key max.compaction.lag.ms.").dynamic(),
	words(Double, "log.cleaner.min.cleanable.ratio", text("0.5"), "The default of the topic key min.cleanable.dirty.ratio.").dynamic(),
	integer(Long, "log.cleaner.min.compaction.lag.ms", 0, 0, maxLong, "The default of the topic key min.compaction.lag.ms.").dynamic(),
	words(List, "log.cleanup.policy", text("delete"), "The default of the topic key cleanup.policy.", "compact", "delete").dynamic(),
	words(List, "log.dirs", nil, "One directory for everything this broker keeps on disk; unset: weir.data.dir.").checked(oneElement),
	integer(Long, "log.flush.interval.messages", maxLong, 1, maxLong, unusedFlush).dynamic(),
	unsetInteger(Long, "log.flush.interval.ms", minLong, maxLong, unusedFlush).dynamic(),
	integer(Int, "log.index.interval.bytes", 4096, 0, maxInt, unusedSegments).dynamic(),
	integer(Int, "log.index.size.max.bytes", 10<<20, 4, maxInt, unusedSegments).dynamic(),
	integer(Long, "log.local.retention.bytes", -2, -2, maxLong, unusedTiers).dynamic(),
	integer(Long, "log.local.retention.ms", -2, -2, maxLong, unusedTiers).dynamic(),
	integer(Long, "log.message.timestamp.after.max.ms", 3_600_000, 0, maxLong, "The default of the topic key message.timestamp.after.max.ms.").dynamic(),
	integer(Long, "log.message.timestamp.before.max.ms", maxLong, 0, maxLong, "The default of the topic key message.timestamp.before.max.ms.").dynamic(),
	words(String, "log.message.timestamp.type", text("CreateTime"), "The default of the topic key message.timestamp.type.", "CreateTime", "LogAppendTime").dynamic(),
	boolean("log.preallocate", "false", unusedSegments).dynamic(),
	integer(Long, "log.remote.copy.lag.bytes", -1, -1, maxLong, unusedTiers).dynamic(),
	integer(Long, "log.remote.copy.lag.ms", 0, -1, maxLong, unusedTiers).dynamic(),
	integer(Long, "log.retention.bytes", -1, minLong, maxLong, "The default of the topic key retention.bytes.").dynamic(),
	integer(Long, "log.retention.check.interval.ms", 300_000, 1, maxLong, "How often retention is checked, in milliseconds."),
	integer(Int, "log.retention.hours", 168, -1, maxInt, "The default of the topic key retention.ms, in hours, if neither log.retention.ms nor log.retention.minutes is set."),
	unsetInteger(Int, "log.retention.minutes", -1, maxInt, "The default of the topic key retention.ms, in minutes, if log.retention.ms is not set.").standIn(times("log.retention.hours", 60)),
	unsetInteger(Long, "log.retention.ms", -1, maxLong, "The default of the topic key retention.ms.").dynamic().
		standIn(times("log.retention.minutes", 60_000), times("log.retention.hours", 3_600_000)),
	integer(Int, "log.roll.hours", 168, 1, maxInt, unusedSegments),
	integer(Int, "log.roll.jitter.hours", 0, 0, maxInt, unusedSegments),
	unsetInteger(Long, "log.roll.jitter.ms", 0, maxLong, unusedSegments).standIn(times("log.roll.jitter.hours", 3_600_000)).dynamic(),
	unsetInteger(Long, "log.roll.ms", 1, maxLong, unusedSegments).standIn(times("log.roll.hours", 3_600_000)).dynamic(),
	integer(Int, "log.segment.bytes", 1<<30, 1<<20, maxInt, unusedSegments).dynamic(),
	integer(Long, "log.segment.delete.delay.ms", 60_000, 0, maxLong, unusedSegments).dynamic(),
	integer(Int, "max.connections", defaultConnections, 0, maxInt, "The maximum number of connections. 0: no bound.").dynamic(),
	integer(Int, "max.connections.per.ip", maxInt, 0, maxInt, "The maximum number of connections from one address. 0: no bound.").dynamic(),
	integer(Int, "max.decompressed.message.bytes", 2_147_483_639, 1, maxInt, "The default of the topic key max.decompressed.message.bytes.").dynamic(),
	integer(Int, "max.incremental.fetch.session.cache.slots", 1000, 0, maxInt, "The maximum number of incremental fetch sessions. 0: every fetch is a full one."),
	integer(Int, "message.max.bytes", 1_048_588, 0, maxInt, "The default of the topic key max.message.bytes.").dynamic(),
	integer(Int, "min.insync.replicas", 1, 1, maxInt, unusedReplicas).dynamic(),
	integer(Int, "node.id", 1, 0, maxInt, "The number of this broker, unique in its cluster."),
	integer(Int, "num.io.threads", 8, 1, maxInt, unusedThreads).dynamic(),
	integer(Int, "num.network.threads", 3, 1, maxInt, unusedThreads).dynamic(),
	integer(Int, "num.partitions", 1, 1, maxInt, "The number of partitions of a topic that is created without one."),
	integer(Int, "offset.metadata.max.bytes", 4096, 0, maxInt, "The maximum length of the metadata that a client may commit with an offset."),
	integer(Long, "offsets.retention.check.interval.ms", 600_000, 1, maxLong, "How often offsets are looked for that have expired, and groups that are empty, in milliseconds."),
	integer(Int, "offsets.retention.minutes", 10_080, 1, maxInt, "How long committed offsets are kept, in minutes: since the last member left the group, or since the commit if the group has no members of its own or none of them reads the topic."),
	integer(Int, "offsets.topic.num.partitions", 50, 1, maxInt, "The number of partitions of __consumer_offsets when it is created. It cannot be changed later."),
	words(List, "process.roles", text("broker,controller"), "What this node is. Every node is a broker; one without controller never votes, whatever controller.quorum.voters says.", "broker", "controller").checked(checkRoles),
	integer(Int, "producer.id.expiration.ms", 86_400_000, 1, maxInt, "How long an idle idempotent producer is remembered, in milliseconds. A retry that comes later is appended a second time.").dynamic(),
	integer(Long, "queued.max.request.bytes", defaultQueuedBytes, -1, maxLong, "The maximum number of bytes of requests in memory; sockets are not read while it is reached. The same number bounds the responses that clients have not read yet. -1: the default."),
	integer(Int, "socket.request.max.bytes", 100<<20, 1<<20, 256<<20, "The largest Produce request, in bytes. All other requests have smaller limits of their own."),
	words(String, "ssl.endpoint.identification.algorithm", text("https"), "Whether the certificate of a node must name the host at which it was reached: https; empty: not.", "https", ""),
	secret("ssl.keystore.certificate.chain", "The certificate of this node in PEM, and those of the authorities between it and one that the others trust; in place of ssl.keystore.location."),
	secret("ssl.keystore.key", "The private key of ssl.keystore.certificate.chain in PEM (PKCS #8), not encrypted."),
	words(String, "ssl.keystore.location", nil, "A file in PEM with the private key of this node, which is not encrypted, and its certificate. A file that changes is in force a second later, for new connections."),
	words(String, "ssl.keystore.type", text("PEM"), "The format of the keystore: PEM only.", "PEM"),
	secret("ssl.truststore.certificates", "The certificates of the authorities that sign those of the nodes, in PEM; in place of ssl.truststore.location."),
	words(String, "ssl.truststore.location", nil, "A file in PEM with the certificates of the authorities that sign those of the nodes. It should have nothing but an authority of the cluster's own: whoever has a certificate of it is a node. Changes are taken over as those of ssl.keystore.location."),
	words(String, "ssl.truststore.type", text("PEM"), "The format of the truststore: PEM only.", "PEM"),
	integer(Int, "transaction.abort.timed.out.transaction.cleanup.interval.ms", 10_000, 1, maxInt, "How often transactions are looked for whose time is over, in milliseconds: they run for up to so much longer."),
	integer(Int, "transaction.max.timeout.ms", 900_000, 1, maxInt, "The longest time that a producer may ask for its transactions, in milliseconds. Consumers that read committed records wait for open transactions."),
	integer(Int, "transaction.remove.expired.transaction.cleanup.interval.ms", 3_600_000, 1, maxInt, "How often transactional ids are looked for that are not used any more, in milliseconds."),
	integer(Int, "transaction.state.log.num.partitions", 50, 1, maxInt, "The number of partitions of __transaction_state when it is created. It cannot be changed later."),
	integer(Int, "transactional.id.expiration.ms", 604_800_000, 1, maxInt, "How long a transactional id without a transaction is kept, in milliseconds. A producer that comes back later has to begin anew."),
	boolean("unclean.leader.election.enable", "false", unusedReplicas).dynamic(),
	integer(Long, "weir.balance.load.floor.bytes", 1<<20, 1, 1<<40, "The load of a broker in bytes a second, in and out, below which differences between brokers move no leaders."),
	integer(Int, "weir.balance.moves.in.flight", 32, 1, 1024, "How many partitions the active controller may have on their way to other brokers, to spread the leaders or to empty a drained broker. More is faster, and has more clients look for their leaders at a time."),
	integer(Long, "weir.block.cache.bytes", defaultBlockCacheBytes, 8<<20, maxLong, "Memory for records read back from the object store, in bytes."),
	boolean(DrainKey, "false", "Whether this broker gives its partitions to other brokers and is given none, until it is set to false again (weir drain). It is set for one broker, at run time.").ofOne(),
	integer(Long, "weir.cache.bytes", defaultCacheBytes, 32<<20, maxLong, "Memory for recent records, in bytes: all that waits for upload, then what was appended last, and some 250 bytes for each batch of that. Less than weir.wal.size.bytes leaves a part of the log unused."),
	integer(Int, "weir.clock.drift.max.ppm", 10_000, 0, 500_000, "How much faster or slower the monotonic clocks of two nodes may run, in parts per million. Leases are shortened by it, and the wait for their end is lengthened. If clocks differ by more, a reader may see old records; no acknowledged record is lost."),
	secret("weir.cluster.secret", "What the nodes of a cluster prove to each other that they know. The same on all nodes. Without it a node accepts others on a loopback address only."),
	integer(Long, "weir.compaction.bytes.per.second", 0, 0, maxLong, "The bandwidth of compaction, in bytes a second: what it reads from the object store and writes to it. 0: no bound; uploads and reads go first anyway. Too low for what is written, partitions consist of more and more objects."),
	boolean("weir.compaction.enabled", "true", "Whether the small objects of partitions are merged into large ones. Without, the metadata grow with every upload, for as long as retention keeps it, and cold reads take many requests."),
	integer(Long, "weir.coordinator.memory.bytes", defaultCoordinatorBytes, 1<<20, maxLong, "Memory for groups with their members and committed offsets, and for transactional ids, in bytes, as estimated: some 300 for the offset of a partition, 3,000 for a member, 500 for a transactional id, and names and metadata. At the bound new members, offsets of more partitions, more partitions in a transaction and new transactional ids are refused, and clients try again; what is there goes on, and transactions end. Lower refuses earlier; higher lets clients take more memory, and makes loading after a restart longer."),
	words(String, "weir.data.dir", text("data"), "The directory for everything that has no path of its own."),
	words(String, "weir.meta.path", nil, "The directory of the cluster metadata's log and snapshots; unset: meta under weir.data.dir."),
	words(String, "weir.metadata.shipping", text("wait"), "Whether a change of the metadata waits until the object store has a copy of it. wait: a start, a new topic or partition, an administrator's "+
		"change, and a block of ids wait for it. All that wait at one time share one write and one listing of the store; while the store is down, they wait, a start too. "+
		"The metadata disk may then be lost, restored from an old copy, or cloned without the loss of anything acknowledged. async: nothing waits, and the store has every change within "+
		"weir.metadata.shipping.interval.ms. Use it only where the metadata disk survives by itself, such as a regional volume: if the disk is lost, the last changes are lost with it, and a broker on an old copy of "+
		"the disk may serve until it finds the newer one in the store. Space in the log and objects are given up only after the store has the record that frees them, with either value.", "wait", "async"),
	integer(Long, "weir.metadata.shipping.interval.ms", 3000, 100, maxInt, "The time within which changes of the metadata that nothing waits for reach the object store, in milliseconds. Lower costs more requests; higher loses more if the metadata disk is lost."),
	words(String, "weir.metrics.address", nil, "The address, host:port, of Prometheus metrics (/metrics) and Go profiles (/debug/pprof); unset: neither is served.").checked(checkAddress),
	words(String, "weir.object.store", nil, "Where objects are kept: file:PATH, or s3:BUCKET or s3:BUCKET/PREFIX; unset: a directory objects under weir.data.dir.").checked(checkObjectStore),
	words(String, "weir.s3.checksum", text("crc32c"), "The checksum sent with every S3 upload; none where the store does not know it.", "crc32c", "none"),
	words(String, "weir.s3.endpoint", nil, "The URL of an S3-compatible store; unset: AWS in weir.s3.region."),
	boolean("weir.s3.path.style", "false", "Whether the bucket is in the path of a URL instead of its host name, as most stores other than AWS require."),
	words(String, "weir.s3.region", nil, "The region of the bucket; unset: as the environment of the AWS SDK says."),
	integer(Long, "weir.upload.bytes", 500_000_000, 1<<20, maxLong, "An upload starts when this many bytes of records wait for it. At most a third of weir.cache.bytes and of weir.wal.size.bytes."),
	integer(Long, "weir.upload.interval.ms", 60_000, 100, maxInt, "An upload starts when a record has waited this long for it, in milliseconds. Until then the write-ahead log has the only copy."),
	words(String, "weir.wal.abandoned", text(""), "Names of write-ahead logs (wal-...) of this broker that are lost for good: a start does without them. What was acknowledged and is only there is lost, and the offsets of their partitions go on far above. "+
		"For a broker that cannot start without them; where other brokers run, weir abandon-wal does it. A log that is there is read all the same."),
	words(String, "weir.wal.kind", text("device"), "Where the write-ahead log is. device: on the disk of weir.wal.path. object: in the object store, so that no acknowledged record depends on a disk; an acknowledgement "+
		"then waits for one write to the store, and a store that is down holds producers up. The store must have conditional create (If-None-Match), which a start makes sure of. A change counts from the next start on; what the log of the other kind holds is uploaded then.", "device", "object"),
	integer(Long, "weir.wal.object.bytes", 8<<20, 64<<10, 64<<20, "A write of an object log to the store is at most about so large, in bytes: one that is full waits no longer. At most weir.wal.size.bytes / 8."),
	integer(Int, "weir.wal.object.creates.in.flight", 8, 1, 64, "How many writes of an object log may be on their way to the store. More overtake a slow one, and take memory of weir.wal.object.bytes each."),
	integer(Int, "weir.wal.object.linger.burst", 8, 1, 1000, "How many writes of an object log may follow one another weir.wal.object.linger.min.ms apart after a pause; each is saved up in weir.wal.object.linger.max.ms without a write. 1: all wait for weir.wal.object.linger.max.ms. Higher lets longer chains of writes that wait for each other, as transactions are, end soon; a busy log makes the same number of requests."),
	integer(Int, "weir.wal.object.linger.max.ms", 250, 1, 60_000, "The time between two writes of an object log that are not full, in milliseconds, on average. Higher costs fewer requests, lower acknowledges sooner."),
	integer(Int, "weir.wal.object.linger.min.ms", 10, 0, 60_000, "How long an object log that is not busy waits for more records (see weir.wal.object.linger.burst), in milliseconds. At most weir.wal.object.linger.max.ms."),
	words(String, "weir.wal.path", nil, "The write-ahead log: a directory for its files, or a block device; unset: wal under weir.data.dir."),
	boolean("weir.wal.shared", "false", "Whether weir.wal.path is a directory that other brokers reach too, on a regional volume or NFS, so that they can take over what it holds. Each then costs a small read for each group of writes. All brokers of the directory need the same value."),
	integer(Long, "weir.wal.size.bytes", defaultWALBytes, 64<<20, 1<<46, "The size of the write-ahead log, in bytes: how much is accepted while the object store does not answer, and of an object log how much may wait for its upload."),
}

func checkListeners(value string) error {
	_, err := ParseListeners(value)
	return err
}

func checkAddress(value string) error {
	colon := strings.LastIndexByte(value, ':')
	port, err := parseInteger(value[colon+1:])
	if colon < 0 || err != nil || port < 0 || port > 65535 {
		return fmt.Errorf("must be host:port")
	}
	return nil
}

func checkAddresses(value string) error {
	for _, one := range SplitList(value) {
		if err := checkAddress(one); err != nil {
			return fmt.Errorf("%q %w", one, err)
		}
	}
	return nil
}

func someElement(value string) error {
	if len(SplitList(value)) == 0 {
		return fmt.Errorf("at least one value is needed")
	}
	return nil
}

// protocols are Kafka's. A map may name them for listeners that are not used, as the
// file that comes with Kafka does.
var protocols = []string{plaintext, ssl, "SASL_PLAINTEXT", "SASL_SSL"}

// plaintext is the only protocol that clients are served by yet; ssl is TLS, between nodes.
const (
	plaintext = "PLAINTEXT"
	ssl       = "SSL"
)

func checkProtocols(value string) error {
	for _, pair := range SplitList(value) {
		name, protocol, ok := strings.Cut(pair, ":")
		if !ok || name == "" {
			return fmt.Errorf("%q is not NAME:PROTOCOL", pair)
		}
		if !slices.Contains(protocols, protocol) {
			return fmt.Errorf("%s of listener %s is none of the protocols %s", protocol, name, strings.Join(protocols, ", "))
		}
	}
	return nil
}

func oneElement(value string) error {
	if n := len(SplitList(value)); n != 1 {
		return fmt.Errorf("one is needed, not %d", n)
	}
	return nil
}

func checkObjectStore(value string) error {
	kind, rest, ok := strings.Cut(value, ":")
	if !ok || rest == "" || (kind != "file" && kind != "s3") || (kind == "s3" && strings.HasPrefix(rest, "/")) {
		return fmt.Errorf("must be file:PATH, s3:BUCKET or s3:BUCKET/PREFIX")
	}
	return nil
}

// BrokerKeys returns the definitions of broker keys, sorted by key.
func BrokerKeys() []Definition { return brokerKeys }

// BrokerKey finds a broker key.
func BrokerKey(key string) (*Definition, bool) { return find(brokerKeys, key) }
