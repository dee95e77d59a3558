// DescribeConfigs (32), versions 1-4 (KIP-133): synonyms (KIP-226, version 1), documentation and types (KIP-569, 3).
//
// Differences from Kafka: loggers are not described; keys under "weir." are weir's own, and broker keys of Kafka that have
// no meaning here are absent; min.insync.replicas has its default, where Kafka 4.4 sets it for the cluster (KIP-966); client
// metrics have their defaults alone; one request lists a bounded number of entries of brokers, groups and
// repeated resources.

package broker

import (
	"errors"
	"slices"
	"strconv"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// resource names what a request about configurations is for.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

// cheapEntriesMax is how many entries one request may list of resources that nothing else bounds: repeated ones, and all but
// topics. It is some 60 times those of a broker, and keeps the loop busy for some 10 ms.
const cheapEntriesMax = 5000

// describeConfigs lists the keys of topics and brokers with their values and where
// those come from.
func (b *Broker) describeConfigs(x exchange, r *kmsg.DescribeConfigsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
	out.Resources = make([]kmsg.DescribeConfigsResponseResource, len(r.Resources))
	seen, cheap := make(map[resource]bool, len(r.Resources)), 0
	defaults := describedDefaults[kmsg.DescribeConfigsResponseResourceConfig]{of: b.settings.DescribeTopic(nil)}
	describe := func(e *config.Entry) kmsg.DescribeConfigsResponseResourceConfig { return describedEntry(e, r) }
	for i := range r.Resources {
		q, t := &r.Resources[i], &out.Resources[i]
		t.Default()
		t.ResourceType, t.ResourceName = q.ResourceType, q.ResourceName
		key := resource{q.ResourceType, q.ResourceName}
		// A few bytes asked again and again, or groups that need not be there, must not cost a full answer each.
		isCheap := seen[key] || q.ResourceType != kmsg.ConfigResourceTypeTopic
		var entries []config.Entry
		var err error = &controller.Error{Code: wire.InvalidRequest, Message: "Too many resources in one request."}
		if !isCheap || cheap < cheapEntriesMax {
			entries, err = b.entriesOf(key)
		}
		if isCheap {
			cheap += len(entries)
		}
		seen[key] = true
		if t.ErrorCode, t.ErrorMessage = refusal(err); err == nil {
			t.ErrorMessage = kmsg.StringPtr("") // not null, as in Kafka
		}
		if len(q.ConfigNames) == 0 { // null or empty asks for all
			t.Configs = defaults.described(entries, describe)
			continue
		}
		for j := range entries {
			if slices.Contains(q.ConfigNames, entries[j].Key) {
				t.Configs = append(t.Configs, describe(&entries[j]))
			}
		}
	}
	x.replyMessage(out)
}

// describedDefaults keeps what an answer says of topics without overrides, of which one request may
// name thousands: they share it.
type describedDefaults[T any] struct {
	of   []config.Entry // of a topic without overrides
	text []T
}

// described is what describe makes of each entry.
func (d *describedDefaults[T]) described(entries []config.Entry, describe func(*config.Entry) T) []T {
	isDefault := len(entries) > 0 && &entries[0] == &d.of[0]
	if isDefault && d.text != nil {
		return d.text
	}
	out := make([]T, len(entries))
	for i := range entries {
		out[i] = describe(&entries[i])
	}
	if isDefault {
		d.text = out
	}
	return out
}

// entriesOf lists what is known of a resource.
func (b *Broker) entriesOf(r resource) ([]config.Entry, error) {
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		if !validTopicName(r.name) {
			return nil, &controller.Error{Code: wire.InvalidTopic, Message: "Topic name is invalid."}
		}
		t, ok := b.image.Topic(r.name)
		if !ok {
			return nil, &controller.Error{Code: wire.UnknownTopicOrPartition} // without a text, as in Kafka
		}
		return b.settings.DescribeTopic(config.Overrides(t.Configs)), nil
	case kmsg.ConfigResourceTypeBroker:
		if r.name == "" {
			return b.settings.DescribeDefaults(), nil
		}
		if _, err := b.brokerOf(r.name, "Broker", " or empty string"); err != nil {
			return nil, err
		}
		return b.settings.DescribeBroker(), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if r.name == "" {
			return nil, &controller.Error{Code: wire.InvalidRequest, Message: "Group name must not be empty"}
		}
		set, _ := b.image.GroupConfigs(r.name)
		return b.settings.DescribeGroup(config.Overrides(set)), nil
	case kmsg.ConfigResourceTypeClientMetrics:
		if r.name == "" {
			return nil, &controller.Error{Code: wire.InvalidRequest, Message: "Client metrics subscription name must not be empty"}
		}
		return config.DescribeDefinitions(config.ClientMetricsKeys()), nil
	}
	return nil, unsupportedResource(r.kind)
}

// brokerOf checks that a broker resource names this broker: clients send such a request to the broker that it names. Kafka's words
// differ between describing and altering.
func (b *Broker) brokerOf(name, kind, orElse string) (int32, error) {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return 0, &controller.Error{Code: wire.InvalidRequest, Message: kind + " id must be an integer, but it is: " + name}
	}
	if int32(id) != b.config.NodeID {
		return 0, &controller.Error{Code: wire.InvalidRequest, Message: "Unexpected broker id, expected " +
			strconv.Itoa(int(b.config.NodeID)) + orElse + ", but received " + name}
	}
	return int32(id), nil
}

func unsupportedResource(kind kmsg.ConfigResourceType) error {
	return &controller.Error{Code: wire.InvalidRequest, Message: "Unsupported resource type: " + strconv.Itoa(int(kind))}
}

func describedEntry(e *config.Entry, r *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly, out.Source = e.Key, e.Value, e.ReadOnly, kmsg.ConfigSource(e.Source)
	out.IsDefault, out.IsSensitive, out.ConfigType = e.Source == config.Default, e.Sensitive(), kmsg.ConfigType(e.Type)
	if r.IncludeSynonyms {
		out.ConfigSynonyms = make([]kmsg.DescribeConfigsResponseResourceConfigConfigSynonym, len(e.Chain))
		for i, link := range e.Chain {
			s := &out.ConfigSynonyms[i]
			s.Default()
			s.Name, s.Value, s.Source = link.Key, link.Value, kmsg.ConfigSource(link.Source)
		}
	}
	if r.IncludeDocumentation {
		out.Documentation = &e.Doc
	}
	return out
}

// configRefusal gives an error of config its Kafka code.
func configRefusal(err error) error {
	switch {
	case errors.Is(err, config.ErrInvalidConfig):
		return &controller.Error{Code: wire.InvalidConfig, Message: err.Error()}
	case errors.Is(err, config.ErrInvalidOp):
		return &controller.Error{Code: wire.InvalidRequest, Message: err.Error()}
	}
	return err
}
