// DescribeClientQuotas (48), versions 0-1 (KIP-546): which quotas clients have. None can be set (AlterClientQuotas is not
// served), so the answer to any valid filter is that there are none.

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Match types of a component of the filter.
const (
	matchExact = 0
	matchAny   = 2
)

func (b *Broker) describeClientQuotas(x exchange, r *kmsg.DescribeClientQuotasRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	if out.ErrorCode, out.ErrorMessage = validateQuotaFilter(r.Components); out.ErrorCode == 0 {
		out.ErrorMessage = kmsg.StringPtr("") // not null, as in Kafka
		out.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	}
	x.replyMessage(out)
}

// validateQuotaFilter refuses what Kafka refuses.
func validateQuotaFilter(components []kmsg.DescribeClientQuotasRequestComponent) (int16, *string) {
	seen := make(map[string]bool, 3)
	for i := range components {
		c := &components[i]
		switch {
		case c.EntityType == "":
			return wire.InvalidRequest, kmsg.StringPtr("Unexpected empty filter component entity type.")
		case seen[c.EntityType]:
			return wire.InvalidRequest, errorText("Duplicate " + c.EntityType + " filter component entity type.")
		case c.EntityType != "user" && c.EntityType != "client-id" && c.EntityType != "ip":
			return wire.UnsupportedVersion, errorText("Custom entity type '" + c.EntityType + "' not supported.")
		case c.MatchType < matchExact || c.MatchType > matchAny:
			return wire.InvalidRequest, kmsg.StringPtr("Unexpected match type.")
		case (c.MatchType == matchExact) != (c.Match != nil):
			return wire.InvalidRequest, kmsg.StringPtr("A name is given exactly with the match type for it.")
		}
		seen[c.EntityType] = true
	}
	if seen["ip"] && len(seen) > 1 {
		return wire.InvalidRequest, kmsg.StringPtr("Invalid entity filter component combination, IP filter component should not be used with user or clientId filter component.")
	}
	return 0, nil
}
