package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func apiVersions() []suite.Case {
	return suite.OfAPI(18,
		suite.Case{Name: "lists itself", Run: func(c *suite.C) {
			r := suite.Call(c, hello())
			c.OK(r.ErrorCode)
			c.Equal("MaxVersion of ApiVersions", versionsOf(c, r, 18), c.Broker.Versions[18])
		}},
		suite.Case{Name: "strange software name", Versions: from(3), Run: func(c *suite.C) {
			r := hello()
			r.ClientSoftwareName = "a name with blanks"
			c.Code(suite.Call(c, r).ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "empty software version", Versions: from(3), Run: func(c *suite.C) {
			r := hello()
			r.ClientSoftwareVersion = ""
			c.Code(suite.Call(c, r).ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "features are finalized with an epoch", Versions: from(3), Features: map[string]int16{"transaction.version": 1}, Run: func(c *suite.C) {
			r := suite.Call(c, hello())
			c.True("there is an epoch", r.FinalizedFeaturesEpoch >= 0)
			supported := map[string]suite.Span{}
			for _, f := range r.SupportedFeatures {
				supported[f.Name] = suite.Span{Min: f.MinVersion, Max: f.MaxVersion}
			}
			if c.V == 3 {
				c.Equal("transaction.version, whose lowest level is 0", supported["transaction.version"], suite.Span{})
				return
			}
			c.Equal("transaction.version", supported["transaction.version"].Max, 2)
			c.Equal("group.version", supported["group.version"].Max, 1)
			for _, f := range r.FinalizedFeatures {
				c.True("%s is finalized at a supported level", f.MaxVersionLevel <= supported[f.Name].Max, f.Name)
			}
		}},
		suite.Case{Name: "every API of Kafka is a range without gaps", Run: func(c *suite.C) {
			for _, k := range suite.Call(c, hello()).ApiKeys {
				kafka, ok := suite.KafkaVersions[k.ApiKey]
				c.True("key %d is Kafka's", ok, k.ApiKey)
				c.True("version %d-%d of key %d", k.MinVersion >= kafka.Min && k.MaxVersion <= kafka.Max, k.MinVersion, k.MaxVersion, k.ApiKey)
			}
		}},
		suite.Case{Name: "same answer again", Run: func(c *suite.C) {
			c.Equal("ApiKeys", suite.Call(c, hello()).ApiKeys, suite.Call(c, hello()).ApiKeys)
		}},
	)
}

func hello() *kmsg.ApiVersionsRequest {
	r := kmsg.NewPtrApiVersionsRequest()
	r.ClientSoftwareName, r.ClientSoftwareVersion = "weir-conformance", "1.0"
	return r
}

func versionsOf(c *suite.C, r *kmsg.ApiVersionsResponse, key int16) suite.Span {
	for _, k := range r.ApiKeys {
		if k.ApiKey == key {
			return suite.Span{Min: k.MinVersion, Max: k.MaxVersion}
		}
	}
	c.Fail("API key %d is not listed", key)
	return suite.Span{}
}
