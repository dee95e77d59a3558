package broker

import "weir/core/wire"

import "github.com/twmb/franz-go/pkg/kmsg"

// feature is one of Kafka's features and the levels served.
type feature struct {
	name     string
	min, max int16
}

// servedFeatures lists the features that are implemented in full: none of
// Kafka's yet. In particular transaction.version is neither supported nor
// finalized, so that no client takes the broker for one with transactions.
var servedFeatures []feature

// apiVersions says what is served. A version that is too new gets a body of version
// 0 with UNSUPPORTED_VERSION and the versions of ApiVersions alone, so that the
// client can ask again (KIP-511).
func (b *Broker) apiVersions(x exchange, r *kmsg.ApiVersionsRequest) {
	x.releaseFrame()
	if r == nil {
		x.replyMessage(tooNew())
		return
	}
	out := r.ResponseKind().(*kmsg.ApiVersionsResponse)
	if r.Version >= 3 && (!validSoftware(r.ClientSoftwareName) || !validSoftware(r.ClientSoftwareVersion)) {
		out.ErrorCode = wire.InvalidRequest
		x.replyMessage(out)
		return
	}
	out.ApiKeys = make([]kmsg.ApiVersionsResponseApiKey, len(wire.APIs))
	for i := range wire.APIs {
		out.ApiKeys[i] = advertised(&wire.APIs[i])
	}
	if r.Version >= 3 {
		addFeatures(out, servedFeatures)
	}
	x.replyMessage(out)
}

func advertised(a *wire.API) kmsg.ApiVersionsResponseApiKey {
	return kmsg.ApiVersionsResponseApiKey{ApiKey: a.Key, MinVersion: a.AdvertisedMin, MaxVersion: a.Max}
}

func tooNew() *kmsg.ApiVersionsResponse {
	out := kmsg.NewPtrApiVersionsResponse()
	out.SetVersion(0)
	out.ErrorCode = wire.UnsupportedVersion
	out.ApiKeys = []kmsg.ApiVersionsResponseApiKey{advertised(wire.FindAPI(apiVersionsKey))}
	return out
}

// addFeatures adds the supported features. Before version 4 one whose lowest level
// is 0 must be left out: clients of that time fail on it (KAFKA-17011).
func addFeatures(out *kmsg.ApiVersionsResponse, features []feature) {
	for _, f := range features {
		if f.min == 0 && out.Version < 4 {
			continue
		}
		out.SupportedFeatures = append(out.SupportedFeatures,
			kmsg.ApiVersionsResponseSupportedFeature{Name: f.name, MinVersion: f.min, MaxVersion: f.max})
	}
}

// validSoftware applies Kafka's pattern for a client's name and version: letters,
// digits, dots and dashes, with a letter or digit at both ends.
func validSoftware(s string) bool {
	if s == "" || !isAlphanumeric(s[0]) || !isAlphanumeric(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '.' && s[i] != '-' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
