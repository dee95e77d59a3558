package diff

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// noise are fields whose values never agree between two brokers, by name, with the reason.
var noise = map[string]string{
	"ThrottleMillis": "depends on load",
	"Host":           "each endpoint has its own",
	"Port":           "each endpoint has its own",
	"ClusterID":      "drawn at format",
	"UnknownTags":    "no field",
	"Documentation":  "text for people",
	"Version":        "of the struct, not on the wire",
}

// texts are messages for people: whether there is one is compared, and no more.
var texts = map[string]bool{"ErrorMessage": true, "BatchIndexErrorMessage": true}

// unordered are arrays whose order Kafka leaves to its hash tables, as Response.Field of kmsg.
var unordered = map[string]bool{
	"DescribeGroups.Groups": true, "DeleteGroups.Groups": true, "Metadata.Topics": true, "ListOffsets.Topics": true, "DeleteRecords.Topics": true, "DescribeLogDirs.Topics": true,
	"ApiVersions.SupportedFeatures": true, "ApiVersions.FinalizedFeatures": true, "DeleteTopics.Topics": true, "ElectLeaders.Topics": true, "ListConfigResources.ConfigResources": true,
	"ListTransactions.TransactionStates": true,
}

// presence are fields of which only the sign or presence is compared.
var presence = map[string]string{
	"SessionID":  "drawn",
	"MemberID":   "drawn",
	"LeaderID":   "drawn",
	"ProducerID": "drawn",
	"LogDir":     "a path", "Dir": "a path",
	"TotalBytes": "depends on the volume", "UsableBytes": "depends on the volume", "Size": "formats differ on disk",
	"IsrUpdateTimestamp": "a clock", "LastFetchTimestamp": "a clock", "LastCaughtUpTimestamp": "a clock",
	"LogEndOffset": "length of the metadata log", "HighWatermark": "",
	"FinalizedFeaturesEpoch": "length of the metadata log",
	"LeaderEpoch":            "",
	"ControllerID":           "any broker may be shown",
}

// flattener turns an answer into lines "path = value", noise left out.
type flattener struct {
	endpoint *endpoint
	mine     func(topic string) bool // a topic of the case: others are left out of listings
	response reflect.Type
}

func (e *endpoint) flatten(r kmsg.Response, mine func(topic string) bool) []string {
	f := flattener{endpoint: e, mine: mine, response: reflect.TypeOf(r).Elem()}
	return f.value(reflect.ValueOf(r).Elem(), "")
}

func (f *flattener) value(v reflect.Value, name string) []string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return []string{" = null"}
		}
		if texts[name] && v.Elem().String() != "" {
			return []string{" = some text"}
		}
		return f.value(v.Elem(), name)
	case reflect.Struct:
		return f.fields(v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return []string{" = " + batches(v.Bytes(), v.IsNil())}
		}
		return f.elements(v, name)
	case reflect.Array:
		return []string{" = " + f.topicID(v.Interface().([16]byte))}
	}
	return []string{" = " + f.scalar(v, name)}
}

func (f *flattener) scalar(v reflect.Value, name string) string {
	if v.Kind() == reflect.String && v.String() != "" && f.presenceOnly(name) {
		return "some"
	}
	if !v.CanInt() || !f.presenceOnly(name) {
		return fmt.Sprint(v.Interface())
	}
	switch n := v.Int(); {
	case n > 0 || n == 0 && name != "SessionID":
		return "some"
	default:
		return fmt.Sprint(n)
	}
}

func (f *flattener) presenceOnly(name string) bool {
	_, ok := presence[name]
	if name == "HighWatermark" || name == "LeaderEpoch" {
		return f.response == reflect.TypeFor[kmsg.DescribeQuorumResponse]()
	}
	return ok
}

func (f *flattener) fields(v reflect.Value) (lines []string) {
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if _, ok := noise[name]; ok {
			continue
		}
		if name == "Configs" {
			lines = append(lines, f.configs(v.Field(i))...)
			continue
		}
		for _, line := range f.value(v.Field(i), name) {
			lines = append(lines, "."+name+line)
		}
	}
	return lines
}

