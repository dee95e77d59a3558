// DescribeCluster (60), versions 0-2 (KIP-700): the type of endpoint (KIP-919, version 1), fenced brokers (KIP-1073, 2).
//
// There is no endpoint for controllers: to ask for them is a mismatch, as on a broker of Kafka.

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Endpoint types of DescribeCluster.
const (
	endpointBrokers     = 1
	endpointControllers = 2
)

// describeCluster lists the brokers that clients of the listener can reach.
func (b *Broker) describeCluster(x exchange, r *kmsg.DescribeClusterRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeClusterResponse)
	switch {
	case r.Version == 0 || r.EndpointType == endpointBrokers:
		b.fillCluster(x.listener(), r, out)
	case r.EndpointType == endpointControllers:
		out.ErrorCode = wire.MismatchedEndpointType
		out.ErrorMessage = kmsg.StringPtr("The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
	default:
		out.ErrorCode = wire.UnsupportedEndpointType
		out.ErrorMessage = kmsg.StringPtr("Unsupported endpoint type")
	}
	x.replyMessage(out)
}

func (b *Broker) fillCluster(listener string, r *kmsg.DescribeClusterRequest, out *kmsg.DescribeClusterResponse) {
	out.EndpointType = endpointBrokers
	out.ClusterID = b.image.ClusterID()
	out.ControllerID = b.controllerID()
	if r.IncludeClusterAuthorizedOperations {
		out.ClusterAuthorizedOperations = clusterOperations
	}
	for _, n := range b.image.Brokers() {
		e, ok := endpoint(n, listener)
		if !ok || (n.Fenced && !(r.Version >= 2 && r.IncludeFencedBrokers)) {
			continue
		}
		one := kmsg.NewDescribeClusterResponseBroker()
		one.NodeID, one.Host, one.Port, one.Rack, one.IsFenced = int32(n.ID), e.Host, e.Port, rackOf(n), n.Fenced
		out.Brokers = append(out.Brokers, one)
	}
}
