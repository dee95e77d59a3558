package broker

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
		out.ErrorCode = codeInvalidRequest
		x.replyMessage(out)
		return
	}
	out.ApiKeys = make([]kmsg.ApiVersionsResponseApiKey, len(apiTable))
	for i := range apiTable {
		out.ApiKeys[i] = apiTable[i].advertised()
	}
	if r.Version >= 3 {
		addFeatures(out, servedFeatures)
	}
	x.replyMessage(out)
}

func (a *api) advertised() kmsg.ApiVersionsResponseApiKey {
	k := kmsg.ApiVersionsResponseApiKey{ApiKey: a.key, MinVersion: a.min, MaxVersion: a.max}
	if a.advertisedMin >= 0 {
		k.MinVersion = a.advertisedMin
	}
	return k
}

func tooNew() *kmsg.ApiVersionsResponse {
	out := kmsg.NewPtrApiVersionsResponse()
	out.SetVersion(0)
	out.ErrorCode = codeUnsupportedVersion
	out.ApiKeys = []kmsg.ApiVersionsResponseApiKey{findAPI(apiVersionsKey).advertised()}
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
