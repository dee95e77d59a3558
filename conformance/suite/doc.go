// Package suite runs conformance cases against a Kafka endpoint and reports what it found.
//
// A [Case] states one fact about one API, or about a sequence of them; its name begins with the API's name or a KIP's
// number. A case of an API is run once for each version of it that Apache Kafka 4.4 serves, as API/fact/vN, on connections
// of its own; each run counts as one case. A run is skipped, with the reason, if the endpoint does not advertise the version
// or another API that the case needs, or if the endpoint's configuration rules it out. Cases use names of their own for
// topics, groups and transactional ids, remove nothing, and run in parallel unless they are marked Serial.
//
// The expectations are those of the released Apache Kafka broker: a case counts only if it passes there, which
// `make conformance-kafka` shows. Where weir differs on purpose, the case stands in [Differences] with the reason; it is then
// run on weir all the same, counted as skipped while it fails, and reported once it passes.
//
// Raw cases talk to one broker only. In a cluster of several each case has one of them, in turn: its names are chosen such that this
// broker coordinates its groups and transactional ids, and the partitions of the topics that it creates are moved there.
//
// The package may call conformance/rawconn and franz-go, and nothing of weir: it knows brokers by their sockets alone.
package suite
