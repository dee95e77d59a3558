package broker

import (
	"strings"

	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topicOperations   int32 = 3576 // every operation on a topic: there are no ACLs
	clusterOperations int32 = 8096 // every operation on the cluster, likewise
)

// clusterMetadataTopic is the name of KRaft's log in Kafka. weir keeps its metadata elsewhere; no topic may have the name,
// since tools take it for that log.
const clusterMetadataTopic = "__cluster_metadata"

// internalTopics are Kafka's, that clients may not write to.
var internalTopics = [...]string{"__consumer_offsets", "__transaction_state", "__share_group_state"}

func isInternal(topic string) bool {
	for _, name := range internalTopics {
		if topic == name {
			return true
		}
	}
	return false
}

// validTopicName applies Kafka's rule for names.
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > metadata.TopicNameBytesMax {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// refusal splits an error of the controller into code and message.
func refusal(err error) (int16, *string) {
	if err == nil {
		return 0, nil
	}
	if e, ok := asControllerError(err); ok {
		return e.Code, errorText(e.Message)
	}
	return wire.UnknownServerError, errorText(err.Error())
}

// errorTextBytesMax bounds the text of an error, which may repeat what a client sent: a string of the versions before
// KIP-482 has at most 32,767 bytes, and its length would be negative above.
const errorTextBytesMax = 1 << 10

// errorText is a text for a client, cut if it is too long.
func errorText(text string) *string {
	if len(text) > errorTextBytesMax {
		text = strings.ToValidUTF8(text[:errorTextBytesMax], "") + "..."
	}
	return &text
}

func isZero(id [16]byte) bool { return id == [16]byte{} }

// endpoint finds where clients of a listener reach a broker.
func endpoint(b *metadata.Broker, listener string) (metadata.Endpoint, bool) {
	for _, e := range b.Listeners {
		if e.Listener == listener {
			return e, true
		}
	}
	return metadata.Endpoint{}, false
}

// rackOf is a broker's rack as the protocol wants it: null if it has none.
func rackOf(b *metadata.Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return kmsg.StringPtr(b.Rack)
}

// controllerID is the broker that clients send admin requests to: this one, since
// each broker passes them on; another living one while this is not registered.
func (b *Broker) controllerID() int32 {
	first := int32(-1)
	for _, r := range b.image.Brokers() {
		if r.Fenced {
			continue
		}
		if int32(r.ID) == b.config.NodeID {
			return b.config.NodeID
		}
		if first < 0 {
			first = int32(r.ID)
		}
	}
	return first
}
