package config

// groupKeys are the keys of a group, sorted. Those of share and streams groups, which are not served yet, are shown with
// their defaults, since tools ask for them, and have no effect.
var groupKeys = []Definition{
	integer(Int, "consumer.assignment.interval.ms", 1000, 0, maxInt, "The shortest time between two assignments of the group, in milliseconds. 0: every change is assigned at once.").standIn(same("group.consumer.assignment.interval.ms")),
	integer(Int, "consumer.heartbeat.interval.ms", 5000, 1, maxInt, "How often the members are told to send heartbeats, in milliseconds.").standIn(same("group.consumer.heartbeat.interval.ms")),
	integer(Int, "consumer.session.timeout.ms", 45_000, 1, maxInt, "How long a member may be silent before it is removed, in milliseconds.").standIn(same("group.consumer.session.timeout.ms")),
	boolean("errors.deadletterqueue.copy.record.enable", "false", unusedShare).standIn(same("errors.deadletterqueue.copy.record.enable")),
	words(String, "errors.deadletterqueue.topic.name", text(""), unusedShare).standIn(same("errors.deadletterqueue.topic.name")),
	integer(Int, "share.assignment.interval.ms", 1000, 0, maxInt, unusedShare).standIn(same("group.share.assignment.interval.ms")),
	words(String, "share.auto.offset.reset", text("latest"), unusedShare).standIn(same("share.auto.offset.reset")),
	integer(Int, "share.delivery.count.limit", 5, 2, maxInt, unusedShare).standIn(same("group.share.delivery.count.limit")),
	integer(Int, "share.heartbeat.interval.ms", 5000, 1, maxInt, unusedShare).standIn(same("group.share.heartbeat.interval.ms")),
	words(String, "share.isolation.level", text("read_uncommitted"), unusedShare, "read_uncommitted", "read_committed").standIn(same("share.isolation.level")),
	integer(Int, "share.partition.max.record.locks", 2000, 100, maxInt, unusedShare).standIn(same("group.share.partition.max.record.locks")),
	integer(Int, "share.record.lock.duration.ms", 30_000, 1000, maxInt, unusedShare).standIn(same("group.share.record.lock.duration.ms")),
	boolean("share.renew.acknowledge.enable", "true", unusedShare).standIn(same("share.renew.acknowledge.enable")),
	integer(Int, "share.session.timeout.ms", 45_000, 1, maxInt, unusedShare).standIn(same("group.share.session.timeout.ms")),
	integer(Int, "streams.assignment.interval.ms", 1000, 0, maxInt, unusedGroups).standIn(same("group.streams.assignment.interval.ms")),
	words(String, "streams.assignor.name", text("sticky"), unusedGroups).standIn(same("group.streams.assignors")),
	integer(Int, "streams.heartbeat.interval.ms", 5000, 1, maxInt, unusedGroups).standIn(same("group.streams.heartbeat.interval.ms")),
	integer(Int, "streams.initial.rebalance.delay.ms", 3000, 0, maxInt, unusedGroups).standIn(same("group.streams.initial.rebalance.delay.ms")),
	integer(Int, "streams.num.standby.replicas", 0, 0, maxInt, unusedGroups).standIn(same("group.streams.num.standby.replicas")),
	words(List, "streams.rack.aware.assignment.tags", text(""), unusedGroups).standIn(same("group.streams.rack.aware.assignment.tags")),
	integer(Int, "streams.session.timeout.ms", 45_000, 1, maxInt, unusedGroups).standIn(same("group.streams.session.timeout.ms")),
}

// clientMetricsKeys are the keys of a subscription to clients' metrics (KIP-714), sorted, shown in the same way.
var clientMetricsKeys = []Definition{
	integer(Int, "interval.ms", 300_000, 100, 3_600_000, unusedClientMetrics),
	words(List, "match", text(""), unusedClientMetrics),
	words(List, "metrics", text(""), unusedClientMetrics),
}

const (
	unusedGroups        = "Without effect: streams groups are not served yet."
	unusedClientMetrics = "Without effect: clients' metrics are not collected."
)

// GroupKey finds a group key.
func GroupKey(key string) (*Definition, bool) { return find(groupKeys, key) }

// ClientMetricsKeys returns the definitions of a client metrics subscription's keys, sorted by key.
func ClientMetricsKeys() []Definition { return clientMetricsKeys }

// DescribeDefinitions lists keys that nothing sets, each with its default. Kafka names the broker key that
// the default comes from, with the same value.
func DescribeDefinitions(table []Definition) []Entry {
	entries := make([]Entry, len(table))
	for i := range table {
		e := &entries[i]
		e.Definition = &table[i]
		e.Value, e.Source, e.Origin = e.Default, Default, "default"
		for _, synonym := range e.Synonyms {
			e.Chain = append(e.Chain, ChainLink{Key: synonym.Key, Value: e.Default, Source: Default})
		}
	}
	return entries
}
