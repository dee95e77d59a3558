package consumer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/wire"
)

// The types of records of a consumer group: the version in front of a key, as Kafka numbers them.
const (
	TypeGroup      int16 = 3  // ConsumerGroupMetadata: the group epoch
	TypePartitions int16 = 4  // ConsumerGroupPartitionMetadata, of Kafka before 4.1; only tombstones are left
	TypeMember     int16 = 5  // ConsumerGroupMemberMetadata: who the member is and what it subscribes to
	TypeTarget     int16 = 6  // ConsumerGroupTargetAssignmentMetadata: the epoch of the target assignment
	TypeTargetOf   int16 = 7  // ConsumerGroupTargetAssignmentMember: a member's target
	TypeCurrent    int16 = 8  // ConsumerGroupCurrentMemberAssignment: what a member has
	TypeExpression int16 = 16 // ConsumerGroupRegularExpression: the topics that an expression matches
)

// ErrRecord says that a record is damaged, or of a version that is not known here.
var ErrRecord = errors.New("record of a consumer group is invalid")

// Key is the key of a record.
type Key struct {
	Type  int16
	Group string
	// Of is the member or the regular expression, where the type has one.
	Of string
}

func (t Key) hasSecond() bool {
	return t.Type == TypeMember || t.Type == TypeTargetOf || t.Type == TypeCurrent || t.Type == TypeExpression
}

// ParseKey reads a key. ok is false if its type is not one of a consumer group.
func ParseKey(src []byte) (k Key, ok bool, err error) {
	in := kbin.Reader{Src: src}
	k.Type = in.Int16()
	switch k.Type {
	case TypeGroup, TypePartitions, TypeMember, TypeTarget, TypeTargetOf, TypeCurrent, TypeExpression:
	default:
		return k, false, nil
	}
	k.Group = in.String()
	if k.hasSecond() {
		k.Of = in.String()
	}
	if !in.Ok() {
		return k, true, fmt.Errorf("%w: key of type %d is cut off", ErrRecord, k.Type)
	}
	return k, true, nil
}

// AppendTo encodes the key.
func (t Key) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, t.Type)
	dst = kbin.AppendString(dst, t.Group)
	if t.hasSecond() {
		dst = kbin.AppendString(dst, t.Of)
	}
	return dst
}

// value is what stands behind a key: encoded after its version, which is 0 for all, and before its tags.
type value interface {
	encode(dst []byte) []byte
}

// entry is a record to write; a nil value is a tombstone.
func entry(k Key, v value) coordinator.Entry {
	e := coordinator.Entry{Key: k.AppendTo(nil)}
	if v != nil {
		e.Value = v.encode([]byte{0, 0})
	}
	return e
}

// groupValue is the value of TypeGroup.
type groupValue struct {
	epoch int32
	hash  int64 // over the topics subscribed to; 0: none
}

func (v groupValue) encode(dst []byte) []byte {
	return appendTagInt64(kbin.AppendInt32(dst, v.epoch), v.hash)
}

func (v *groupValue) decode(in *decoder) {
	v.epoch = in.Int32()
	in.tags(func(tag uint32, value *decoder) {
		if tag == 0 {
			v.hash = value.Int64()
		}
	})
}

// targetValue is the value of TypeTarget.
type targetValue struct {
	epoch     int32
	timestamp int64 // milliseconds; 0: not known
}

func (v targetValue) encode(dst []byte) []byte {
	return appendTagInt64(kbin.AppendInt32(dst, v.epoch), v.timestamp)
}

func (v *targetValue) decode(in *decoder) {
	v.epoch = in.Int32()
	in.tags(func(tag uint32, value *decoder) {
		if tag == 0 {
			v.timestamp = value.Int64()
		}
	})
}

// targetOfValue is the value of TypeTargetOf.
type targetOfValue struct{ assignment Assignment }

func (v targetOfValue) encode(dst []byte) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(v.assignment))
	for _, tp := range v.assignment {
		dst = append(dst, tp.Topic[:]...)
		dst = append(appendInt32s(dst, tp.Partitions), 0)
	}
	return append(dst, 0)
}

