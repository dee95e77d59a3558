// DescribeLogDirs (35), versions 1-5 (KIP-113): a top-level error (KIP-784, version 3), the volume's size (KIP-827, 4), cordoned
// directories (KIP-1066, 5), of which there are none.
//
// One directory stands for all: sizes are those of logs wherever they lie, in the write-ahead log or in the object store.

package broker

import (
	"weir/core/env"
	"weir/core/partition"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeLogDirs says how large the partitions are that this broker leads. There
// is one directory in the answer: sizes are those of the logs wherever they lie,
// in the write-ahead log or in the object store. TotalBytes and UsableBytes
// (KIP-827, version 4) are those of the volume of the write-ahead log, -1 if its
// disk cannot tell: the object store has no bound.
func (b *Broker) describeLogDirs(x exchange, r *kmsg.DescribeLogDirsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	sizes := logDirSizes{dir: kmsg.NewDescribeLogDirsResponseDir(), topics: make(map[string]int)}
	sizes.dir.Dir = b.config.DataDir
	if r.Topics == nil {
		for _, p := range b.partitions.Partitions() {
			sizes.add(p)
		}
	} else {
		sizes.addAsked(b.partitions, r)
	}
	b.disk.Space(&env.DiskSpace{Done: func(op *env.DiskSpace) {
		if op.Err == nil {
			sizes.dir.TotalBytes, sizes.dir.UsableBytes = op.TotalBytes, op.UsableBytes
		}
		out.Dirs = []kmsg.DescribeLogDirsResponseDir{sizes.dir}
		x.replyMessage(out)
	}})
}

// logDirSizes gathers partitions under their topics.
type logDirSizes struct {
	dir    kmsg.DescribeLogDirsResponseDir
	topics map[string]int // index in dir.Topics
}

// addAsked adds the partitions asked for, each once; those that are not here are
// left out, as in Kafka.
func (s *logDirSizes) addAsked(partitions *partition.Manager, r *kmsg.DescribeLogDirsRequest) {
	seen := make(map[*partition.Partition]bool)
	for i := range r.Topics {
		for _, index := range r.Topics[i].Partitions {
			p, code := partitions.ByName(r.Topics[i].Topic, index)
			if code == wire.None && !seen[p] {
				seen[p] = true
				s.add(p)
			}
		}
	}
}

func (s *logDirSizes) add(p *partition.Partition) {
	i, ok := s.topics[p.Name]
	if !ok {
		i = len(s.dir.Topics)
		s.topics[p.Name] = i
		s.dir.Topics = append(s.dir.Topics, kmsg.NewDescribeLogDirsResponseDirTopic())
		s.dir.Topics[i].Topic = p.Name
	}
	t := &s.dir.Topics[i]
	one := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
	one.Partition, one.Size = p.Index, p.Bytes()
	t.Partitions = append(t.Partitions, one)
}
