package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Source says where a value comes from, numbered as in Kafka's DescribeConfigs.
type Source int8

// The sources, from the strongest to the weakest but for those of topics.
const (
	DynamicTopic   Source = 1
	DynamicBroker  Source = 2 // set for this broker while it runs
	DynamicDefault Source = 3 // set for all brokers while they run
	Static         Source = 4 // file, environment or flag
	Default        Source = 5
	DynamicGroup   Source = 8 // set for a group
)

// String names the source as Kafka does.
func (s Source) String() string {
	switch s {
	case DynamicTopic:
		return "DYNAMIC_TOPIC_CONFIG"
	case DynamicGroup:
		return "DYNAMIC_GROUP_CONFIG"
	case DynamicBroker:
		return "DYNAMIC_BROKER_CONFIG"
	case DynamicDefault:
		return "DYNAMIC_DEFAULT_BROKER_CONFIG"
	case Static:
		return "STATIC_BROKER_CONFIG"
	}
	return "DEFAULT_CONFIG"
}

// Override is one value that was set.
type Override struct{ Key, Value string }

// Overrides converts what other packages call an override.
func Overrides[O ~struct{ Key, Value string }](in []O) []Override {
	out := make([]Override, len(in))
	for i, o := range in {
		out[i] = Override(o)
	}
	return out
}

// Settings is a node's configuration: what it was started with, overridden by the
// dynamic configuration of the cluster's metadata. Its zero value has all defaults.
type Settings struct {
	static  [staticLayers][]Override // each sorted by key
	unknown []string
	own     []Override // dynamic, of this broker, sorted
	shared  []Override // dynamic, of all brokers, sorted
	broker  Broker     // resolved; kept in place
	fresh   bool
	// topicEntries describe a topic without overrides; nil: to be made.
	topicEntries []Entry
}

// Layers of what a node was started with, from the strongest.
const (
	layerFlags = iota
	layerEnvironment
	layerFile
	staticLayers
)

var layerNames = [staticLayers]string{"flag", "environment", "file"}

const environmentPrefix = "WEIR_"

