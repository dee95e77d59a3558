package controller_test

import (
	"testing"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// serveFeatures serves Kafka's two features besides weir's for the time of a test.
func serveFeatures(t *testing.T) {
	before := controller.Features
	t.Cleanup(func() { controller.Features = before })
	controller.Features = []controller.Feature{
		{Name: controller.GroupFeature, Max: 1}, {Name: controller.TransactionFeature, Max: 2}, {Name: controller.MetadataFeature, Min: 1, Max: 3},
	}
}

func TestUpdateFeatures(t *testing.T) {
	serveFeatures(t)
	r := newRig(t)
	all := []metadata.Feature{{Name: "group.version", Level: 1}, {Name: "transaction.version", Level: 2}, {Name: "weir.metadata", Level: 3}}
	require.Equal(t, all, r.image.Features(), "a new cluster has the newest of each")
	for _, c := range []struct {
		update   controller.FeatureUpdate
		validate bool
		why      string
		level    int16 // of it afterwards
	}{
		// As Apache Kafka 4.4.0 answers.
		{controller.FeatureUpdate{Name: "transaction.version", Level: 2, Type: 1}, false, "", 2},
		{controller.FeatureUpdate{Name: "transaction.version", Level: 2, Type: 2}, false, "", 2},
		{controller.FeatureUpdate{Name: "transaction.version", Level: 3, Type: 1}, false, "Invalid update version 3 for feature transaction.version. Local controller 1 only supports versions 0-2", 2},
		{controller.FeatureUpdate{Name: "weir.metadata", Level: 4, Type: 1}, false, "Invalid update version 4 for feature weir.metadata. Local controller 1 only supports versions 1-3", 3},
		{controller.FeatureUpdate{Name: "weir.metadata", Level: 1, Type: 2}, false, "Invalid update version 1 for feature weir.metadata. The metadata have been written in the present version already.", 3},
		{controller.FeatureUpdate{Name: "transaction.version", Level: 1, Type: 1}, false, "Invalid update version 1 for feature transaction.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.", 2},
		{controller.FeatureUpdate{Name: "group.version", Level: 1, Type: 0}, false, "Invalid update version 1 for feature group.version. The controller does not support the given upgrade type.", 1},
		{controller.FeatureUpdate{Name: "group.version", Level: 0, Type: 4}, false, "Invalid update version 0 for feature group.version. The controller does not support the given upgrade type.", 1},
		{controller.FeatureUpdate{Name: "group.version", Level: -1, Type: 2}, false, "Invalid update version -1 for feature group.version. A feature version cannot be less than 0.", 1},
		{controller.FeatureUpdate{Name: "nothing.version", Level: 1, Type: 1}, false, "Invalid update version 1 for feature nothing.version. Local controller 1 does not support this feature.", 0},
		{controller.FeatureUpdate{Name: "nothing.version", Level: 0, Type: 2}, false, "Invalid update version 0 for feature nothing.version. Feature nothing.version not found.", 0},
		{controller.FeatureUpdate{Name: "transaction.version", Level: 1, Type: 2}, true, "", 2},
		{controller.FeatureUpdate{Name: "transaction.version", Level: 1, Type: 2}, false, "", 1},
		{controller.FeatureUpdate{Name: "transaction.version", Level: 2, Type: 3}, false, "Invalid update version 2 for feature transaction.version. Can't downgrade to a newer version.", 1},
		{controller.FeatureUpdate{Name: "transaction.version", Level: 0, Type: 3}, false, "", 0},
		{controller.FeatureUpdate{Name: "transaction.version", Level: 2, Type: 1}, false, "", 2},
	} {
		answered := false
		r.c.UpdateFeatures([]controller.FeatureUpdate{c.update}, c.validate, func(err error) {
			answered = true
			if c.why == "" {
				require.NoError(t, err, c.update)
				return
			}
			wantError(t, err, wire.InvalidUpdateVersion, "The update failed for all features since the following feature had an error: "+c.why)
		})
		r.turn()
		require.True(t, answered)
		require.Equal(t, c.level, r.image.Feature(c.update.Name), c.update)
	}
	r.c.UpdateFeatures([]controller.FeatureUpdate{
		{Name: "group.version", Level: 0, Type: 2}, {Name: "transaction.version", Level: 9, Type: 1},
	}, false, func(err error) { require.Error(t, err) })
	r.turn()
	require.Equal(t, all, r.image.Features(), "all or none")
	r.c.UpdateFeatures([]controller.FeatureUpdate{
		{Name: "group.version", Level: 9, Type: 1}, {Name: "group.version", Level: 0, Type: 2},
	}, false, func(err error) { require.NoError(t, err) })
	r.turn()
	require.Equal(t, int16(0), r.image.Feature("group.version"), "the last mention counts")
}

func TestClusterOfANewerReleaseIsRefused(t *testing.T) {
	require.NoError(t, controller.ValidateFeatures([]metadata.Feature{{Name: "weir.metadata", Level: 1}}, controller.Features))
	require.ErrorContains(t, controller.ValidateFeatures([]metadata.Feature{{Name: "weir.metadata", Level: controller.MetadataLevelMax + 1}}, controller.Features), "does not serve")
	require.ErrorContains(t, controller.ValidateFeatures([]metadata.Feature{{Name: "other.version", Level: 1}}, controller.Features), "does not serve")
}
