package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Op is one change of a key.
type Op struct {
	Key   string
	Op    int8 // OpSet, ...
	Value string
}

// What an Op does, numbered as in IncrementalAlterConfigs.
const (
	OpSet      = 0
	OpDelete   = 1
	OpAppend   = 2 // to a List
	OpSubtract = 3 // from a List
)

// Errors that callers of Alter branch on: Kafka's INVALID_CONFIG and
// INVALID_REQUEST.
var (
	ErrInvalidConfig = errors.New("invalid configuration")
	ErrInvalidOp     = errors.New("invalid operation")
)

// fault is an error with a text of its own and one of the sentinels above.
type fault struct {
	text string
	kind error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

func refuse(kind error, format string, args ...any) error {
	return &fault{fmt.Sprintf(format, args...), kind}
}

// AlterTopic applies ops to a topic's overrides and returns the new ones, sorted
// by key. With replace, what ops do not set is removed. The overrides given are
// not changed.
func (s *Settings) AlterTopic(overrides []Override, ops []Op, replace bool) ([]Override, error) {
	next, err := alter(overrides, ops, replace, "topic", TopicKey, func(d *Definition) string {
		text, _, _ := s.effective(d, true)
		return text
	})
	if err == nil {
		err = s.checkLags(next)
	}
	if err != nil {
		return nil, err
	}
	return next, nil
}

// checkLags refuses lags of compaction that contradict each other, in Kafka's words.
func (s *Settings) checkLags(overrides []Override) error {
	if t := s.Topic(overrides); t.MinCompactionLagMillis > t.MaxCompactionLagMillis {
		return refuse(ErrInvalidConfig, "conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", t.MinCompactionLagMillis, t.MaxCompactionLagMillis)
	}
	return nil
}

// AlterBroker applies ops to a broker's dynamic overrides, or to those of all
// brokers, like AlterTopic. Every error is an ErrInvalidOp, as in Kafka, except that of an
// append to a key that is not a list.
func (s *Settings) AlterBroker(overrides []Override, ops []Op, replace bool) ([]Override, error) {
	for _, o := range ops {
		d, ok := BrokerKey(o.Key)
		if !ok {
			continue
		}
		if err := checkListOp(d, o.Op); err != nil {
			return nil, err
		}
		if d.Update == ReadOnly && o.Op != OpDelete {
			return nil, refuse(ErrInvalidOp, "Cannot update these configs dynamically: Set(%s)", o.Key)
		}
	}
	next, err := alter(overrides, ops, replace, "broker", BrokerKey, func(d *Definition) string {
		text, _, _ := s.effective(d, false)
		return text
	})
	if err != nil {
		return nil, &fault{err.Error(), ErrInvalidOp}
	}
	return next, nil
}

// NewTopic checks the overrides that a topic is created with. A key that is given again
// replaces what was given before, as in Kafka.
func (s *Settings) NewTopic(overrides []Override) ([]Override, error) {
	ops := make([]Op, 0, len(overrides))
	seen := make(map[string]bool, len(overrides))
	for _, o := range slices.Backward(overrides) {
		if !seen[o.Key] {
			seen[o.Key] = true
			ops = append(ops, Op{Key: o.Key, Value: o.Value})
		}
	}
	slices.Reverse(ops)
	return s.AlterTopic(nil, ops, true)
}

// CheckNewKey refuses a key that a table does not have; kind is its word for the error.
func CheckNewKey(kind, key string, table []Definition) error {
	if _, ok := find(table, key); !ok {
		return refuse(ErrInvalidConfig, "Unknown %s config name: %s", kind, key)
	}
	return nil
}

func alter(current []Override, ops []Op, replace bool, kind string, find func(string) (*Definition, bool), below func(*Definition) string) ([]Override, error) {
	if err := checkDuplicates(ops); err != nil {
		return nil, err
	}
	var next []Override
	if !replace {
		next = slices.Clone(current)
	}
	for _, o := range ops {
		d, ok := find(o.Key)
		if !ok && o.Op == OpDelete {
			next = without(next, o.Key) // of another version, or of none: it may go
			continue
		}
		if !ok {
			return nil, refuse(ErrInvalidConfig, "Unknown %s config name: %s", kind, o.Key)
		}
		var err error
		if next, err = apply(next, d, o, below); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func checkDuplicates(ops []Op) error {
	seen := make(map[string]bool, len(ops))
	for _, o := range ops {
		if seen[o.Key] {
			return refuse(ErrInvalidOp, "Error due to duplicate config keys: %s", o.Key)
		}
		seen[o.Key] = true
	}
	return nil
}

// checkListOp refuses to append to a key that is no list, or to subtract from it.
func checkListOp(d *Definition, op int8) error {
	if d.Type == List || (op != OpAppend && op != OpSubtract) {
		return nil
	}
	return refuse(ErrInvalidConfig, "Can't %s to key %s because its type is not LIST.", opName(op), d.Key)
}

func apply(next []Override, d *Definition, o Op, below func(*Definition) string) ([]Override, error) {
	value := strings.TrimSpace(o.Value)
	switch o.Op {
	case OpSet:
	case OpDelete:
		return without(next, o.Key), nil
	case OpAppend, OpSubtract:
		if err := checkListOp(d, o.Op); err != nil {
			return nil, err
		}
		if value == "" && d.OneOf != nil && o.Op == OpAppend {
			return nil, refuse(ErrInvalidConfig, "Configuration '%s' values must not be empty.", o.Key)
		}
		have, set := get(next, o.Key)
		if !set {
			have = below(d)
		}
		value = combine(SplitList(have), SplitList(value), o.Op == OpAppend)
	default:
		return nil, refuse(ErrInvalidOp, "Unknown operation type %d", o.Op)
	}
	if err := d.Validate(value); err != nil {
		return nil, refuse(ErrInvalidConfig, "%s", err.Error())
	}
	return put(next, o.Key, value), nil
}

func opName(op int8) string {
	if op == OpAppend {
		return "APPEND"
	}
	return "SUBTRACT"
}

// combine adds the elements of change that are not there, or removes those that are,
// one for each. A list may be as long as a request.
func combine(have, change []string, add bool) string {
	if !add {
		dropped := make(map[string]int, len(change))
		for _, element := range change {
			dropped[element]++
		}
		have = slices.DeleteFunc(have, func(element string) bool {
			dropped[element]--
			return dropped[element] >= 0
		})
		return strings.Join(have, ",")
	}
	there := make(map[string]bool, len(have)+len(change))
	for _, element := range have {
		there[element] = true
	}
	for _, element := range change {
		if !there[element] {
			there[element] = true
			have = append(have, element)
		}
	}
	return strings.Join(have, ",")
}

func without(list []Override, key string) []Override {
	return slices.DeleteFunc(list, func(o Override) bool { return o.Key == key })
}