// EnvironmentName is the variable that sets a broker key: WEIR_NODE_ID for
// node.id, WEIR_WAL_PATH for weir.wal.path.
func EnvironmentName(key string) string {
	key = strings.TrimPrefix(key, "weir.")
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// Load makes Settings of a properties file, of environment variables (by their
// whole names) and of flags, each stronger than the one before. Keys of the file
// that no table has, and variables WEIR_* that name none, are kept in Unknown and
// change nothing, as in Kafka; an unknown flag is an error. All errors are reported
// at once.
func Load(file []byte, environment map[string]string, flags []Override) (*Settings, error) {
	s := &Settings{}
	properties, err := ParseProperties(file)
	faults := []error{err}
	for _, p := range properties {
		if err := s.set(layerFile, p.Key, p.Value); err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", p.Line, err))
		}
	}
	faults = append(faults, s.setEnvironment(environment)...)
	for _, f := range flags {
		if _, known := BrokerKey(f.Key); !known {
			faults = append(faults, fmt.Errorf("flag: unknown key %q", f.Key))
		} else if err := s.set(layerFlags, f.Key, f.Value); err != nil {
			faults = append(faults, fmt.Errorf("flag: %w", err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if err := errors.Join(s.checkListenersMapped(), s.checkConsumerGroups(), s.Broker().Validate()); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Settings) setEnvironment(variables map[string]string) (faults []error) {
	keys := map[string]string{}
	for i := range brokerKeys {
		keys[EnvironmentName(brokerKeys[i].Key)] = brokerKeys[i].Key
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		key, ok := keys[name]
		if !ok {
			if strings.HasPrefix(name, environmentPrefix) {
				s.unknown = append(s.unknown, name)
			}
			continue
		}
		if err := s.set(layerEnvironment, key, variables[name]); err != nil {
			faults = append(faults, fmt.Errorf("environment variable %s: %w", name, err))
		}
	}
	return faults
}

// checkListenersMapped refuses a listener without a protocol, or with one that is
// not served: it must not be open to all because its name was mistaken for one.
func (s *Settings) checkListenersMapped() error {
	for _, l := range s.Broker().Listeners {
		switch protocol := s.protocolOf(l.Name); protocol {
		case plaintext:
		case "":
			return fmt.Errorf("listener.security.protocol.map has no protocol for listener %s", l.Name)
		default:
			return fmt.Errorf("protocol %s of listener %s is not supported, only %s: change listeners or listener.security.protocol.map",
				protocol, l.Name, plaintext)
		}
	}
	name := s.Broker().Cluster.ListenerName
	if protocol := s.protocolOf(name); protocol != "" && protocol != plaintext && protocol != ssl {
		return fmt.Errorf("protocol %s of listener %s, which is for other nodes, is not supported, only %s and %s: change listener.security.protocol.map",
			protocol, name, plaintext, ssl)
	}
	return nil
}

// protocolOf is the protocol of a listener; empty: the map has none.
func (s *Settings) protocolOf(listener string) (protocol string) {
	for _, pair := range SplitList(s.text("listener.security.protocol.map")) {
		if name, p, _ := strings.Cut(pair, ":"); strings.EqualFold(name, listener) {
			protocol = p
		}
	}
	return protocol
}

func (s *Settings) set(layer int, key, value string) error {
	d, ok := BrokerKey(key)
	if !ok {
		if !slices.Contains(s.unknown, key) {
			s.unknown = append(s.unknown, key)
		}
		return nil
	}
	value = strings.TrimSpace(value)
	if d.Default == nil && value == "" {
		return nil // as good as unset, for a key that may be
	}
	if err := d.Validate(value); err != nil {
		return err
	}
	if d.Update == OneBroker {
		return fmt.Errorf("%s is set while the broker runs", key)
	}
	s.static[layer] = put(s.static[layer], key, value)
	s.fresh, s.topicEntries = false, nil
	return nil
}

// Unknown returns the unknown keys of the file, in their order, and then the unknown
// variables.
func (s *Settings) Unknown() []string { return s.unknown }

// SetDynamic replaces what was changed at run time: for this broker, and for all.
// Values that are not valid (a newer version's, say) count as not set. The struct
// that Broker returned changes in place; call Topic again if anything changed.
func (s *Settings) SetDynamic(own, shared []Override) (changed bool) {
	own, shared = validDynamic(own), validDynamic(shared)
	if slices.Equal(s.own, own) && slices.Equal(s.shared, shared) {
		return false
	}
	s.own, s.shared = own, shared
	s.fresh, s.topicEntries = false, nil
	s.Broker()
	return true
}

func validDynamic(in []Override) (out []Override) {
	for _, o := range in {
		if d, ok := BrokerKey(o.Key); ok && d.Update != ReadOnly && d.Validate(o.Value) == nil {
			out = put(out, o.Key, o.Value)
		}
	}
	return out
}

// value is one place where a key has a value.
type value struct {
	Synonym
	text   string
	source Source
	origin string
}

// lookup calls visit for each place where a broker key has a value, the strongest
// first, until it returns false.
func (s *Settings) lookup(key Synonym, visit func(value) bool) bool {
	if v, ok := get(s.own, key.Key); ok && !visit(value{key, v, DynamicBroker, "cluster metadata"}) {
		return false
	}
	if v, ok := get(s.shared, key.Key); ok && !visit(value{key, v, DynamicDefault, "cluster metadata"}) {
		return false
	}
	for layer := range s.static {
		if v, ok := get(s.static[layer], key.Key); ok {
			// Kafka knows one static source: the strongest stands for all.
			if !visit(value{key, v, Static, layerNames[layer]}) {
				return false
			}
			break
		}
	}
	if d, ok := BrokerKey(key.Key); ok && d.Default != nil {
		return visit(value{key, *d.Default, Default, "default"})
	}
	return true
}

// chain visits the places of a key and of its synonyms.
func (s *Settings) chain(d *Definition, ofTopic bool, visit func(value) bool) {
	if !ofTopic && !s.lookup(same(d.Key), visit) {
		return
	}
	for _, synonym := range d.Synonyms {
		if !s.lookup(synonym, visit) {
			return
		}
	}
}

// put sets a key in a sorted list.
func put(list []Override, key, value string) []Override {
	i, ok := search(list, key)
	if ok {
		list[i].Value = value
		return list
	}
	return slices.Insert(list, i, Override{key, value})
}

func get(list []Override, key string) (string, bool) {
	i, ok := search(list, key)
	if !ok {
		return "", false
	}
	return list[i].Value, true
}

func search(list []Override, key string) (int, bool) {
	return slices.BinarySearchFunc(list, key, func(o Override, key string) int { return strings.Compare(o.Key, key) })
}
