package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Type is the type of a key's value, numbered as in Kafka's DescribeConfigs.
type Type int8

// The types.
const (
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6 // kept as text: the core does not calculate with fractions
	List     Type = 7 // separated by commas
	Password Type = 9 // never shown
)

// Update says who may change a broker key while the broker runs.
type Update uint8

// Update modes, Kafka's but for the last.
const (
	ReadOnly    Update = iota // only by a restart
	ClusterWide               // for a broker or for all
	OneBroker                 // for one broker, only at run time; not Kafka's
)

// Definition is one configuration key. Definitions are never changed.
type Definition struct {
	Key  string
	Type Type
	// Default is the value's text; nil means null, which Kafka shows as unset.
	Default *string
	// Min and Max bound integers, both inclusive.
	Min, Max int64
	// OneOf lists the values of a String, or of each element of a List; nil: any.
	OneOf []string
	// Check validates what type, bounds and OneOf let pass; nil: nothing more.
	Check  func(value string) error
	Update Update
	// Synonyms are keys whose values stand in, in this order, where this key has
	// none: a topic key's broker keys, or log.retention.minutes for log.retention.ms.
	Synonyms []Synonym
	// Doc says what the key does, its unit, and where weir differs from Kafka.
	Doc string
}

// Synonym is a key that stands in for another; its value is multiplied by Times.
type Synonym struct {
	Key   string
	Times int64
}

// Sensitive reports whether the value must not be shown.
func (d *Definition) Sensitive() bool { return d.Type == Password }

// Validate checks a value. The error is for people and names key and value.
func (d *Definition) Validate(value string) error {
	why := d.fault(value)
	if why == nil {
		return nil
	}
	shown := value
	if d.Sensitive() {
		shown = "[hidden]"
	}
	return fmt.Errorf("invalid value %s for configuration %s: %w", shown, d.Key, why)
}

func (d *Definition) fault(value string) error {
	var err error
	switch d.Type {
	case Boolean:
		_, err = parseBool(value)
	case Int, Short, Long:
		err = d.checkInteger(value)
	case Double:
		err = checkFraction(value)
	case List:
		err = d.checkList(value)
	case String:
		err = d.checkOneOf(value)
	}
	if err == nil && d.Check != nil {
		err = d.Check(value)
	}
	return err
}

// integerBytesMax bounds the text of a number: zeros before it are kept as they are given, in the metadata, with every topic.
const integerBytesMax = 64

func (d *Definition) checkInteger(value string) error {
	if len(value) > integerBytesMax {
		return fmt.Errorf("a number of %d characters", len(value))
	}
	n, err := parseInteger(value)
	if err != nil || (d.Type == Int && (n > math.MaxInt32 || n < math.MinInt32)) || (d.Type == Short && (n > math.MaxInt16 || n < math.MinInt16)) {
		return fmt.Errorf("not a number of type %s", d.Type)
	}
	if n < d.Min {
		return fmt.Errorf("value must be at least %d", d.Min)
	}
	if n > d.Max {
		return fmt.Errorf("value must be no more than %d", d.Max)
	}
	return nil
}

func (d *Definition) checkOneOf(value string) error {
	if d.OneOf == nil || slices.Contains(d.OneOf, value) {
		return nil
	}
	return fmt.Errorf("string must be one of: %s", strings.Join(d.OneOf, ", "))
}

func (d *Definition) checkList(value string) error {
	for _, element := range SplitList(value) {
		if element == "" && d.OneOf != nil {
			return fmt.Errorf("values must not be empty")
		}
		if err := d.checkOneOf(element); err != nil {
			return err
		}
	}
	return nil
}

// String names the type as Kafka does.
func (t Type) String() string {
	switch t {
	case Boolean:
		return "BOOLEAN"
	case String:
		return "STRING"
	case Int:
		return "INT"
	case Short:
		return "SHORT"
	case Long:
		return "LONG"
	case Double:
		return "DOUBLE"
	case List:
		return "LIST"
	case Password:
		return "PASSWORD"
	}
	return "UNKNOWN"
}

