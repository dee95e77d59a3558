package controller_test

import (
	"testing"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A level is raised only if every other node says that it serves it.
func TestALevelThatAnotherNodeDoesNotServeIsNotRaised(t *testing.T) {
	serves := func(features ...controller.Feature) controller.Support {
		return controller.Support{Node: 2, Features: features}
	}
	newest := controller.Feature{Name: controller.MetadataFeature, Min: 1, Max: controller.CleaningLevel}
	for _, c := range []struct {
		others []controller.Support
		why    string
	}{
		{nil, ""},
		{[]controller.Support{serves(newest), {Node: 3, Features: controller.Features}}, ""},
		// As Apache Kafka 4.4.0 answers.
		{[]controller.Support{serves(controller.Feature{Name: controller.MetadataFeature, Min: 1, Max: 2})}, "Broker 2 only supports versions 1-2"},
		{[]controller.Support{serves()}, "Broker 2 does not support this feature."},
		// Kafka's brokers register what they support; weir's are asked.
		{[]controller.Support{serves(newest), {Node: 3, Silent: true}}, "Broker 3 does not answer, and it is not known which versions it supports."},
		{[]controller.Support{serves(newest), {Node: 3, Older: true}}, "Broker 3 is of an older release, which does not say what versions it supports."},
	} {
		r := newRig(t)
		r.level(2)
		r.others = c.others
		var refused error
		answered := false
		update := controller.FeatureUpdate{Name: controller.MetadataFeature, Level: controller.CleaningLevel, Type: controller.Upgrade}
		r.c.UpdateFeatures([]controller.FeatureUpdate{update}, false, func(err error) { answered, refused = true, err })
		r.turn()
		require.True(t, answered)
		if c.why == "" {
			require.NoError(t, refused)
			require.Equal(t, int16(controller.CleaningLevel), r.image.Feature(controller.MetadataFeature))
			continue
		}
		wantError(t, refused, wire.InvalidUpdateVersion, "The update failed for all features since the following feature had an error: "+
			"Invalid update version 3 for feature weir.metadata. "+c.why)
		require.Equal(t, int16(2), r.image.Feature(controller.MetadataFeature))
	}
}

// What lowers a level, or leaves it, is no question of who serves more.
func TestNobodyIsAskedWhereNothingIsRaised(t *testing.T) {
	r := newRig(t)
	r.others = []controller.Support{{Node: 2, Silent: true}}
	for _, u := range []controller.FeatureUpdate{
		{Name: controller.MetadataFeature, Level: controller.MetadataLevelMax, Type: controller.Upgrade},
		{Name: controller.TransactionFeature, Level: 1, Type: controller.SafeDowngrade},
	} {
		r.c.UpdateFeatures([]controller.FeatureUpdate{u}, false, r.must)
		r.turn()
	}
	require.Zero(t, r.asked)
}

func TestFeaturesOfAnOlderRelease(t *testing.T) {
	require.Equal(t, controller.Features, controller.FeaturesOf(0))
	older := controller.FeaturesOf(2)
	require.ErrorContains(t, controller.ValidateFeatures([]metadata.Feature{{Name: controller.MetadataFeature, Level: 3}}, older), "does not serve")
	require.NoError(t, controller.ValidateFeatures([]metadata.Feature{{Name: controller.MetadataFeature, Level: 2}}, older))
}

func TestFeaturesAreDecoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var features []controller.Feature
		for range rapid.IntRange(0, 5).Draw(t, "count") {
			features = append(features, controller.Feature{
				Name: rapid.StringN(0, 20, 255).Draw(t, "name"), Min: rapid.Int16().Draw(t, "lowest"), Max: rapid.Int16().Draw(t, "highest"),
			})
		}
		encoded := controller.AppendFeatures(nil, features)
		decoded, err := controller.DecodeFeatures(encoded)
		require.NoError(t, err)
		require.Equal(t, features, decoded)
		if len(encoded) > 0 {
			_, err = controller.DecodeFeatures(encoded[:len(encoded)-1])
			require.Error(t, err)
		}
	})
}

func FuzzDecodeFeatures(f *testing.F) {
	f.Add(controller.AppendFeatures(nil, controller.Features))
	f.Fuzz(func(t *testing.T, b []byte) {
		if features, err := controller.DecodeFeatures(b); err == nil {
			require.Equal(t, b, append(b[:0:0], controller.AppendFeatures(nil, features)...))
		}
	})
}
