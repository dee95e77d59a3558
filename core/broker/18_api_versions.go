// ApiVersions (18), versions 0-5: the software of the client (KIP-511, version 3), supported features from level 0 on
// (KAFKA-17011, version 4), and the check that the client reached the broker that it meant (KIP-1242, version 5).
//
// Keys are announced once all their versions are served, but for Produce (see wire.APIs). So are features, by
// Options.Features: weir's own level of metadata among them.

package broker

import (
	"weir/core/controller"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

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
	if out.ErrorCode = b.checkApiVersions(r); out.ErrorCode != 0 {
		x.replyMessage(out)
		return
	}
	out.ApiKeys = make([]kmsg.ApiVersionsResponseApiKey, len(wire.APIs))
	for i := range wire.APIs {
		out.ApiKeys[i] = advertised(&wire.APIs[i])
	}
	if r.Version >= 3 {
		addFeatures(out, b.features)
		b.addFinalized(out)
	}
	x.replyMessage(out)
}

// checkApiVersions refuses names that Kafka refuses, and clients that meant another cluster or broker: those shall begin
// again with their bootstrap addresses.
func (b *Broker) checkApiVersions(r *kmsg.ApiVersionsRequest) int16 {
	cluster := b.image.ClusterID()
	switch {
	case r.Version >= 3 && (!validSoftware(r.ClientSoftwareName) || !validSoftware(r.ClientSoftwareVersion)):
		return wire.InvalidRequest
	case r.Version < 5:
		return 0
	case (r.ClusterID == nil) != (r.NodeID == -1):
		return wire.InvalidRequest
	case r.ClusterID != nil && cluster != "" && (*r.ClusterID != cluster || r.NodeID != b.config.NodeID):
		return wire.RebootstrapRequired
	}
	return 0
}

func advertised(a *wire.API) kmsg.ApiVersionsResponseApiKey {
	out := kmsg.NewApiVersionsResponseApiKey()
	out.ApiKey, out.MinVersion, out.MaxVersion = a.Key, a.AdvertisedMin, a.Max
	return out
}

func tooNew() *kmsg.ApiVersionsResponse {
	out := kmsg.NewPtrApiVersionsResponse()
	out.SetVersion(0)
	out.ErrorCode = wire.UnsupportedVersion
	out.ApiKeys = []kmsg.ApiVersionsResponseApiKey{advertised(wire.FindAPI(apiVersionsKey))}
	return out
}

// addFeatures adds the supported features. Before version 4 one whose lowest level is 0 must be left out: clients of that time
// fail on it (KAFKA-17011).
func addFeatures(out *kmsg.ApiVersionsResponse, features []controller.Feature) {
	for _, f := range features {
		if f.Min == 0 && out.Version < 4 {
			continue
		}
		one := kmsg.NewApiVersionsResponseSupportedFeature()
		one.Name, one.MinVersion, one.MaxVersion = f.Name, f.Min, f.Max
		out.SupportedFeatures = append(out.SupportedFeatures, one)
	}
}

// addFinalized adds the features that the cluster uses. Both ends of a range are its level, as in Kafka.
func (b *Broker) addFinalized(out *kmsg.ApiVersionsResponse) {
	features := b.image.Features()
	if len(features) == 0 {
		return
	}
	out.FinalizedFeaturesEpoch = int64(b.image.AppliedIndex())
	for _, f := range features {
		one := kmsg.NewApiVersionsResponseFinalizedFeature()
		one.Name, one.MinVersionLevel, one.MaxVersionLevel = f.Name, f.Level, f.Level
		out.FinalizedFeatures = append(out.FinalizedFeatures, one)
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
