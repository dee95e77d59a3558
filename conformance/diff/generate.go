package diff

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// base is a valid request of one API, from which cases are made by changing one field.
type base struct {
	key    int16
	fresh  bool // each case needs a topic of its own, since the request changes it
	build  func(e *endpoint, version int16, topic string) kmsg.Request
	verify func(e *endpoint, topic string) []kmsg.Request // what shows the effect
	fill   int
	parts  int32
}

// Cases generates every case for the versions that the subject advertises.
func Cases(versions map[int16][2]int16) (all []*Case) {
	serial := 0
	for _, b := range bases() {
		span, ok := versions[b.key]
		if !ok {
			continue
		}
		for version := span[0]; version <= min(span[1], kmsg.RequestForKey(b.key).MaxVersion()); version++ {
			all = append(all, b.cases(version, &serial)...)
		}
	}
	all = append(all, sequences(versions, &serial)...)
	return all
}

func (b *base) cases(version int16, serial *int) (all []*Case) {
	dummy := newEndpoint("")
	plain := b.request(dummy, version, "topic")
	api := fmt.Sprintf("%s/v%d/", kmsg.NameForKey(b.key), version)
	all = append(all, b.one(version, serial, api+"plain", nil))
	seen := [][]byte{plain.AppendTo(nil)}
	for _, m := range mutationsOf(plain) {
		changed := b.request(dummy, version, "topic")
		m.apply(reflect.ValueOf(changed).Elem())
		if body := changed.AppendTo(nil); !contains(seen, body) {
			seen = append(seen, body)
			all = append(all, b.one(version, serial, api+m.name, m.apply))
		}
	}
	return all
}

func contains(all [][]byte, one []byte) bool {
	for _, b := range all {
		if bytes.Equal(b, one) {
			return true
		}
	}
	return false
}

func (b *base) request(e *endpoint, version int16, topic string) kmsg.Request {
	r := b.build(e, version, topic)
	r.SetVersion(version)
	return r
}

func (b *base) one(version int16, serial *int, name string, change func(reflect.Value)) *Case {
	*serial++
	topic := fmt.Sprintf("%s%d-%d", topicPrefix, baseTimestamp%1_000_000_000, *serial)
	c := &Case{Name: name, fill: b.fill}
	if b.parts > 0 {
		c.topics = map[string]int32{topic: b.parts}
	}
	c.steps = append(c.steps, step{name: "request", request: func(e *endpoint) kmsg.Request {
		r := b.request(e, version, topic)
		if change != nil {
			change(reflect.ValueOf(r).Elem())
		}
		return r
	}})
	if b.verify == nil {
		return c
	}
	for i, v := range b.verify(newEndpoint(""), topic) {
		c.steps = append(c.steps, step{shows: true, name: "then " + kmsg.NameForKey(v.Key()), request: func(e *endpoint) kmsg.Request {
			return b.verify(e, topic)[i]
		}})
	}
	return c
}
