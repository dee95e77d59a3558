package controller

import (
	"fmt"
	"slices"
	"strings"

	"weir/core/metadata"
	"weir/core/wire"
)

// Names of features.
const (
	// MetadataFeature is the level of records and snapshots that a cluster uses. From ReplacementsLevel on they say what
	// compaction does.
	MetadataFeature = metadata.LevelFeature
	// GroupFeature is Kafka's group.version: at level 1 groups may use the protocol of KIP-848.
	GroupFeature = "group.version"
	// TransactionFeature is Kafka's transaction.version: at level 2 clients use the second generation of transactions
	// (KIP-890), with an epoch for each transaction.
	TransactionFeature = "transaction.version"
)

// ReplacementsLevel is the level of MetadataFeature from which on parts of streams may be replaced (R3a): releases before
// it know neither the record nor parts that reach over ranges, nor indexes of joined objects.
const ReplacementsLevel = 2

// CleaningLevel is the level of MetadataFeature from which on streams are compacted by key (metadata.CleanStream), lost logs are given
// up (metadata.AbandonWAL), heartbeats say how well their broker is (R13), and the leaders of streams recover what a dead log holds of them
// (metadata.LeadersRecoverLevel): releases before it know none of that.
const CleaningLevel = 3

// StoredCheckpointsLevel is the level of MetadataFeature from which on checkpoints may lie in objects (metadata.StoredCheckpoint).
const StoredCheckpointsLevel = 3

// PackedSnapshotsLevel is the level of MetadataFeature from which on snapshots of the metadata are packed: releases before it do not read them.
const PackedSnapshotsLevel = metadata.PackedLevel

// MetadataLevelMax is the highest level of MetadataFeature that this release serves.
const MetadataLevelMax = PackedSnapshotsLevel

// Feature is a feature that this program knows, and the levels that it serves. A feature of level 0 is not in use.
type Feature struct {
	Name     string
	Min, Max int16
}

// Features are the features that this program serves, by name. A new cluster starts with the highest level of each. What
// is here is announced to clients, which rely on it: a feature comes with its first level served whole.
var Features = []Feature{
	{GroupFeature, 0, 1},
	{TransactionFeature, 0, 2},
	{MetadataFeature, 1, MetadataLevelMax},
}

// FeaturesOf are the features of the release whose highest level of MetadataFeature was this one; 0: of this release.
func FeaturesOf(level int16) []Feature {
	if level == 0 {
		return Features
	}
	of := slices.Clone(Features)
	for i := range of {
		if of[i].Name == MetadataFeature {
			of[i].Max = level
		}
	}
	return of
}

// newest is what a new cluster starts with.
func newest(served []Feature) []metadata.Feature {
	out := make([]metadata.Feature, len(served))
	for i, f := range served {
		out[i] = metadata.Feature{Name: f.Name, Level: f.Max}
	}
	return out
}

// ValidateFeatures returns an error if the cluster uses a feature, or a level, that is not among those served: a newer release
// set it.
func ValidateFeatures(used []metadata.Feature, served []Feature) error {
	for _, u := range used {
		if f := find(served, u.Name); f == nil || u.Level > f.Max {
			return fmt.Errorf("the cluster uses feature %s at level %d, which this release does not serve; start the release that served it last", u.Name, u.Level)
		}
	}
	return nil
}

// FeatureUpdate is a level to be set (KIP-584). Level 0 ends the use of the feature.
type FeatureUpdate struct {
	Name  string
	Level int16
	Type  UpgradeType
}

// UpgradeType says in which direction a level may move. Its numbers are Kafka's.
type UpgradeType int8

// Kinds of updates. An unsafe downgrade may lose what the lower level cannot say; no feature served here has one that does.
const (
	Upgrade         UpgradeType = 1
	SafeDowngrade   UpgradeType = 2
	UnsafeDowngrade UpgradeType = 3
)

// UpdateFeatures sets the levels of features, all or none. Of those named twice the last one counts. A level is raised only if all
// brokers and voters serve it, which are asked: one that does not answer, be it fenced, may be of an older release. Refusals are
// INVALID_UPDATE_VERSION, in Kafka's words.
func (c *Controller) UpdateFeatures(updates []FeatureUpdate, validateOnly bool, done func(error)) {
	last := make(map[string]int, len(updates))
	for i := range updates {
		last[updates[i].Name] = i
	}
	var distinct []FeatureUpdate
	for i := range updates {
		if last[updates[i].Name] == i {
			distinct = append(distinct, updates[i])
		}
	}
	if err := c.refuseUpdates(distinct, c.updateRefusal); err != nil {
		done(err)
		return
	}
	c.askSupport(distinct, func(err error) {
		if err == nil { // the image may have changed meanwhile
			err = c.refuseUpdates(distinct, c.updateRefusal)
		}
		if err != nil || validateOnly || len(distinct) == 0 {
			done(err)
			return
		}
		c.propose(setFeatures(distinct), func(err error) { done(kafka(err)) })
	})
}

// refuseUpdates returns the refusal of the first update for which there is a reason.
func (c *Controller) refuseUpdates(updates []FeatureUpdate, reason func(*FeatureUpdate) string) error {
	for i := range updates {
		if why := reason(&updates[i]); why != "" {
			return refuse(wire.InvalidUpdateVersion, "The update failed for all features since the following feature had an error: "+
				"Invalid update version %d for feature %s. %s", updates[i].Level, updates[i].Name, why)
		}
	}
	return nil
}

func setFeatures(updates []FeatureUpdate) *metadata.SetFeatures {
	r := &metadata.SetFeatures{}
	for _, u := range updates {
		r.Features = append(r.Features, metadata.Feature{Name: u.Name, Level: u.Level})
	}
	slices.SortStableFunc(r.Features, func(a, b metadata.Feature) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// updateRefusal says why this release cannot set a level, whatever the others serve; empty: it can.
func (c *Controller) updateRefusal(u *FeatureUpdate) string {
	now := c.image.Feature(u.Name)
	f := find(c.options.Features, u.Name)
	switch {
	case u.Type < Upgrade || u.Type > UnsafeDowngrade:
		return "The controller does not support the given upgrade type."
	case u.Level < 0:
		return "A feature version cannot be less than 0."
	case f == nil && u.Level == 0:
		return fmt.Sprintf("Feature %s not found.", u.Name)
	case f == nil:
		return fmt.Sprintf("Local controller %d does not support this feature.", c.options.Broker)
	case !f.serves(u.Level):
		return fmt.Sprintf("Local controller %d only supports versions %s", c.options.Broker, f.levels())
	case u.Level < now && u.Name == MetadataFeature:
		return "The metadata have been written in the present version already."
	case u.Level < now && u.Type == Upgrade:
		return "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
	case u.Level > now && u.Type != Upgrade:
		return "Can't downgrade to a newer version."
	}
	return ""
}

func (f *Feature) serves(level int16) bool { return f.Min <= level && level <= f.Max }

// find returns the feature of a name, or nil.
func find(features []Feature, name string) *Feature {
	for i := range features {
		if features[i].Name == name {
			return &features[i]
		}
	}
	return nil
}

// levels is the range of levels as Kafka prints it.
func (f *Feature) levels() string {
	if f.Min == f.Max {
		return fmt.Sprint(f.Min)
	}
	return fmt.Sprintf("%d-%d", f.Min, f.Max)
}
