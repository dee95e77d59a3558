package node

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/peer"
	"weir/core/task"
)

// release is what this node knows of records, snapshots and the messages between nodes: the highest level of controller.MetadataFeature that
// it serves. In production it is the newest. The simulator runs nodes as older releases beside newer ones: what those did not know ends
// such a node, or is refused, as it was there.
type release int16

// thisRelease is the newest.
const thisRelease release = controller.MetadataLevelMax

func releaseOf(t *Tuning) release { return cmp.Or(release(t.MetadataLevel), thisRelease) }

func (r release) features() []controller.Feature { return controller.FeaturesOf(int16(r)) }

// serves reports whether the release knows a method of the calls between nodes.
func (r release) serves(m peer.Method) bool {
	return r >= controller.CleaningLevel || m <= methodChangeMember
}

// decode decodes a record that this release knows.
func (r release) decode(b []byte) (metadata.Record, error) {
	record, err := metadata.DecodeRecord(b)
	if err == nil && (levelOf(record) > r || r < controller.PackedSnapshotsLevel && hasDense(record)) {
		return nil, fmt.Errorf("%w: type %d is not known: a newer release wrote it", metadata.ErrRecord, b[0])
	}
	return record, err
}

// levelOf is the first release that knows a record.
func levelOf(r metadata.Record) release {
	switch r := r.(type) {
	case *metadata.CleanStream, *metadata.AbandonWAL, *metadata.MoveCheckpoints:
		return controller.CleaningLevel
	case *metadata.CommitObject:
		if slices.ContainsFunc(r.Parts, func(p metadata.CommitPart) bool { return p.Stored.Named() }) {
			return controller.StoredCheckpointsLevel
		}
	case *metadata.SealRanges:
		if len(r.Objects) > 0 {
			return controller.StoredCheckpointsLevel
		}
	case *metadata.ReplaceParts:
		return controller.ReplacementsLevel
	}
	return 1
}

// hasDense reports whether a record carries a checkpoint that only releases from controller.PackedSnapshotsLevel on read.
func hasDense(r metadata.Record) bool {
	switch r := r.(type) {
	case *metadata.CommitObject:
		return slices.ContainsFunc(r.Parts, func(p metadata.CommitPart) bool { return partition.CheckpointIsDense(p.Checkpoint) })
	case *metadata.SealRanges:
		return slices.ContainsFunc(r.Seals, func(s metadata.Seal) bool { return partition.CheckpointIsDense(s.Checkpoint) })
	case *metadata.MoveCheckpoints:
		return slices.ContainsFunc(r.Checkpoints, func(m metadata.MovedCheckpoint) bool { return partition.CheckpointIsDense(m.Checkpoint) })
	}
	return false
}

// reads returns an error if the release does not know the version of a snapshot.
func (r release) reads(snapshot []byte) error {
	if v := metadata.SnapshotVersion(snapshot); v > r.snapshotVersion() {
		return fmt.Errorf("%w: version %d is not known: a newer release wrote it", metadata.ErrSnapshot, v)
	}
	return nil
}

// snapshotVersion is the newest version of a snapshot that the release knows.
func (r release) snapshotVersion() uint8 {
	switch {
	case r < controller.CleaningLevel:
		return metadata.SnapshotVersionBeforeCleaning
	case r < controller.PackedSnapshotsLevel:
		return metadata.SnapshotVersionBeforePacking
	}
	return math.MaxUint8 // metadata decides
}

// supportTimeout bounds the wait for what another node serves.
const supportTimeout = 2 * time.Second

// featuresOf answers which features this node serves.
func (n *Node) featuresOf(_ int32, _ []byte, reply func([]byte, *peer.Refusal)) {
	reply(controller.AppendFeatures(nil, n.release.features()), nil)
}

// askFeatures asks all other brokers and voters which features they serve. A learner that is no broker yet finds out at its own start that the cluster uses what
// it does not serve.
func (n *Node) askFeatures(done func([]controller.Support)) {
	others := n.otherNodes()
	if len(others) == 0 {
		done(nil)
		return
	}
	said, waiting := make([]controller.Support, len(others)), len(others)
	for i, id := range others {
		n.peers.calls.Call(id, methodFeatures, nil, supportTimeout, func(b []byte, err error) {
			said[i] = supportOf(id, b, err)
			if waiting--; waiting == 0 {
				done(said)
			}
		})
	}
}

// otherNodes are the other brokers, fenced ones too, and voters, by id.
func (n *Node) otherNodes() []int32 {
	ids := map[int32]bool{}
	if n.peers != nil {
		for _, b := range n.metadata.image.Brokers() {
			ids[int32(b.ID)] = true
		}
		voters, _ := n.quorum.Members()
		for _, v := range voters {
			ids[v.Node()] = true
		}
	}
	delete(ids, n.config.NodeID)
	return slices.Sorted(maps.Keys(ids))
}

func supportOf(id int32, body []byte, err error) controller.Support {
	s := controller.Support{Node: id}
	var refused *peer.Refusal
	switch {
	case errors.As(err, &refused):
		s.Older = true // every release that knows the question answers it
	case err != nil:
		s.Silent = true
	default:
		s.Features, err = controller.DecodeFeatures(body)
		s.Silent = err != nil
	}
	return s
}

// raiseLevel raises the level of records to that from which on logs may be given up, if no node of an older release is left.
func (n *Node) raiseLevel(p *task.Proc) (err error) {
	if n.metadata.image.Feature(controller.MetadataFeature) >= controller.CleaningLevel {
		return nil
	}
	update := controller.FeatureUpdate{Name: controller.MetadataFeature, Level: controller.CleaningLevel, Type: controller.Upgrade}
	p.Await(func(wake func()) {
		n.controller.UpdateFeatures([]controller.FeatureUpdate{update}, false, func(refused error) {
			err = refused
			wake()
		})
	})
	if err != nil {
		return fmt.Errorf("weir.wal.abandoned needs all brokers and voters to run, and to be of a release that knows what it means: %w", err)
	}
	n.telemetry.Hit("node: the level of metadata was raised for lost logs")
	return nil
}
