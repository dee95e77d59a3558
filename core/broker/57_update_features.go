// UpdateFeatures (57), versions 0-2 (KIP-584): kinds of upgrades and validation alone (KIP-778, version 1), one outcome for the
// whole request (version 2).

package broker

import (
	"weir/core/controller"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// updateFeatures sets the levels of features. All are set or none, so a refusal stands at the top; each feature has an
// outcome of its own up to version 1, and only if the request succeeds.
func (b *Broker) updateFeatures(x exchange, r *kmsg.UpdateFeaturesRequest) {
	b.whenCurrent(x, r.TimeoutMillis, func() { b.updateFeaturesNow(x, r) }, func(code int16, message *string) {
		out := r.ResponseKind().(*kmsg.UpdateFeaturesResponse)
		out.ErrorCode, out.ErrorMessage = code, message
		x.replyMessage(out)
	})
}

func (b *Broker) updateFeaturesNow(x exchange, r *kmsg.UpdateFeaturesRequest) {
	out := r.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	updates := make([]controller.FeatureUpdate, len(r.FeatureUpdates))
	for i := range r.FeatureUpdates {
		q := &r.FeatureUpdates[i]
		updates[i] = controller.FeatureUpdate{Name: q.Feature, Level: q.MaxVersionLevel, Type: upgradeType(r.Version, q)}
	}
	b.controller.UpdateFeatures(updates, r.ValidateOnly, func(err error) {
		out.ErrorCode, out.ErrorMessage = refusal(err)
		if r.Version < 2 && err == nil {
			out.Results = featureResults(r)
		}
		x.replyMessage(out)
	})
}

// upgradeType is the kind of an update. Version 0 knows whether a downgrade is allowed, no more.
func upgradeType(version int16, q *kmsg.UpdateFeaturesRequestFeatureUpdate) controller.UpgradeType {
	switch {
	case version > 0:
		return controller.UpgradeType(q.UpgradeType)
	case q.AllowDowngrade:
		return controller.SafeDowngrade
	}
	return controller.Upgrade
}

func featureResults(r *kmsg.UpdateFeaturesRequest) []kmsg.UpdateFeaturesResponseResult {
	results := make([]kmsg.UpdateFeaturesResponseResult, len(r.FeatureUpdates))
	for i := range results {
		results[i] = kmsg.NewUpdateFeaturesResponseResult()
		results[i].Feature, results[i].ErrorMessage = r.FeatureUpdates[i].Feature, kmsg.StringPtr("NONE")
	}
	return results
}
