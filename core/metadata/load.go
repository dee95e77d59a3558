package metadata

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// image makes an image of a snapshot's contents and proves what Apply relies on.
func (s *contents) image(index uint64, version uint8) (*Image, error) {
	if err := s.validateOrder(); err != nil {
		return nil, err
	}
	im := &Image{
		index: index, clusterID: s.clusterID, features: s.features, brokers: s.brokers, brokerConfigs: s.brokerConfigs, groupConfigs: s.groupConfigs,
		topics: s.topics, streams: make(map[StreamID]*Stream, len(s.streams)), objects: make(map[ObjectID]*Object, len(s.objects)),
		recoveries: s.recoveries, objectWALs: s.objectWALs, incarnation: s.incarnation, leaderEpochFloor: s.leaderEpochFloor,
		leases: s.leases, nextStream: s.nextStream, nextObject: s.nextObject, nextProducer: s.nextProducer,
		changes: Changes{All: true},
	}
	im.derive()
	for _, load := range []func(*contents) error{im.loadBrokers, im.loadObjects, im.loadStreams, im.loadTopics, im.loadLeases} {
		if err := load(s); err != nil {
			return nil, err
		}
	}
	im.deriveRecoveries(version)
	for _, o := range s.objects {
		if (o.Parts == 0) != (o.DestroyedAt > 0) || o.DestroyedAt > index {
			return nil, fmt.Errorf("object %d has %d parts and was destroyed at index %d", o.ID, o.Parts, o.DestroyedAt)
		}
		if o.State = ObjectCommitted; o.Parts == 0 {
			o.State = ObjectDestroyed
			im.destroyed.Set(o)
		}
	}
	return im, nil
}

// deriveRecoveries names, in a snapshot from before they were kept, the current epoch of
// each broker for its ended ones; and in one from before brokers recovered each other's, the broker.
func (im *Image) deriveRecoveries(version uint8) {
	if version >= 4 {
		return
	}
	if len(im.recoveries) > 0 {
		for i := range im.recoveries {
			im.recoveries[i].Broker = im.brokerOf(im.recoveries[i].By)
		}
		return
	}
	named := map[BrokerEpoch]bool{}
	for _, id := range im.streamIDs() {
		for _, r := range im.streams[id].Ranges {
			if by := im.epochOf(r.Broker); r.owes() && by != r.BrokerEpoch && by != 0 && !named[r.BrokerEpoch] {
				named[r.BrokerEpoch] = true
				im.recoveries = append(im.recoveries, Recovery{Ended: r.BrokerEpoch, By: by, Broker: r.Broker})
			}
		}
	}
	slices.SortStableFunc(im.recoveries, func(a, b Recovery) int { return cmp.Compare(a.Ended, b.Ended) })
}

// brokerOf is the broker that is at an epoch; 0 if there is none.
func (im *Image) brokerOf(epoch BrokerEpoch) BrokerID {
	for _, b := range im.brokers {
		if b.Epoch == epoch {
			return b.ID
		}
	}
	return 0
}

// validateOrder refuses lists that are not in the order in which images keep them.
func (s *contents) validateOrder() error {
	ordered := sortedFeatures(s.features) &&
		ascending(s.brokers, func(a, b **Broker) bool { return (*a).ID < (*b).ID }) &&
		ascending(s.brokerConfigs, func(a, b *brokerConfigs) bool { return a.id < b.id }) &&
		ascending(s.groupConfigs, func(a, b *groupConfigs) bool { return a.group < b.group }) &&
		ascending(s.topics, func(a, b **Topic) bool { return (*a).Name < (*b).Name }) &&
		ascending(s.streams, func(a, b **Stream) bool { return (*a).ID < (*b).ID }) &&
		ascending(s.objects, func(a, b **Object) bool { return (*a).ID < (*b).ID }) &&
		ascending(s.recoveries, func(a, b *Recovery) bool { return a.Ended < b.Ended }) &&
		ascending(s.objectWALs, func(a, b *ObjectWAL) bool { return a.Epoch < b.Epoch }) &&
		ascending(s.leases, func(a, b *Lease) bool { return a.End <= b.First })
	for i := range s.brokerConfigs {
		ordered = ordered && sortedConfigs(s.brokerConfigs[i].configs)
	}
	for i := range s.groupConfigs {
		ordered = ordered && sortedConfigs(s.groupConfigs[i].configs)
	}
	if !ordered || s.nextStream == 0 || s.nextObject == 0 || s.nextObject > 1<<63 || s.nextProducer < 0 {
		return fmt.Errorf("a list is out of order, or a counter out of bounds")
	}
	return nil
}

