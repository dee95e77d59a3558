package partition

import "weir/core/metadata"

// EpochStart says at which offset a leader epoch began.
type EpochStart struct {
	Epoch int32
	Start int64
}

// epochCache is Kafka's leader epoch cache, ascending by epoch and start. Its
// last entry is the current epoch.
type epochCache []EpochStart

// UndefinedOffset and UndefinedEpoch say that an epoch is not known.
const (
	UndefinedOffset = -1
	UndefinedEpoch  = -1
)

// epochsOf reads the cache off a stream's ranges. An epoch in which nothing was
// written gives way to the next, as in Kafka.
func epochsOf(ranges []metadata.Range) epochCache {
	cache := make(epochCache, 0, len(ranges))
	for _, r := range ranges {
		for len(cache) > 0 && cache[len(cache)-1].Start >= r.Start {
			cache = cache[:len(cache)-1]
		}
		if n := len(cache); n > 0 && cache[n-1].Epoch >= r.LeaderEpoch {
			continue
		}
		cache = append(cache, EpochStart{Epoch: r.LeaderEpoch, Start: r.Start})
	}
	return cache
}

// endOf returns the largest epoch not above the asked one and the offset where
// it ends (KIP-320); end is the log's end as clients may know it. An epoch above
// the newest is undefined, as is the question for none.
func (c epochCache) endOf(epoch int32, logStart, end int64) (int32, int64) {
	if epoch < 0 || len(c) == 0 || epoch > c[len(c)-1].Epoch {
		return UndefinedEpoch, UndefinedOffset
	}
	if epoch == c[len(c)-1].Epoch {
		return epoch, end
	}
	next := 0
	for c[next].Epoch <= epoch {
		next++
	}
	if next == 0 || c[next].Start <= logStart {
		// Nothing of that epoch is left: the answer is where the next begins.
		return epoch, max(c[next].Start, logStart)
	}
	return c[next-1].Epoch, c[next].Start
}

// at returns the epoch in which an offset was written; UndefinedEpoch below all.
func (c epochCache) at(offset int64) int32 {
	epoch := int32(UndefinedEpoch)
	for _, e := range c {
		if e.Start > offset {
			break
		}
		epoch = e.Epoch
	}
	if epoch == UndefinedEpoch && len(c) > 0 {
		return c[0].Epoch
	}
	return epoch
}
