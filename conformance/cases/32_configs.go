package cases

import (
	"fmt"
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describeConfigs() []suite.Case {
	return suite.OfAPI(32,
		suite.Case{Name: "a topic", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "retention.ms", "12345")
			got := describeConfig(c, kmsg.ConfigResourceTypeTopic, t.name)
			c.OK(got.ErrorCode)
			c.True("all keys are told", len(got.Configs) > 20)
			entry := entryOf(c, got, "retention.ms")
			c.Equal("Value", *entry.Value, "12345")
			c.Equal("Source", entry.Source, kmsg.ConfigSourceDynamicTopicConfig)
			c.Equal("Source of a default", entryOf(c, got, "cleanup.policy").Source, kmsg.ConfigSourceDefaultConfig)
		}},
		suite.Case{Name: "one key", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			got := describeConfig(c, kmsg.ConfigResourceTypeTopic, t.name, "retention.ms", "nonsense")
			c.OK(got.ErrorCode)
			c.Equal("Configs", len(got.Configs), 1)
		}},
		suite.Case{Name: "the broker", Run: func(c *suite.C) {
			got := describeConfig(c, kmsg.ConfigResourceTypeBroker, fmt.Sprint(c.Broker.NodeID), "log.retention.ms", "node.id")
			c.OK(got.ErrorCode)
			c.Equal("ReadOnly", entryOf(c, got, "node.id").ReadOnly, true)
			c.Equal("Value", entryOf(c, got, "log.retention.ms").Value, (*string)(nil))
		}},
		suite.Case{Name: "another broker", Run: func(c *suite.C) {
			c.Code(describeConfig(c, kmsg.ConfigResourceTypeBroker, "999").ErrorCode, kerr.InvalidRequest)
			c.Code(describeConfig(c, kmsg.ConfigResourceTypeBroker, "one").ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(describeConfig(c, kmsg.ConfigResourceTypeTopic, c.Name("none")).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "an invalid topic name", Run: func(c *suite.C) {
			c.Code(describeConfig(c, kmsg.ConfigResourceTypeTopic, "a b").ErrorCode, kerr.InvalidTopicException)
		}},
		suite.Case{Name: "an unknown type", Run: func(c *suite.C) {
			c.Code(describeConfig(c, 77, "x").ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "synonyms", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "retention.ms", "12345")
			r := configRequest(kmsg.ConfigResourceTypeTopic, t.name, "retention.ms")
			r.IncludeSynonyms = true
			entry := suite.Call(c, r).Resources[0].Configs[0]
			c.Equal("Name", entry.ConfigSynonyms[0].Name, "retention.ms")
			c.Equal("Value", *entry.ConfigSynonyms[0].Value, "12345")
		}},
		suite.Case{Name: "a group", Needs: modern, Run: func(c *suite.C) {
			got := describeConfig(c, kmsg.ConfigResourceTypeGroupConfig, c.Name("g"))
			c.OK(got.ErrorCode)
			c.Equal("Source", entryOf(c, got, "consumer.session.timeout.ms").Source, kmsg.ConfigSourceDefaultConfig)
		}},
		suite.Case{Name: "type and documentation", Versions: from(3), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := configRequest(kmsg.ConfigResourceTypeTopic, t.name, "retention.ms")
			r.IncludeDocumentation = true
			entry := suite.Call(c, r).Resources[0].Configs[0]
			c.Equal("ConfigType", entry.ConfigType, kmsg.ConfigTypeLong)
			c.True("there is a text", entry.Documentation != nil && *entry.Documentation != "")
		}},
	)
}

func configRequest(kind kmsg.ConfigResourceType, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	r := kmsg.NewPtrDescribeConfigsRequest()
	in := kmsg.NewDescribeConfigsRequestResource()
	in.ResourceType, in.ResourceName, in.ConfigNames = kind, name, keys
	r.Resources = append(r.Resources, in)
	return r
}

