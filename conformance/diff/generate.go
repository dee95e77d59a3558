package diff

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// base is a valid request of one API, from which cases are made by changing one field.
type base struct {
	key    int16
	fresh  bool // the request changes its topic: each case has one of its own
	build  func(e *endpoint, version int16, topic string) kmsg.Request
	verify func(e *endpoint, topic string) []kmsg.Request // what shows the effect
	fill   int
	parts  int32
}

// Cases generates every case for the versions that the subject advertises. Every version has its plain request; fields are
// changed at the lowest and highest version and at those whose schema is not that of the version before.
func Cases(versions map[int16][2]int16) (all []*Case) {
	s := &script{}
	for _, b := range bases() {
		span, ok := versions[b.key]
		if !ok {
			continue
		}
		last := min(span[1], kmsg.RequestForKey(b.key).MaxVersion())
		for version := span[0]; version <= last; version++ {
			mutate := version == span[0] || version == last || !bytes.Equal(schemaSample(b.key, version-1), schemaSample(b.key, version))
			all = append(all, b.cases(s, version, mutate)...)
		}
	}
	s.sequences(versions)
	return append(all, s.all...)
}

// schemaSample is a request and a response of one version with every field set: it is that of another version if both have
// the same fields.
func schemaSample(key, version int16) []byte {
	request := kmsg.RequestForKey(key)
	fillFields(reflect.ValueOf(request).Elem())
	request.SetVersion(version)
	response := request.ResponseKind()
	fillFields(reflect.ValueOf(response).Elem())
	response.SetVersion(version)
	return response.AppendTo(request.AppendTo(nil))
}

func fillFields(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Name != "UnknownTags" {
				fillFields(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillFields(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillFields(v.Index(0))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.String:
		v.SetString("text")
	}
}

func (b *base) cases(s *script, version int16, mutate bool) (all []*Case) {
	dummy := newEndpoint("", nil)
	plain := b.request(dummy, version, "topic")
	api := fmt.Sprintf("%s/v%d/", kmsg.NameForKey(b.key), version)
	all = append(all, b.one(s, version, api+"plain", nil))
	if !mutate {
		return all
	}
	seen := [][]byte{plain.AppendTo(nil)}
	for _, m := range mutationsOf(plain) {
		changed := b.request(dummy, version, "topic")
		m.apply(reflect.ValueOf(changed).Elem(), "own")
		body := changed.AppendTo(nil)
		if !slices.ContainsFunc(seen, func(other []byte) bool { return bytes.Equal(body, other) }) {
			seen = append(seen, body)
			all = append(all, b.one(s, version, api+m.name, m.apply))
		}
	}
	return all
}

func (b *base) request(e *endpoint, version int16, topic string) kmsg.Request {
	r := b.build(e, version, topic)
	r.SetVersion(version)
	return r
}

func (b *base) one(s *script, version int16, name string, change func(v reflect.Value, own string)) *Case {
	c := &Case{Name: name, own: s.prefix()}
	topic := c.own + "topic"
	switch {
	case b.parts > 0 && b.fresh:
		c.topics = []topicSpec{{topic, b.parts, b.fill}}
	case b.parts > 0:
		topic = fmt.Sprintf("%sread-%d", runPrefix(), b.key)
		c.reads = []topicSpec{{topic, b.parts, b.fill}}
	}
	c.steps = append(c.steps, step{name: "request", request: func(e *endpoint) kmsg.Request {
		r := b.request(e, version, topic)
		if change != nil {
			change(reflect.ValueOf(r).Elem(), c.own)
		}
		return r
	}})
	if b.verify == nil {
		return c
	}
	for i, v := range b.verify(newEndpoint("", nil), topic) {
		c.steps = append(c.steps, step{shows: true, name: "then " + kmsg.NameForKey(v.Key()), request: func(e *endpoint) kmsg.Request {
			return b.verify(e, topic)[i]
		}})
	}
	return c
}
