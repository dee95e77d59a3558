package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The kinds of a feature update.
const (
	featureUpgrade         = 1
	featureSafeDowngrade   = 2
	featureUnsafeDowngrade = 3
)

// updateFeatures only validate, so that the cluster's features stay.
func updateFeatures() []suite.Case {
	return suite.OfAPI(57,
		suite.Case{Name: "the present level", Versions: from(1), Features: map[string]int16{"group.version": 1}, Run: func(c *suite.C) {
			r := featureRequest("group.version", c.Broker.Features["group.version"], featureUpgrade)
			c.OK(featureCode(suite.Call(c, r), "group.version"))
		}},
		suite.Case{Name: "unknown feature", Versions: from(1), Run: func(c *suite.C) {
			c.Code(featureCode(suite.Call(c, featureRequest("nonsense", 1, featureUpgrade)), "nonsense"), kerr.InvalidUpdateVersion)
		}},
		suite.Case{Name: "a level above the highest", Versions: from(1), Run: func(c *suite.C) {
			c.Code(featureCode(suite.Call(c, featureRequest("transaction.version", 99, featureUpgrade)), "transaction.version"), kerr.InvalidUpdateVersion)
		}},
		suite.Case{Name: "a negative level", Versions: from(1), Run: func(c *suite.C) {
			c.Code(featureCode(suite.Call(c, featureRequest("transaction.version", -1, featureUpgrade)), "transaction.version"), kerr.InvalidUpdateVersion)
		}},
		suite.Case{Name: "a downgrade that calls itself an upgrade", Versions: from(1), Features: map[string]int16{"transaction.version": 1}, Run: func(c *suite.C) {
			c.Code(featureCode(suite.Call(c, featureRequest("transaction.version", 0, featureUpgrade)), "transaction.version"), kerr.InvalidUpdateVersion)
		}},
		suite.Case{Name: "an unknown kind of update", Versions: from(1), Run: func(c *suite.C) {
			c.Code(featureCode(suite.Call(c, featureRequest("transaction.version", 1, 9)), "transaction.version"), kerr.InvalidUpdateVersion)
		}},
		suite.Case{Name: "a feature twice", Versions: from(1), Features: map[string]int16{"group.version": 1}, Run: func(c *suite.C) {
			r := featureRequest("group.version", 1, featureUpgrade)
			r.FeatureUpdates = append(r.FeatureUpdates, r.FeatureUpdates[0])
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
		}},
		suite.Case{Name: "no updates", Run: func(c *suite.C) {
			r := kmsg.NewPtrUpdateFeaturesRequest()
			r.TimeoutMillis = 10_000
			c.OK(suite.Call(c, r).ErrorCode)
		}},
	)
}

func featureRequest(feature string, level int16, kind int8) *kmsg.UpdateFeaturesRequest {
	r := kmsg.NewPtrUpdateFeaturesRequest()
	u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	u.Feature, u.MaxVersionLevel, u.UpgradeType = feature, level, kind
	r.TimeoutMillis, r.ValidateOnly, r.FeatureUpdates = 10_000, true, append(r.FeatureUpdates, u)
	return r
}

// featureCode is the code of a feature, or that of the whole request where there is one.
func featureCode(r *kmsg.UpdateFeaturesResponse, feature string) int16 {
	for _, one := range r.Results {
		if one.Feature == feature {
			return one.ErrorCode
		}
	}
	return r.ErrorCode
}
