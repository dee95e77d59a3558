// DescribeUserScramCredentials (50), version 0 (KIP-554): who can log in by SCRAM. There is no authentication yet, so nobody
// has credentials: the list of all is empty, and a user who is asked for does not exist.

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var noCredentials = "The user has no SCRAM credentials."

func (b *Broker) describeUserSCRAMCredentials(x exchange, r *kmsg.DescribeUserSCRAMCredentialsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	out.ErrorMessage = kmsg.StringPtr("") // not null, as in Kafka
	places := make(map[string]int, len(r.Users))
	for i := range r.Users {
		name := r.Users[i].Name
		if at, repeated := places[name]; repeated {
			out.Results[at].ErrorCode = wire.DuplicateResource
			out.Results[at].ErrorMessage = kmsg.StringPtr("A user is described once in a request.")
			continue
		}
		places[name] = len(out.Results)
		result := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		result.User, result.ErrorCode = name, wire.ResourceNotFound
		result.ErrorMessage = &noCredentials
		out.Results = append(out.Results, result)
	}
	x.replyMessage(out)
}
