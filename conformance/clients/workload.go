package clients

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// Codecs are Kafka's, by the names that clients use.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

const (
	valueBytesMin = 100
	valueBytesMax = 1024
)

// Workload is a set of records that follows from its seed, so that nobody needs to
// hold it: record i of a partition is made again when it is compared.
type Workload struct {
	Seed       uint64
	Partitions int32
	// Records are in all, spread evenly; the first partitions get one more.
	Records int
}

// Count is the number of records of a partition.
func (w Workload) Count(partition int32) int {
	n := w.Records / int(w.Partitions)
	if int(partition) < w.Records%int(w.Partitions) {
		n++
	}
	return n
}

// Value appends record i of a partition to dst: 100 to 1,024 bytes, half of them
// words that compress, half of them any bytes but a line feed, which separates
// records for clients that read lines.
func (w Workload) Value(dst []byte, partition int32, i int) []byte {
	random := rand.NewPCG(w.Seed, uint64(partition)<<40|uint64(i))
	size := valueBytesMin + int(random.Uint64()%(valueBytesMax-valueBytesMin+1))
	end := len(dst) + size
	dst = fmt.Appendf(dst, "%d/%d/%d ", w.Seed, partition, i)
	for half := end - size/2; len(dst) < half; {
		dst = append(dst, words[random.Uint64()%uint64(len(words))]...)
	}
	for len(dst) < end {
		from := len(dst)
		dst = binary.LittleEndian.AppendUint64(dst, random.Uint64())
		for j := from; j < len(dst); j++ {
			if dst[j] == '\n' {
				dst[j] = 0
			}
		}
	}
	return dst[:end]
}

var words = []string{"weir ", "river ", "sluice ", "gate ", "water ", "level ", "flood ", "bank "}
