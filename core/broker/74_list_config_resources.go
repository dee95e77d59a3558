// ListConfigResources (74), versions 0-1: what has a configuration (KIP-714 for subscriptions to clients' metrics, version 0;
// KIP-1142 for every type, version 1). weir keeps no configuration of loggers and subscriptions, and lists none.

package broker

import (
	"slices"
	"strconv"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// listedResources are the types of version 1, in the order of the answer.
var listedResources = []int8{
	int8(kmsg.ConfigResourceTypeTopic), int8(kmsg.ConfigResourceTypeBroker), int8(kmsg.ConfigResourceTypeBrokerLogger),
	int8(kmsg.ConfigResourceTypeClientMetrics), int8(kmsg.ConfigResourceTypeGroupConfig),
}

func (b *Broker) listConfigResources(x exchange, r *kmsg.ListConfigResourcesRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	asked := r.ResourceTypes
	if r.Version == 0 {
		asked = []int8{int8(kmsg.ConfigResourceTypeClientMetrics)}
	}
	for _, kind := range asked {
		if !slices.Contains(listedResources, kind) {
			out.ErrorCode = wire.UnsupportedVersion
			x.replyMessage(out)
			return
		}
	}
	for _, kind := range listedResources {
		if len(asked) == 0 || slices.Contains(asked, kind) {
			b.listResources(out, kind)
		}
	}
	x.replyMessage(out)
}

func (b *Broker) listResources(out *kmsg.ListConfigResourcesResponse, kind int8) {
	add := func(name string) {
		c := kmsg.NewListConfigResourcesResponseConfigResource()
		c.Name, c.Type = name, kind
		out.ConfigResources = append(out.ConfigResources, c)
	}
	switch kmsg.ConfigResourceType(kind) {
	case kmsg.ConfigResourceTypeTopic:
		for _, t := range b.image.Topics() {
			add(t.Name)
		}
	case kmsg.ConfigResourceTypeBroker:
		for _, n := range b.image.Brokers() {
			add(strconv.Itoa(int(n.ID)))
		}
	case kmsg.ConfigResourceTypeGroupConfig:
		b.image.ConfiguredGroups(add)
	}
}