func (v *targetOfValue) decode(in *decoder) {
	v.assignment = normalized(in.assignment(func(*TopicPartitions, uint32, *decoder) {}))
	in.tags(nil)
}

// currentValue is the value of TypeCurrent.
type currentValue struct {
	epoch, previous    int32
	state              State
	assigned, revoking Assignment
}

func (v currentValue) encode(dst []byte) []byte {
	dst = kbin.AppendInt32(kbin.AppendInt32(dst, v.epoch), v.previous)
	dst = append(dst, byte(v.state))
	for _, a := range []Assignment{v.assigned, v.revoking} {
		dst = kbin.AppendCompactArrayLen(dst, len(a))
		for _, tp := range a {
			dst = append(dst, tp.Topic[:]...)
			dst = appendTag(appendInt32s(dst, tp.Partitions), appendInt32s(nil, tp.Epochs))
		}
	}
	return append(dst, 0)
}

func (v *currentValue) decode(in *decoder) {
	v.epoch, v.previous, v.state = in.Int32(), in.Int32(), State(in.Int8())
	v.assigned, v.revoking = v.decodeAssignment(in), v.decodeAssignment(in)
	in.tags(nil)
}

func (v *currentValue) decodeAssignment(in *decoder) Assignment {
	read := in.assignment(func(tp *TopicPartitions, tag uint32, value *decoder) {
		if tag == 0 {
			tp.Epochs = value.int32s()
		}
	})
	var a Assignment
	for _, tp := range read {
		a = a.put(v.sorted(tp))
	}
	slices.SortStableFunc(a, func(x, y TopicPartitions) int { return slices.Compare(x.Topic[:], y.Topic[:]) })
	return a
}

// sorted orders the partitions with their epochs. Kafka before 4.3 wrote none: then they are the member's.
func (v *currentValue) sorted(tp TopicPartitions) TopicPartitions {
	type pair struct{ partition, epoch int32 }
	pairs := make([]pair, len(tp.Partitions))
	for i, p := range tp.Partitions {
		pairs[i] = pair{p, v.epoch}
		if i < len(tp.Epochs) {
			pairs[i].epoch = tp.Epochs[i]
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.partition, b.partition) })
	out := TopicPartitions{Topic: tp.Topic}
	for _, p := range pairs {
		out.add(p.partition, p.epoch)
	}
	return out
}

// memberValue is the value of TypeMember.
type memberValue struct{ Metadata }

func (v memberValue) encode(dst []byte) []byte {
	dst = appendNullable(dst, v.InstanceID)
	dst = appendNullable(dst, v.Rack)
	dst = kbin.AppendCompactString(dst, v.ClientID)
	dst = kbin.AppendCompactString(dst, v.ClientHost)
	dst = kbin.AppendCompactArrayLen(dst, len(v.Topics))
	for _, topic := range v.Topics {
		dst = kbin.AppendCompactString(dst, topic)
	}
	dst = kbin.AppendCompactString(dst, v.Expression)
	dst = kbin.AppendInt32(dst, v.RebalanceTimeoutMillis)
	dst = appendNullable(dst, v.Assignor)
	if v.Classic == nil {
		return append(dst, 0)
	}
	classic := kbin.AppendInt32([]byte{1}, v.Classic.SessionTimeoutMillis) // 1: it is not null
	classic = kbin.AppendCompactArrayLen(classic, len(v.Classic.Protocols))
	for _, p := range v.Classic.Protocols {
		classic = kbin.AppendCompactString(classic, p.Name)
		classic = append(kbin.AppendCompactBytes(classic, p.Metadata), 0)
	}
	return appendTag(dst, append(classic, 0))
}

func (v *memberValue) decode(in *decoder) {
	v.InstanceID, v.Rack = in.nullable(), in.nullable()
	v.ClientID, v.ClientHost = in.nullable(), in.nullable()
	for range in.count(1) {
		v.Topics = append(v.Topics, in.nullable())
	}
	v.Topics = set(v.Topics)
	v.Expression = in.nullable()
	v.RebalanceTimeoutMillis = in.Int32()
	v.Assignor = in.nullable()
	in.tags(func(tag uint32, value *decoder) {
		if tag == 0 && value.Int8() >= 0 {
			v.Classic = value.classic()
		}
	})
}

