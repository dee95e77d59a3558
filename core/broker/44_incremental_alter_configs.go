// IncrementalAlterConfigs (44), versions 0-1 (KIP-339).
//
// Differences from Kafka: those of AlterConfigs (33_alter_configs.go); an unknown operation is refused with INVALID_REQUEST,
// where Kafka answers UNKNOWN_SERVER_ERROR; a ratio is shown as it was written.

package broker

import (
	"weir/core/config"
	"weir/core/controller"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// incrementalAlterConfigs changes single keys of resources: set, delete, and append
// to or subtract from lists.
func (b *Broker) incrementalAlterConfigs(x exchange, r *kmsg.IncrementalAlterConfigsRequest) {
	a := b.newAltering(len(r.Resources), false, r.ValidateOnly)
	for i := range r.Resources {
		q := &r.Resources[i]
		ops, err := []controller.ConfigOp(nil), error(nil)
		for _, c := range q.Configs {
			op := controller.ConfigOp{Key: c.Name, Op: int8(c.Op)}
			if c.Value != nil {
				op.Value = *c.Value
			} else if op.Op != config.OpDelete {
				err = nullValue(c.Name)
				break
			}
			ops = append(ops, op)
		}
		a.add(resource{q.ResourceType, q.ResourceName}, ops, err)
	}
	out := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	a.run(x, func() {
		out.Resources = make([]kmsg.IncrementalAlterConfigsResponseResource, len(a.parts))
		for i := range a.parts {
			p, t := &a.parts[i], &out.Resources[i]
			t.Default()
			t.ErrorCode, t.ErrorMessage, t.ResourceType, t.ResourceName = p.code, p.message, p.kind, p.name
		}
		x.replyMessage(out)
	})
}