func (im *Image) loadBrokers(s *contents) error {
	for i, b := range s.brokers {
		if b.ID < 0 || b.Epoch <= 0 || uint64(b.Epoch) > im.index {
			return fmt.Errorf("broker %d has epoch %d at index %d", b.ID, b.Epoch, im.index)
		}
		for _, other := range s.brokers[:i] {
			if other.Epoch == b.Epoch {
				return fmt.Errorf("brokers %d and %d have the same epoch", other.ID, b.ID)
			}
		}
	}
	return nil
}

func (im *Image) loadObjects(s *contents) error {
	for _, o := range s.objects {
		if o.ID == 0 || o.ID >= im.nextObject || o.Bytes < 0 {
			return fmt.Errorf("object %d of %d bytes; the next is %d", o.ID, o.Bytes, im.nextObject)
		}
		im.objects[o.ID] = o
	}
	return nil
}

func (im *Image) loadStreams(s *contents) error {
	for _, stream := range s.streams {
		stream.Checkpoint = bytes.Clone(stream.Checkpoint)
		if stream.ID == 0 || stream.ID >= im.nextStream || stream.LogStart < 0 || !stream.sound() {
			return fmt.Errorf("stream %d has ranges or parts that do not fit", stream.ID)
		}
		for i := range stream.Ranges {
			im.owe(&stream.Ranges[i], 1)
		}
		for i := range stream.Parts {
			if stream.Parts[i].Lost() {
				continue
			}
			o := im.objects[stream.Parts[i].Object]
			if o == nil {
				return fmt.Errorf("stream %d refers to object %d, which is not there", stream.ID, stream.Parts[i].Object)
			}
			o.Parts++
		}
		if stream.Stored.Named() {
			o := im.objects[stream.Stored.Object]
			if o == nil || !stream.Stored.sound() || stream.Stored.End > stream.CheckpointEnd || len(stream.Checkpoint) > 0 {
				return fmt.Errorf("the checkpoint of stream %d lies in object %d, which is not there, or not as it should", stream.ID, stream.Stored.Object)
			}
			o.Parts++
		}
		im.streams[stream.ID] = stream
	}
	return nil
}

// sound says that ranges and parts are as Stream promises.
func (s *Stream) sound() bool {
	newest := len(s.Ranges) - 1
	for i := range s.Ranges {
		r := &s.Ranges[i]
		if r.Start < 0 || r.LeaderEpoch < 0 || r.Committed < r.Start || r.End < -1 || !r.Open() && r.End < r.Committed {
			return false
		}
		if i < newest && (r.Open() || r.End == r.Start || r.End != s.Ranges[i+1].Start || r.LeaderEpoch >= s.Ranges[i+1].LeaderEpoch) {
			return false
		}
	}
	for i := range s.Parts {
		p := &s.Parts[i]
		if p.Start < 0 || p.End <= p.Start || p.End <= s.LogStart || !s.committed(p) || i > 0 && s.Parts[i-1].End > p.Start {
			return false
		}
	}
	return newest >= 0
}

// committed says that ranges have committed all of a part that the log start has not passed. A part that
// replaced others may reach over several ranges, and begin before the first that is left.
func (s *Stream) committed(p *Part) bool {
	next := p.Start
	for i := range s.Ranges {
		r := &s.Ranges[i]
		if i == 0 && r.Start <= s.LogStart {
			next = max(next, r.Start)
		}
		if r.Start <= next {
			next = max(next, r.Committed)
		}
	}
	return next >= p.End
}

func (im *Image) loadTopics(s *contents) error {
	bound := 0
	for _, t := range s.topics {
		_, taken := im.byID[t.ID]
		if _, collides := im.Colliding(t.Name); taken || collides || t.Name == "" || len(t.Partitions) == 0 || !sortedConfigs(t.Configs) {
			return fmt.Errorf("topic %q is not as topics are", t.Name)
		}
		im.indexTopic(t)
		for i := range t.Partitions {
			p := &t.Partitions[i]
			stream := im.streams[p.Stream]
			if stream == nil || stream.Topic != (TopicID{}) || t.ID == (TopicID{}) ||
				stream.Newest().LeaderEpoch != p.LeaderEpoch || stream.Newest().Broker != p.Leader {
				return fmt.Errorf("partition %d of topic %s does not fit its stream %d", i, t.Name, p.Stream)
			}
			stream.Topic, stream.Partition = t.ID, p.Index
			bound++
		}
	}
	if bound != len(s.streams) {
		return fmt.Errorf("%d streams for %d partitions", len(s.streams), bound)
	}
	return nil
}

func (im *Image) loadLeases(s *contents) error {
	for _, l := range s.leases {
		if l.First == 0 || l.First >= l.End || l.End > im.nextObject {
			return fmt.Errorf("lease of objects %d to %d; the next is %d", l.First, l.End, im.nextObject)
		}
	}
	for _, o := range s.objects {
		if _, prepared := im.searchLease(o.ID); prepared {
			return fmt.Errorf("object %d is committed and prepared", o.ID)
		}
	}
	return nil
}