func (d *decoder) classic() *Classic {
	c := &Classic{SessionTimeoutMillis: d.Int32()}
	for range d.count(3) {
		c.Protocols = append(c.Protocols, ClassicProtocol{Name: d.nullable(), Metadata: slices.Clone(d.CompactBytes())})
		d.tags(nil)
	}
	d.tags(nil)
	return c
}

// expressionValue is the value of TypeExpression.
type expressionValue struct{ Resolved }

func (v expressionValue) encode(dst []byte) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(v.Topics))
	for _, topic := range v.Topics {
		dst = kbin.AppendCompactString(dst, topic)
	}
	return append(kbin.AppendInt64(kbin.AppendInt64(dst, v.Version), v.Timestamp), 0)
}

func (v *expressionValue) decode(in *decoder) {
	for range in.count(1) {
		v.Topics = append(v.Topics, in.nullable())
	}
	v.Topics = set(v.Topics)
	v.Version, v.Timestamp = in.Int64(), in.Int64()
	in.tags(nil)
}

// Set sorts names in place and drops what is there twice.
func Set(names []string) []string { return set(names) }

func set(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// appendTag ends a struct with one tag, number 0, or with none if its value is an empty array.
func appendTag(dst, value []byte) []byte {
	if len(value) == 1 {
		return append(dst, 0)
	}
	dst = kbin.AppendUvarint(append(dst, 1, 0), uint32(len(value)))
	return append(dst, value...)
}

// appendTagInt64 ends a struct with one tag, number 0, unless it is zero, which is its default.
func appendTagInt64(dst []byte, n int64) []byte {
	if n == 0 {
		return append(dst, 0)
	}
	return appendTag(dst, kbin.AppendInt64(nil, n))
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, 0)
	}
	return kbin.AppendCompactString(dst, s)
}

func appendInt32s(dst []byte, ns []int32) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(ns))
	for _, n := range ns {
		dst = kbin.AppendInt32(dst, n)
	}
	return dst
}

// decoder reads a value; whether all of it was there is asked at the end.
type decoder struct{ kbin.Reader }

// decode reads a record's value with its version.
func decode(src []byte, into interface{ decode(*decoder) }) error {
	in := decoder{kbin.Reader{Src: src}}
	if version := in.Int16(); version != 0 {
		return fmt.Errorf("%w: version %d of %T is not known", ErrRecord, version, into)
	}
	into.decode(&in)
	if !in.Ok() {
		return fmt.Errorf("%w: %T is cut off", ErrRecord, into)
	}
	return nil
}

// nullable reads a string; null is the empty one.
func (d *decoder) nullable() string { return string(wire.ReadNullableString(&d.Reader, true)) }

// count reads the length of an array whose elements have at least so many bytes. It is never more than the rest can hold.
func (d *decoder) count(least int) int {
	n := wire.ReadArrayLen(&d.Reader, true)
	if n > len(d.Src)/least {
		d.Span(len(d.Src) + 1) // fails
		return 0
	}
	return n
}

func (d *decoder) int32s() (ns []int32) {
	count := d.count(4)
	ns = make([]int32, 0, count)
	for range count {
		ns = append(ns, d.Int32())
	}
	return ns
}

func (d *decoder) assignment(tag func(*TopicPartitions, uint32, *decoder)) (a Assignment) {
	for range d.count(18) {
		tp := TopicPartitions{Topic: metadata.TopicID(d.Uuid())}
		tp.Partitions = d.int32s()
		d.tags(func(number uint32, value *decoder) { tag(&tp, number, value) })
		a = append(a, tp)
	}
	return a
}

// tags reads a section of tags.
func (d *decoder) tags(read func(tag uint32, value *decoder)) {
	for count := d.Uvarint(); count > 0 && d.Ok(); count-- {
		tag, size := d.Uvarint(), d.Uvarint()
		value := decoder{kbin.Reader{Src: d.Span(int(size))}}
		if read != nil && d.Ok() {
			read(tag, &value)
		}
		if !value.Ok() {
			d.Span(len(d.Src) + 1) // fails
		}
	}
}
