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
	{MetadataFeature, 1, CleaningLevel},
}

// newestFeatures is what a new cluster starts with.
func newestFeatures() []metadata.Feature {
	out := make([]metadata.Feature, len(Features))
	for i, f := range Features {
		out[i] = metadata.Feature{Name: f.Name, Level: f.Max}
	}
	return out
}

// ValidateFeatures returns an error if the cluster uses a feature, or a level, that this program does not serve: a newer one
// set it.
func ValidateFeatures(used []metadata.Feature) error {
	for _, u := range used {
		at := slices.IndexFunc(Features, func(f Feature) bool { return f.Name == u.Name })
		if at < 0 || u.Level > Features[at].Max {
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

// UpdateFeatures sets the levels of features, all or none. Of those named twice the last one counts. Its refusals are
// INVALID_UPDATE_VERSION, in Kafka's words.
func (c *Controller) UpdateFeatures(updates []FeatureUpdate, validateOnly bool, done func(error)) {
	last := make(map[string]int, len(updates))
	for i := range updates {
		last[updates[i].Name] = i
	}
	r := &metadata.SetFeatures{}
	for i := range updates {
		u := &updates[i]
		if last[u.Name] != i {
			continue
		}
		if why := c.updateRefusal(u); why != "" {
			done(refuse(wire.InvalidUpdateVersion, "The update failed for all features since the following feature had an error: "+
				"Invalid update version %d for feature %s. %s", u.Level, u.Name, why))
			return
		}
		r.Features = append(r.Features, metadata.Feature{Name: u.Name, Level: u.Level})
	}
	if validateOnly || len(r.Features) == 0 {
		done(nil)
		return
	}
	slices.SortStableFunc(r.Features, func(a, b metadata.Feature) int { return strings.Compare(a.Name, b.Name) })
	c.propose(r, func(err error) { done(kafka(err)) })
}

// updateRefusal says why a level cannot be set; empty: it can.
func (c *Controller) updateRefusal(u *FeatureUpdate) string {
	now := c.image.Feature(u.Name)
	at := slices.IndexFunc(Features, func(f Feature) bool { return f.Name == u.Name })
	switch {
	case u.Type < Upgrade || u.Type > UnsafeDowngrade:
		return "The controller does not support the given upgrade type."
	case u.Level < 0:
		return "A feature version cannot be less than 0."
	case at < 0 && u.Level == 0:
		return fmt.Sprintf("Feature %s not found.", u.Name)
	case at < 0:
		return fmt.Sprintf("Local controller %d does not support this feature.", c.options.Broker)
	case u.Level < Features[at].Min || u.Level > Features[at].Max:
		return fmt.Sprintf("Local controller %d only supports versions %s", c.options.Broker, Features[at].levels())
	case u.Level < now && u.Name == MetadataFeature:
		return "The metadata have been written in the present version already."
	case u.Level < now && u.Type == Upgrade:
		return "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
	case u.Level > now && u.Type != Upgrade:
		return "Can't downgrade to a newer version."
	}
	return ""
}

// levels is the range of levels as Kafka prints it.
func (f *Feature) levels() string {
	if f.Min == f.Max {
		return fmt.Sprint(f.Min)
	}
	return fmt.Sprintf("%d-%d", f.Min, f.Max)
}