func describeConfig(c *suite.C, kind kmsg.ConfigResourceType, name string, keys ...string) kmsg.DescribeConfigsResponseResource {
	return suite.Call(c, configRequest(kind, name, keys...)).Resources[0]
}

func entryOf(c *suite.C, r kmsg.DescribeConfigsResponseResource, key string) kmsg.DescribeConfigsResponseResourceConfig {
	i := slices.IndexFunc(r.Configs, func(e kmsg.DescribeConfigsResponseResourceConfig) bool { return e.Name == key })
	if i < 0 {
		c.Fail("%s is not told", key)
	}
	return r.Configs[i]
}

func alterConfigs() []suite.Case {
	return suite.OfAPI(33,
		suite.Case{Name: "replaces all values", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "retention.ms", "12345")
			c.OK(alterTopic(c, t.name, "max.message.bytes", "1000"))
			awaitConfig(c, t, "max.message.bytes", "1000")
			got := describeConfig(c, kmsg.ConfigResourceTypeTopic, t.name, "retention.ms")
			c.True("the old value is gone", *got.Configs[0].Value != "12345")
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(alterTopic(c, c.Name("none"), "max.message.bytes", "1000"), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "an unknown key", Run: func(c *suite.C) {
			c.Code(alterTopic(c, newTopic(c, "t", 1).name, "nonsense", "1"), kerr.InvalidConfig)
		}},
		suite.Case{Name: "an invalid value", Run: func(c *suite.C) {
			c.Code(alterTopic(c, newTopic(c, "t", 1).name, "max.message.bytes", "many"), kerr.InvalidConfig)
		}},
	)
}

func alterTopic(c *suite.C, name, key, value string) int16 {
	r := kmsg.NewPtrAlterConfigsRequest()
	in, entry := kmsg.NewAlterConfigsRequestResource(), kmsg.NewAlterConfigsRequestResourceConfig()
	entry.Name, entry.Value = key, &value
	in.ResourceType, in.ResourceName, in.Configs = kmsg.ConfigResourceTypeTopic, name, append(in.Configs, entry)
	r.Resources = append(r.Resources, in)
	return suite.Call(c, r).Resources[0].ErrorCode
}

func awaitConfig(c *suite.C, t topic, key, value string) {
	c.Poll(key+" is "+value, func() bool {
		return *describeConfig(c, kmsg.ConfigResourceTypeTopic, t.name, key).Configs[0].Value == value
	})
}