// configs names each entry by its key, so that a missing key is one line.
func (f *flattener) configs(v reflect.Value) (lines []string) {
	if v.IsNil() {
		return []string{".Configs = null array"}
	}
	for i := range v.Len() {
		entry := v.Index(i)
		for _, line := range f.fields(entry) {
			lines = append(lines, ".Configs["+entry.FieldByName("Name").String()+"]"+line)
		}
	}
	return lines
}

// elements flattens an array. Elements are sorted where the order says nothing.
func (f *flattener) elements(v reflect.Value, name string) []string {
	if v.Len() == 0 {
		return []string{map[bool]string{true: " = null array", false: " = []"}[v.IsNil()]}
	}
	var all [][]string
	for i := range v.Len() {
		if !f.foreign(v.Index(i)) {
			all = append(all, f.value(v.Index(i), ""))
		}
	}
	if unordered[strings.TrimSuffix(f.response.Name(), "Response")+"."+name] {
		sort.SliceStable(all, func(i, j int) bool { return slices.Compare(all[i], all[j]) < 0 })
	}
	if len(all) == 0 {
		return []string{" = null array"}
	}
	lines := []string{}
	for i, element := range all {
		name := fmt.Sprint(i)
		switch v.Type().Elem() {
		case reflect.TypeFor[kmsg.ApiVersionsResponseApiKey]():
			name = strings.ReplaceAll(element[0], ".ApiKey = ", "key ")
		case reflect.TypeFor[kmsg.ApiVersionsResponseSupportedFeature](), reflect.TypeFor[kmsg.ApiVersionsResponseFinalizedFeature]():
			name = strings.ReplaceAll(element[0], ".Name = ", "")
		}
		for _, line := range element {
			lines = append(lines, "["+name+"]"+line)
		}
	}
	return lines
}

// foreign reports whether an element of a listing is another broker, or a topic that is neither the case's own nor one of the
// strange names that cases ask for.
func (f *flattener) foreign(v reflect.Value) bool {
	if v.Kind() != reflect.Struct {
		return false
	}
	if f.endpoint.elsewhere(v) {
		return true
	}
	if v.Type() == reflect.TypeFor[kmsg.ListConfigResourcesResponseConfigResource]() {
		return v.FieldByName("Type").Int() == int64(kmsg.ConfigResourceTypeTopic) && !f.mine(v.FieldByName("Name").String())
	}
	if v.Type() == reflect.TypeFor[kmsg.ListGroupsResponseGroup]() {
		return !f.mine(v.FieldByName("Group").String())
	}
	field := v.FieldByName("Topic")
	if field.IsValid() && field.Kind() == reflect.Pointer {
		field = field.Elem()
	}
	return field.IsValid() && field.Kind() == reflect.String && !strangeName(field.String()) && !f.mine(field.String())
}

func strangeName(topic string) bool {
	return slices.ContainsFunc(strangeTexts("Topic"), func(t text) bool { return t.of("") == topic })
}

func (f *flattener) topicID(id [16]byte) string {
	switch name := f.endpoint.names[id]; {
	case name != "":
		return "id of " + name
	case id == [16]byte{}:
		return "zero"
	case id == strangeID:
		return "the unknown id"
	}
	return "new id"
}

// batches is a digest of record batches; the leader epoch in each is the broker's own. A batch that a byte limit has cut
// is left out: Kafka sends one, and every client drops it.
func batches(b []byte, null bool) string {
	if null {
		return "null"
	}
	out, whole := slices.Clone(b), 0
	for rest := out; len(rest) >= 61; {
		n := int(binary.BigEndian.Uint32(rest[8:])) + 12
		clear(rest[12:16])
		if n < 61 || n > len(rest) {
			break
		}
		rest, whole = rest[n:], whole+n
	}
	sum := sha256.Sum256(out[:whole])
	return fmt.Sprintf("%d bytes %s", whole, hex.EncodeToString(sum[:4]))
}
