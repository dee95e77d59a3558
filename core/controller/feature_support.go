package controller

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Support is what another node says that it serves.
type Support struct {
	Node     int32
	Features []Feature
	// Silent says that it did not answer, Older that it did not know the question: its release is one before that.
	Silent, Older bool
}

// askSupport asks the others whether they serve what updates raise. It is called before each raise, so that nothing is kept of who
// serves what: a broker that was restarted as an older release says so.
func (c *Controller) askSupport(updates []FeatureUpdate, done func(error)) {
	raises := false
	for _, u := range updates {
		raises = raises || u.Level > c.image.Feature(u.Name)
	}
	if !raises || c.options.Others == nil {
		done(nil)
		return
	}
	c.options.Others(func(others []Support) {
		done(c.refuseUpdates(updates, func(u *FeatureUpdate) string {
			if u.Level <= c.image.Feature(u.Name) {
				return ""
			}
			return notServed(others, u)
		}))
	})
}

// notServed says which node does not serve a level; empty: all do.
func notServed(nodes []Support, u *FeatureUpdate) string {
	for i := range nodes {
		s := &nodes[i]
		f := find(s.Features, u.Name)
		switch {
		case s.Silent:
			return fmt.Sprintf("Broker %d does not answer, and it is not known which versions it supports.", s.Node)
		case s.Older:
			return fmt.Sprintf("Broker %d is of an older release, which does not say what versions it supports.", s.Node)
		case f == nil || f.Max == 0:
			return fmt.Sprintf("Broker %d does not support this feature.", s.Node)
		case !f.serves(u.Level):
			return fmt.Sprintf("Broker %d only supports versions %s", s.Node, f.levels())
		}
	}
	return ""
}

// AppendFeatures appends the encoding of features, little-endian: of each the length of its name, u8, the name, i16 lowest and i16 highest
// level.
func AppendFeatures(dst []byte, features []Feature) []byte {
	order := binary.LittleEndian
	for _, f := range features {
		dst = append(append(dst, byte(len(f.Name))), f.Name...)
		dst = order.AppendUint16(order.AppendUint16(dst, uint16(f.Min)), uint16(f.Max))
	}
	return dst
}

// featuresMax bounds what another node may say that it serves.
const featuresMax = 100

var errFeatures = errors.New("a list of features ends short, or is too long")

// DecodeFeatures decodes what AppendFeatures appended. It keeps nothing of b.
func DecodeFeatures(b []byte) (features []Feature, err error) {
	order := binary.LittleEndian
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n+4 || len(features) == featuresMax {
			return nil, errFeatures
		}
		f := Feature{Name: string(b[1 : 1+n])}
		b = b[1+n:]
		f.Min, f.Max = int16(order.Uint16(b)), int16(order.Uint16(b[2:]))
		features, b = append(features, f), b[4:]
	}
	return features, nil
}
