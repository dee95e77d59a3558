package controller

import (
	"slices"

	"weir/core/config"
	"weir/core/metadata"
	"weir/core/wire"
)

// BrokerSettings finds what is configured for a broker: a *metadata.Image.
type BrokerSettings interface {
	BrokerConfigs(id metadata.BrokerID) []metadata.Config
}

// Drained reports whether an administrator has told a broker to give up what it leads, and to take nothing (config.DrainKey).
func Drained(settings BrokerSettings, id metadata.BrokerID) bool {
	for _, c := range settings.BrokerConfigs(id) {
		if c.Key == config.DrainKey {
			return config.IsTrue(c.Value)
		}
	}
	return false
}

// Takers are those of some brokers that may be given partitions: the ones that are not drained. If there is none, all of them: a partition with a leader
// that was to rest is better than one without.
func Takers(settings BrokerSettings, alive []*metadata.Broker) []*metadata.Broker {
	takers := slices.DeleteFunc(slices.Clone(alive), func(b *metadata.Broker) bool { return Drained(settings, b.ID) })
	if len(takers) == 0 {
		return alive
	}
	return takers
}

// mayDrain refuses to drain the last broker that could take partitions.
func (c *Controller) mayDrain(id metadata.BrokerID, configs []config.Override) error {
	asked := slices.ContainsFunc(configs, func(o config.Override) bool { return o.Key == config.DrainKey && config.IsTrue(o.Value) })
	if !asked || Drained(c.image, id) {
		return nil
	}
	if id == metadata.AllBrokers {
		return refuse(wire.InvalidRequest, "%s is set for one broker: without any other, nobody could take its partitions", config.DrainKey)
	}
	if _, known := c.image.Broker(id); !known {
		return refuse(wire.BrokerIDNotRegistered, "Broker ID %d is not currently registered", id)
	}
	for _, b := range c.alive() {
		if b.ID != id && !Drained(c.image, b.ID) {
			return nil
		}
	}
	return refuse(wire.InvalidRequest, "Broker %d cannot be drained: no other broker is alive and not drained itself, and its partitions would have no leader. "+
		"Start another broker, or end the drain of one.", id)
}
