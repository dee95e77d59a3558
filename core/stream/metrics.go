package stream

import (
	"weir/core/env"
	"weir/core/telemetry"
)

type metrics struct {
	appended, refused, uploads, uploadBytes, commits, commitsFailed, partsRefused env.Counter
	putLatency, commitLatency                                                     env.Histogram
	cacheBytes, uncommitted                                                       env.Gauge
	uploaded, tailUploaded                                                        telemetry.LastSuccess

	compactedObjects, compactedParts, compactionsFailed, compactionReads env.Counter
	compactionBytesRead, compactionBytesWritten                          env.Counter
	partsMax, parts                                                      env.Gauge
	owedRead, owedServed                                                 env.Counter
	compacted                                                            telemetry.LastSuccess
}

func newMetrics(t *telemetry.Registry, clock env.Clock) metrics {
	return metrics{
		appended:      t.Counter("weir_appended_bytes_total", "bytes of record batches that became durable"),
		refused:       t.Counter("weir_stream_appends_refused_total", "appends refused because WAL or log cache was full"),
		uploads:       t.Counter("weir_upload_objects_total", "objects put into the store"),
		uploadBytes:   t.Counter("weir_upload_bytes_total", "bytes of objects put into the store"),
		commits:       t.Counter("weir_upload_commits_total", "objects committed"),
		commitsFailed: t.Counter("weir_upload_commits_failed_total", "answers to commits that were an error; they are tried again"),
		partsRefused:  t.Counter("weir_upload_parts_refused_total", "parts of commits that the image refused"),
		putLatency:    t.Histogram("weir_store_put_nanoseconds", "time from submitting a PUT to its completion"),
		commitLatency: t.Histogram("weir_upload_commit_nanoseconds", "time from proposing a commit to its answer"),
		cacheBytes:    t.Gauge("weir_log_cache_bytes", "memory for recent appends, and for the notes of batches that are not uploaded yet"),
		uploaded:      t.LastSuccess(clock, "upload", "when an upload was last committed; old while weir_upload_waiting_bytes is not 0, it stands still"),
		tailUploaded:  t.LastSuccess(clock, "tail_upload", "when a piece of a recovered log was last committed"),

		compactedObjects:       t.Counter("weir_compaction_objects_total", "objects that compaction put into the store"),
		compactedParts:         t.Counter("weir_compaction_parts_total", "parts of streams that compaction replaced"),
		compactionsFailed:      t.Counter("weir_compaction_failed_total", "compactions that were given up; they are tried again later"),
		compactionReads:        t.Counter("weir_compaction_reads_total", "reads of the store by compaction"),
		compactionBytesRead:    t.Counter("weir_compaction_read_bytes_total", "bytes that compaction read from the store"),
		compactionBytesWritten: t.Counter("weir_compaction_written_bytes_total", "bytes that compaction sent to the store; what the store copied by itself is not counted"),
		partsMax:               t.Gauge("weir_compaction_stream_parts", "the most objects that hold records of one partition"),
		parts:                  t.Gauge("weir_compaction_parts", "parts of all partitions that this broker leads: for each, the objects that hold its records"),
		compacted:              t.LastSuccess(clock, "compaction", "when a compaction last replaced parts of streams; old while weir_compaction_stream_parts grows, it stands still"),

		owedRead:   t.Counter("weir_tail_read_bytes_total", "bytes of records that other brokers owed to the store and gave to readers here from their logs, after a move of their partitions"),
		owedServed: t.Counter("weir_tail_read_served_bytes_total", "bytes of records that this broker owed to the store and gave to other brokers from its log, after a move of their partitions"),

		uncommitted: t.Gauge("weir_upload_waiting_bytes", "durable bytes that no upload has taken yet"),
	}
}

type readMetrics struct {
	gets, getBytes, hedges, blockHits, blockMisses, readAhead, aheadWasted, lost env.Counter
	getLatency                                                                   env.Histogram
	blockBytes, brake                                                            env.Gauge
}

func newReadMetrics(t *telemetry.Registry) readMetrics {
	return readMetrics{
		gets:        t.Counter("weir_store_gets_total", "reads of the store"),
		getBytes:    t.Counter("weir_store_get_bytes_total", "bytes read from the store"),
		hedges:      t.Counter("weir_store_get_hedges_total", "reads of the store that were asked for a second time because the first took longer than most; weir_store_gets_total counts them too"),
		blockHits:   t.Counter("weir_block_cache_hits_total", "blocks found in the block cache"),
		blockMisses: t.Counter("weir_block_cache_misses_total", "blocks that had to be read from the store"),
		readAhead:   t.Counter("weir_block_read_ahead_total", "blocks read ahead of demand"),
		aheadWasted: t.Counter("weir_block_read_ahead_wasted_total", "blocks read ahead of demand that nobody read in time"),
		lost:        t.Counter("weir_store_lost_reads_total", "reads of committed records whose object is gone from the store or damaged in it"),
		getLatency:  t.Histogram("weir_store_get_nanoseconds", "time from submitting a GET to its completion"),
		brake:       t.Gauge("weir_store_get_limit_bytes_per_second", "what reads of the store are held to, so that acknowledgements are not slower for them; 0: nothing"),
		blockBytes:  t.Gauge("weir_block_cache_bytes", "blocks of the store in memory"),
	}
}
