package diff

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// strangeID is a topic id that no broker has given.
var strangeID = [16]byte{0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

// mutation changes one field of a request.
type mutation struct {
	name  string
	apply func(root reflect.Value, own string) // own is the prefix of the case's own topics
}

// mutationsOf lists what can be changed in a request: it walks over every field of the first element of each array.
func mutationsOf(r kmsg.Request) (all []mutation) {
	walk(reflect.ValueOf(r).Elem(), nil, "", func(path []int, name string, v reflect.Value) {
		for _, c := range changesOf(name, v) {
			all = append(all, mutation{name + "=" + c.name, func(root reflect.Value, own string) { c.set(at(root, path), own) }})
		}
	})
	return all
}

// walk visits every field. A path is a list of field indexes; a slice or pointer on the way stands for its first element.
func walk(v reflect.Value, path []int, name string, visit func([]int, string, reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			if field == "Version" || field == "UnknownTags" {
				continue
			}
			walk(v.Field(i), append(path[:len(path):len(path)], i), strings.TrimPrefix(name+"."+field, "."), visit)
		}
		return
	case reflect.Slice:
		visit(path, name, v)
		if v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct {
			walk(v.Index(0), path, name, visit)
		}
		return
	case reflect.Pointer:
		visit(path, name, v)
		if v.Type().Elem().Kind() == reflect.Struct && !v.IsNil() {
			walk(v.Elem(), path, name, visit)
		}
		return
	}
	visit(path, name, v)
}

// at follows a path.
func at(v reflect.Value, path []int) reflect.Value {
	for _, i := range path {
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() == reflect.Slice {
			v = v.Index(0)
		}
		v = v.Field(i)
	}
	return v
}

type change struct {
	name string
	set  func(v reflect.Value, own string)
}

func changesOf(name string, v reflect.Value) (all []change) {
	add := func(name string, set func(reflect.Value, string)) { all = append(all, change{name, set}) }
	switch v.Kind() {
	case reflect.Bool:
		add("flipped", func(v reflect.Value, _ string) { v.SetBool(!v.Bool()) })
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		for _, n := range integers(name, v.Type().Bits()) {
			add(fmt.Sprint(n), func(v reflect.Value, _ string) { v.SetInt(n) })
		}
	case reflect.String:
		for _, t := range strangeTexts(name) {
			add(t.name, func(v reflect.Value, own string) { v.SetString(t.of(own)) })
		}
	case reflect.Pointer:
		add("null", func(v reflect.Value, _ string) { v.SetZero() })
		if v.Type().Elem().Kind() == reflect.String {
			for _, t := range strangeTexts(name) {
				add(t.name, func(v reflect.Value, own string) { v.Set(reflect.ValueOf(kmsg.StringPtr(t.of(own)))) })
			}
		}
	case reflect.Array:
		add("zero", func(v reflect.Value, _ string) { v.SetZero() })
		add("unknown", func(v reflect.Value, _ string) { v.Set(reflect.ValueOf(strangeID)) })
	case reflect.Slice:
		add("null", func(v reflect.Value, _ string) { v.SetZero() })
		add("empty", func(v reflect.Value, _ string) { v.Set(reflect.MakeSlice(v.Type(), 0, 0)) })
		if v.Len() > 0 && v.Type().Elem().Kind() != reflect.Uint8 {
			add("twice", func(v reflect.Value, _ string) { v.Set(reflect.Append(v, v.Index(0))) })
		}
	}
	return all
}

func integers(name string, bits int) []int64 {
	all := []int64{0, 1, 2, -1, -2, math.MinInt64 >> (64 - bits), math.MaxInt64 >> (64 - bits)}
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "Timestamp":
		all = append(all, -3, -4, -5, -6, -7, -100)
	case "ResourceType":
		all = append(all, 3, 4, 8, 16, 32)
	case "Acks":
		all = append(all, 3)
	case "Op":
		all = append(all, 3, 4)
	case "NumPartitions", "Count":
		all = append(all, 3, 10001)
	case "TimeoutMillis":
		all = slices.DeleteFunc(all, func(n int64) bool { return n == 1 || n == 2 }) // who is done in time is chance
	case "MaxWaitMillis":
		all[len(all)-1] = 200 // the wait is real
	}
	return all
}

// text is a string that a field may be changed to.
type text struct {
	name string
	of   func(own string) string
}

func absentName(own string) string { return own + "absent" }

// longName is the longest that a topic may have.
func longName(own string) string { return own + strings.Repeat("x", 249-len(own)) }

func strangeTexts(name string) []text {
	fixed := func(name, s string) text { return text{name, func(string) string { return s }} }
	all := []text{
		fixed(`""`, ""),
		{"absent", absentName},
		fixed(`"a b"`, "a b"),
		fixed("x*250", strings.Repeat("x", 250)),
	}
	if strings.HasSuffix(name, "Topic") {
		all = append(all, fixed(".", "."), fixed("__cluster_metadata", "__cluster_metadata"), text{"x*249", longName})
	}
	return all
}
