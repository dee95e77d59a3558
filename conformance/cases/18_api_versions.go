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
