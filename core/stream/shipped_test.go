package stream

import (
	"maps"
	"slices"

	"weir/core/metadata"
)

// shipments are the image as of records that the object store may not have yet (R19): a cluster whose metadata disks are lost begins anew
// with what was shipped.
type shipments struct {
	lag     bool // what is applied is shipped when the test says so
	current bool // it is at once
	index   uint64
	shipped uint64
	images  []shippedImage // ascending; the first is what is shipped
}

// shippedImage is the image as of an index.
type shippedImage struct {
	index   uint64
	streams map[metadata.StreamID]*metadata.Stream
	slots   map[metadata.BrokerEpoch]uint64
}

// AppliedIndex and Shipped implement Shipping.
func (c *cluster) AppliedIndex() uint64 { return c.ships.index }
func (c *cluster) Shipped() uint64      { return c.ships.shipped }

// changed notes that a record was applied.
func (c *cluster) changed() {
	if p := &c.ships; p.lag {
		p.index++
		p.images = append(p.images, shippedImage{p.index, copied(c.streams), maps.Clone(c.slots)})
	}
	if c.ships.current {
		c.ship(c.ships.index)
	}
}

func copied(streams map[metadata.StreamID]*metadata.Stream) map[metadata.StreamID]*metadata.Stream {
	all := make(map[metadata.StreamID]*metadata.Stream, len(streams))
	for id, s := range streams {
		one := *s
		one.Ranges, one.Parts = slices.Clone(s.Ranges), slices.Clone(s.Parts)
		all[id] = &one
	}
	return all
}

// ship has the store take all up to an index.
func (c *cluster) ship(upTo uint64) {
	p := &c.ships
	p.shipped = max(p.shipped, upTo)
	p.images = slices.DeleteFunc(p.images, func(i shippedImage) bool { return i.index < p.shipped })
}

// lose takes the metadata disks away: what is shipped is left, and later indexes are above all that were given.
func (c *cluster) lose() {
	p := &c.ships
	c.streams, c.slots = copied(p.images[0].streams), maps.Clone(p.images[0].slots)
	p.images = p.images[:0]
	p.index += 10
	c.changed()
	c.ship(p.index)
}