// SplitList splits a List value into its elements; the empty text has none.
func SplitList(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	elements := strings.Split(value, ",")
	for i := range elements {
		elements[i] = strings.TrimSpace(elements[i])
	}
	return elements
}

func parseBool(value string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("expected value to be either true or false")
}

// IsTrue reads a valid value of a Boolean.
func IsTrue(value string) bool {
	set, _ := parseBool(value)
	return set
}

func parseInteger(value string) (int64, error) {
	return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
}

// fraction is Java's text of a Double, as far as it can be one from 0 to 1: digits, an exponent, a type's letter.
var fraction = regexp.MustCompile(`^[+]?([0-9]{1,20})?(?:\.([0-9]{0,20}))?(?:[eE]([+-]?[0-9]{1,3}))?[fFdD]?$`)

// decimal takes a number apart, without calculating with it: it is 0.digits times ten to the power of point.
func decimal(value string) (digits string, point int, ok bool) {
	parts := fraction.FindStringSubmatch(strings.TrimSpace(value))
	if parts == nil || parts[1]+parts[2] == "" {
		return "", 0, false
	}
	exponent, _ := strconv.Atoi(strings.TrimPrefix(parts[3], "+")) // empty: 0
	digits = strings.TrimLeft(parts[1]+parts[2], "0")
	point = exponent + len(digits) - len(parts[2])
	return strings.TrimRight(digits, "0"), point, true
}

// checkFraction accepts a number from 0 to 1. Kafka takes NaN too, with which nothing can be compared; weir does not.
func checkFraction(value string) error {
	digits, point, ok := decimal(value)
	if !ok {
		return fmt.Errorf("not a number of type DOUBLE")
	}
	if digits == "" || point <= 0 || (point == 1 && digits == "1") {
		return nil
	}
	return fmt.Errorf("value must be no more than 1")
}

// millionths is a number that checkFraction accepts, in millionths, rounded down.
func millionths(value string) (n int64) {
	digits, point, _ := decimal(value)
	for place := 1 - point; place < 1-point+len(digits) && place <= 6; place++ {
		n += int64(digits[place-(1-point)]-'0') * powersOfTen[6-place]
	}
	return n
}

var powersOfTen = [...]int64{1, 10, 100, 1000, 10_000, 100_000, 1_000_000}

// find looks a key up in a table that is sorted by key.
func find(table []Definition, key string) (*Definition, bool) {
	i, ok := slices.BinarySearchFunc(table, key, func(d Definition, key string) int { return strings.Compare(d.Key, key) })
	if !ok {
		return nil, false
	}
	return &table[i], true
}

// Builders of the tables.

func text(s string) *string { return &s }

func boolean(key, value, doc string) Definition {
	return Definition{Key: key, Type: Boolean, Default: text(value), Doc: doc}
}

func integer(t Type, key string, value, minimum, maximum int64, doc string) Definition {
	return Definition{Key: key, Type: t, Default: text(strconv.FormatInt(value, 10)), Min: minimum, Max: maximum, Doc: doc}
}

func unsetInteger(t Type, key string, minimum, maximum int64, doc string) Definition {
	return Definition{Key: key, Type: t, Min: minimum, Max: maximum, Doc: doc}
}

// secret is a key whose value is never shown.
func secret(key, doc string) Definition { return Definition{Key: key, Type: Password, Doc: doc} }

func words(t Type, key string, value *string, doc string, oneOf ...string) Definition {
	return Definition{Key: key, Type: t, Default: value, OneOf: oneOf, Doc: doc}
}

func (d Definition) standIn(synonyms ...Synonym) Definition { d.Synonyms = synonyms; return d }
func (d Definition) checked(f func(string) error) Definition {
	d.Check = f
	return d
}
func (d Definition) dynamic() Definition { d.Update = ClusterWide; return d }

func (d Definition) ofOne() Definition { d.Update = OneBroker; return d }

func same(key string) Synonym            { return Synonym{key, 1} }
func times(key string, by int64) Synonym { return Synonym{key, by} }