func incrementalAlterConfigs() []suite.Case {
	return suite.OfAPI(44,
		suite.Case{Name: "set and delete", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "retention.ms", "12345")
			c.OK(changeTopic(c, t.name, "max.message.bytes", kmsg.IncrementalAlterConfigOpSet, "1000"))
			awaitConfig(c, t, "max.message.bytes", "1000")
			awaitConfig(c, t, "retention.ms", "12345")
			c.OK(changeTopic(c, t.name, "retention.ms", kmsg.IncrementalAlterConfigOpDelete, ""))
			c.Poll("the value is gone", func() bool {
				return *describeConfig(c, kmsg.ConfigResourceTypeTopic, t.name, "retention.ms").Configs[0].Value != "12345"
			})
		}},
		suite.Case{Name: "append and subtract", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			c.OK(changeTopic(c, t.name, "cleanup.policy", kmsg.IncrementalAlterConfigOpAppend, "compact"))
			awaitConfig(c, t, "cleanup.policy", "delete,compact")
			c.OK(changeTopic(c, t.name, "cleanup.policy", kmsg.IncrementalAlterConfigOpSubtract, "delete"))
			awaitConfig(c, t, "cleanup.policy", "compact")
		}},
		suite.Case{Name: "append to what is no list", Run: func(c *suite.C) {
			c.Code(changeTopic(c, newTopic(c, "t", 1).name, "retention.ms", kmsg.IncrementalAlterConfigOpAppend, "1"), kerr.InvalidConfig)
		}},
		suite.Case{Name: "an unknown key", Run: func(c *suite.C) {
			c.Code(changeTopic(c, newTopic(c, "t", 1).name, "nonsense", kmsg.IncrementalAlterConfigOpSet, "1"), kerr.InvalidConfig)
		}},
		suite.Case{Name: "another broker", Run: func(c *suite.C) {
			for _, name := range []string{"999", "one"} {
				r := changeRequest(name, "max.connections", kmsg.IncrementalAlterConfigOpSet, "1000")
				r.Resources[0].ResourceType = kmsg.ConfigResourceTypeBroker
				c.Code(suite.Call(c, r).Resources[0].ErrorCode, kerr.InvalidRequest)
			}
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(changeTopic(c, c.Name("none"), "retention.ms", kmsg.IncrementalAlterConfigOpSet, "1"), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "a key twice", Run: func(c *suite.C) {
			r := changeRequest(newTopic(c, "t", 1).name, "retention.ms", kmsg.IncrementalAlterConfigOpSet, "1")
			r.Resources[0].Configs = append(r.Resources[0].Configs, r.Resources[0].Configs[0])
			c.Code(suite.Call(c, r).Resources[0].ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "validation changes nothing", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "retention.ms", "12345")
			r := changeRequest(t.name, "retention.ms", kmsg.IncrementalAlterConfigOpSet, "1")
			r.ValidateOnly = true
			c.OK(suite.Call(c, r).Resources[0].ErrorCode)
			awaitConfig(c, t, "retention.ms", "12345")
		}},
		suite.Case{Name: "a group", Needs: modern, Run: func(c *suite.C) {
			setGroup(c, c.Name("g"), "consumer.heartbeat.interval.ms", c.Config("group.consumer.heartbeat.interval.ms"))
			c.Code(alterGroup(c, c.Name("g"), "nonsense", "1"), kerr.InvalidConfig)
			c.Code(alterGroup(c, c.Name("g"), "consumer.session.timeout.ms", "1"), kerr.InvalidConfig)
			c.Code(alterGroup(c, "", "consumer.session.timeout.ms", "45000"), kerr.InvalidRequest)
		}},
		suite.Case{Name: "a group's interval beyond its session timeout", Needs: modern, Run: func(c *suite.C) {
			c.Code(alterGroup(c, c.Name("g"), "consumer.heartbeat.interval.ms", "60000"), kerr.InvalidConfig)
		}},
	)
}

func changeRequest(name, key string, op kmsg.IncrementalAlterConfigOp, value string) *kmsg.IncrementalAlterConfigsRequest {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	in, entry := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	entry.Name, entry.Op, entry.Value = key, op, &value
	in.ResourceType, in.ResourceName, in.Configs = kmsg.ConfigResourceTypeTopic, name, append(in.Configs, entry)
	r.Resources = append(r.Resources, in)
	return r
}

func changeTopic(c *suite.C, name, key string, op kmsg.IncrementalAlterConfigOp, value string) int16 {
	return suite.Call(c, changeRequest(name, key, op, value)).Resources[0].ErrorCode
}

func listConfigResources() []suite.Case {
	return suite.OfAPI(74,
		suite.Case{Name: "client metrics", Versions: upTo(0), Run: func(c *suite.C) {
			c.OK(suite.Call(c, kmsg.NewPtrListConfigResourcesRequest()).ErrorCode)
		}},
		suite.Case{Name: "topics", Versions: from(1), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := kmsg.NewPtrListConfigResourcesRequest()
			r.ResourceTypes = []int8{int8(kmsg.ConfigResourceTypeTopic)}
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			found := slices.ContainsFunc(answer.ConfigResources, func(in kmsg.ListConfigResourcesResponseConfigResource) bool { return in.Name == t.name })
			c.True("the topic is listed", found)
		}},
		suite.Case{Name: "an unknown type", Versions: from(1), Run: func(c *suite.C) {
			r := kmsg.NewPtrListConfigResourcesRequest()
			r.ResourceTypes = []int8{77}
			c.Code(suite.Call(c, r).ErrorCode, kerr.UnsupportedVersion)
		}},
	)
}
