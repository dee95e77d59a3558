package metadata

// Strides between two incarnations of a cluster. A rebuild may miss the last records of the
// incarnation before it, but nobody draws so many ids, or takes over so often, in a few seconds.
const (
	incarnationIDs          = 1 << 32 // object, stream and producer ids
	incarnationLeaderEpochs = 1 << 10
)

// Incarnation is the number of the cluster's incarnation: 0, and one more with each rebuild from the
// object store.
func (im *Image) Incarnation() uint32 { return im.incarnation }

// BeginIncarnation makes the image that of a new incarnation of the cluster, as of a log index that
// no record of an older one has. Ids and leader epochs are given from above everything that the
// incarnation before may have given by records that were lost.
func (im *Image) BeginIncarnation(incarnation uint32, index uint64) {
	im.index, im.incarnation = index, incarnation
	im.nextObject = nextMultiple(im.nextObject)
	im.nextStream = nextMultiple(im.nextStream)
	im.nextProducer = nextMultiple(im.nextProducer)
	highest := int32(0)
	for _, id := range im.streamIDs() {
		highest = max(highest, im.streams[id].Newest().LeaderEpoch)
	}
	im.leaderEpochFloor = highest + incarnationLeaderEpochs
	im.changes = Changes{All: true}
}

func nextMultiple[T ~int64 | ~uint64](n T) T { return (n/incarnationIDs + 1) * incarnationIDs }
