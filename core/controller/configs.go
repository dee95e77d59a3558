package controller

import (
	"errors"

	"weir/core/config"
	"weir/core/metadata"
	"weir/core/wire"
)

// AlterTopicConfigs applies ops; replace means AlterConfigs: what ops do not set is removed.
func (c *Controller) AlterTopicConfigs(topic string, ops []ConfigOp, replace, validateOnly bool, done func(error)) {
	t, ok := c.image.Topic(topic)
	if !ok {
		done(refuse(wire.UnknownTopicOrPartition, "The topic '%s' does not exist.", topic))
		return
	}
	next, err := c.options.Settings.AlterTopic(config.Overrides(t.Configs), opsOf(ops), replace)
	if err != nil || validateOnly {
		done(kafka(err))
		return
	}
	r := &metadata.SetTopicConfigs{ID: t.ID, Base: t.ConfigsIndex, Configs: overrides(next)}
	c.proposeConfigs(r, func() { c.AlterTopicConfigs(topic, ops, replace, validateOnly, done) }, done)
}

// AlterBrokerConfigs changes what is set for a broker, or for all
// (metadata.AllBrokers), in the same way.
func (c *Controller) AlterBrokerConfigs(id metadata.BrokerID, ops []ConfigOp, replace, validateOnly bool, done func(error)) {
	set, base := c.image.BrokerConfigsAt(id)
	next, err := c.options.Settings.AlterBroker(config.Overrides(set), opsOf(ops), replace)
	if err == nil {
		err = c.mayDrain(id, next)
	}
	if err != nil || validateOnly {
		done(kafka(err))
		return
	}
	r := &metadata.SetBrokerConfigs{ID: id, Base: base, Configs: overrides(next)}
	c.proposeConfigs(r, func() { c.AlterBrokerConfigs(id, ops, replace, validateOnly, done) }, done)
}

// AlterGroupConfigs changes what is set for a group, which need not exist, in the same way.
func (c *Controller) AlterGroupConfigs(group string, ops []ConfigOp, replace, validateOnly bool, done func(error)) {
	set, base := c.image.GroupConfigs(group)
	next, err := c.options.Settings.AlterGroup(config.Overrides(set), opsOf(ops), replace)
	if err != nil || validateOnly {
		done(kafka(err))
		return
	}
	r := &metadata.SetGroupConfigs{Group: group, Base: base, Configs: overrides(next)}
	c.proposeConfigs(r, func() { c.AlterGroupConfigs(group, ops, replace, validateOnly, done) }, done)
}

// proposeConfigs proposes a record, and computes it anew if another came first.
func (c *Controller) proposeConfigs(r metadata.Record, again func(), done func(error)) {
	c.propose(r, func(err error) {
		if errors.Is(err, metadata.ErrStale) || errors.Is(err, metadata.ErrUnknownTopic) {
			c.retried.Hit()
			c.options.Loop.Post(again)
			return
		}
		done(kafka(err))
	})
}

func opsOf(in []ConfigOp) []config.Op {
	out := make([]config.Op, len(in))
	for i, o := range in {
		out[i] = config.Op(o)
	}
	return out
}
