// AlterConfigs (33), versions 0-2 (KIP-133). What it shares with IncrementalAlterConfigs (44_incremental_alter_configs.go) is
// here too.
//
// Differences from Kafka: NaN is refused; a broker's unknown keys can be deleted, not set; counts of threads may change to
// any number, not only by a factor of two; a number has at most 64 characters, the name of a configured group 1,024 bytes;
// client metrics cannot be changed; a resource that a request has twice is refused with INVALID_REQUEST, where Kafka fails and
// does not answer.

package broker

import (
	"strconv"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// allBrokers is the id under which the image keeps what is set for all brokers.
const allBrokers metadata.BrokerID = -1

// configuredGroupBytesMax is the longest name of a group that is configured. The group need not exist: what is set for it stays in
// the cluster's metadata, on each node and for good, and a client's string may have 32 KiB.
const configuredGroupBytesMax = 1 << 10

// alterConfigs replaces all that is set on each resource: what the request does not
// name is removed.
func (b *Broker) alterConfigs(x exchange, r *kmsg.AlterConfigsRequest) {
	a := b.newAltering(len(r.Resources), true, r.ValidateOnly)
	for i := range r.Resources {
		q := &r.Resources[i]
		ops, err := []controller.ConfigOp(nil), error(nil)
		for _, c := range q.Configs {
			if c.Value == nil {
				err = nullValue(c.Name)
				break
			}
			ops = append(ops, controller.ConfigOp{Key: c.Name, Op: config.OpSet, Value: *c.Value})
		}
		a.add(resource{q.ResourceType, q.ResourceName}, ops, err)
	}
	out := r.ResponseKind().(*kmsg.AlterConfigsResponse)
	a.run(x, func() {
		out.Resources = make([]kmsg.AlterConfigsResponseResource, len(a.parts))
		for i := range a.parts {
			p, t := &a.parts[i], &out.Resources[i]
			t.Default()
			t.ErrorCode, t.ErrorMessage, t.ResourceType, t.ResourceName = p.code, p.message, p.kind, p.name
		}
		x.replyMessage(out)
	})
}

func nullValue(key string) error {
	return &controller.Error{Code: wire.InvalidRequest, Message: "Null value not supported for : " + key}
}

// altering is a request that changes configurations, under way: of both kinds.
type altering struct {
	broker       *Broker
	replace      bool
	validateOnly bool
	parts        []alteringPart
	times        map[resource]int
}

// alteringPart is one resource of the request.
type alteringPart struct {
	resource
	ops     []controller.ConfigOp
	err     error
	code    int16
	message *string
}

func (b *Broker) newAltering(n int, replace, validateOnly bool) *altering {
	return &altering{
		broker: b, replace: replace, validateOnly: validateOnly,
		parts: make([]alteringPart, 0, n), times: make(map[resource]int, n),
	}
}

func (a *altering) add(r resource, ops []controller.ConfigOp, err error) {
	a.times[r]++
	a.parts = append(a.parts, alteringPart{resource: r, ops: ops, err: err})
}

// run changes each resource, and calls answer when all are done. There is no
// timeout: these requests have none.
func (a *altering) run(x exchange, answer func()) {
	a.broker.whenCurrent(x, 0, func() { a.runNow(x, answer) }, func(code int16, message *string) {
		for i := range a.parts {
			a.parts[i].code, a.parts[i].message = code, message
		}
		answer()
	})
}

func (a *altering) runNow(x exchange, answer func()) {
	open, gone := 1, false
	x.onGone(func() { gone = true })
	done := func() {
		if open--; open == 0 && !gone {
			answer()
		}
	}
	for i := range a.parts {
		p := &a.parts[i]
		if a.times[p.resource] > 1 && p.err == nil {
			p.err = &controller.Error{Code: wire.InvalidRequest, Message: "Error due to duplicate config resource: " + p.name}
		}
		open++
		a.alter(p, func(err error) {
			p.code, p.message = refusal(err)
			done()
		})
	}
	done()
}

// alter validates one resource's change and passes it on.
func (a *altering) alter(p *alteringPart, done func(error)) {
	if p.err != nil {
		done(p.err)
		return
	}
	switch p.kind {
	case kmsg.ConfigResourceTypeTopic:
		a.alterTopic(p, done)
	case kmsg.ConfigResourceTypeBroker:
		a.alterBroker(p, done)
	case kmsg.ConfigResourceTypeGroupConfig:
		a.alterGroup(p, done)
	case kmsg.ConfigResourceTypeClientMetrics:
		done(alterUnserved("client metrics subscription", config.ClientMetricsKeys(), p))
	default:
		done(unsupportedResource(p.kind))
	}
}

func (a *altering) alterTopic(p *alteringPart, done func(error)) {
	b := a.broker
	if p.name == "" {
		done(&controller.Error{Code: wire.InvalidRequest, Message: "Default topic resources are not allowed."})
		return
	}
	if !validTopicName(p.name) {
		done(&controller.Error{Code: wire.InvalidTopic, Message: "Topic name is invalid."})
		return
	}
	t, ok := b.image.Topic(p.name)
	if !ok {
		done(&controller.Error{Code: wire.UnknownTopicOrPartition, Message: "The topic '" + p.name + "' does not exist."})
		return
	}
	if _, err := b.settings.AlterTopic(config.Overrides(t.Configs), opsOf(p.ops), a.replace); err != nil {
		done(configRefusal(err))
		return
	}
	b.controller.AlterTopicConfigs(p.name, p.ops, a.replace, a.validateOnly, func(err error) { done(configRefusal(err)) })
}

func (a *altering) alterBroker(p *alteringPart, done func(error)) {
	b := a.broker
	id := allBrokers
	if p.name != "" {
		var err error
		if id, err = a.configuredBroker(p); err != nil {
			done(err)
			return
		}
	}
	if _, err := b.settings.AlterBroker(config.Overrides(b.image.BrokerConfigs(id)), opsOf(p.ops), a.replace); err != nil {
		done(configRefusal(err))
		return
	}
	if err := checkMinInSyncReplicas(id, p.ops); err != nil {
		done(err)
		return
	}
	b.controller.AlterBrokerConfigs(id, p.ops, a.replace, a.validateOnly, func(err error) { done(configRefusal(err)) })
}

// configuredBroker is the broker that a change is for: as in Kafka the one that is asked. Any broker takes a drain, also that of one that is away.
func (a *altering) configuredBroker(p *alteringPart) (metadata.BrokerID, error) {
	b := a.broker
	id, err := strconv.ParseInt(p.name, 10, 32)
	if err != nil || a.replace || len(p.ops) != 1 || p.ops[0].Key != config.DrainKey {
		own, err := b.brokerOf(p.name, "Node", "")
		return metadata.BrokerID(own), err
	}
	if _, known := b.image.Broker(metadata.BrokerID(id)); !known {
		return 0, &controller.Error{Code: wire.BrokerIDNotRegistered, Message: "Broker ID " + p.name + " is not currently registered"}
	}
	return metadata.BrokerID(id), nil
}

// checkMinInSyncReplicas refuses what Kafka refuses since eligible leader replicas (KIP-966): min.insync.replicas
// of one broker, and its removal.
func checkMinInSyncReplicas(id metadata.BrokerID, ops []controller.ConfigOp) error {
	for _, o := range ops {
		if o.Key != "min.insync.replicas" {
			continue
		}
		if id != allBrokers {
			return &controller.Error{Code: wire.InvalidConfig, Message: "Broker-level min.insync.replicas cannot be altered while ELR is enabled."}
		}
		if o.Op == config.OpDelete {
			return &controller.Error{Code: wire.InvalidConfig, Message: "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."}
		}
	}
	return nil
}

func (a *altering) alterGroup(p *alteringPart, done func(error)) {
	b := a.broker
	if p.name == "" {
		done(&controller.Error{Code: wire.InvalidRequest, Message: "Default group resources are not allowed."})
		return
	}
	if len(p.name) > configuredGroupBytesMax {
		done(&controller.Error{Code: wire.InvalidRequest, Message: "The name of a group with a configuration must not be longer than 1024 bytes."})
		return
	}
	set, _ := b.image.GroupConfigs(p.name)
	if _, err := b.settings.AlterGroup(config.Overrides(set), opsOf(p.ops), a.replace); err != nil {
		done(configRefusal(err))
		return
	}
	b.controller.AlterGroupConfigs(p.name, p.ops, a.replace, a.validateOnly, func(err error) { done(configRefusal(err)) })
}

// alterUnserved answers for client metrics, which have keys and defaults but are not served yet: nothing of them can
// be set.
func alterUnserved(kind string, table []config.Definition, p *alteringPart) error {
	if len(p.ops) == 0 {
		return nil
	}
	if err := config.CheckNewKey(kind, p.ops[0].Key, table); err != nil {
		return &controller.Error{Code: wire.InvalidRequest, Message: err.Error()}
	}
	return &controller.Error{Code: wire.InvalidRequest, Message: "The configuration of a " + kind + " cannot be changed: it is not served yet."}
}

func opsOf(in []controller.ConfigOp) []config.Op {
	out := make([]config.Op, len(in))
	for i, o := range in {
		out[i] = config.Op(o)
	}
	return out
}
